package main

import (
	"strings"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	"k8s.io/apimachinery/pkg/util/validation"
)

const nodeUserPrefix = "system:node:"

// checkObject applies rows 1 to 15 and 68 to the object around the request. For another signer, the rest is
// not csr-warden's.
func (j *judgment) checkObject() {
	if j.request.SignerName != certificatesv1.KubeletServingSignerName {
		j.add("SignerOther")
		return
	}
	if j.request.Settled != nil {
		j.add("RequestSettled")
	}
	if j.request.Terminating {
		j.add("RequestTerminating")
	}
	if j.age() > time.Duration(j.policy.Request.MaxAge) {
		j.add("RequestStale")
	}
	if len(validation.IsDNS1123Subdomain(j.request.Name)) > 0 {
		j.add("RequestNameInvalid")
	}
	j.checkUsages()
	name, isNode := strings.CutPrefix(j.request.Username, nodeUserPrefix)
	if !isNode {
		j.add("RequestorNotNode")
		return
	}
	if len(validation.IsDNS1123Subdomain(name)) > 0 {
		j.add("NodeNameInvalid")
	} else {
		j.nodeName = name
	}
	j.checkRequestor()
}

// age is the age of the request by the API server's clock. It is no older than the watch event that showed
// its creation (row 15).
func (j *judgment) age() time.Duration {
	age := j.scene.Now.Sub(j.request.Created)
	if seen := j.request.FirstSeen; seen != nil && !seen.Listed {
		age = min(age, j.scene.MonotonicNow.Sub(seen.At))
	}
	return age
}

// checkRequestor applies rows 5 to 10.
func (j *judgment) checkRequestor() {
	r, p := j.request, j.policy
	if !contains(r.Groups, "system:nodes") {
		j.add("GroupNodesMissing")
	}
	if !contains(r.Groups, "system:authenticated") {
		j.add("GroupAuthenticatedMissing")
	}
	for _, group := range r.Groups {
		if group != "system:nodes" && group != "system:authenticated" && !contains(p.Requestor.Groups, group) {
			j.add("GroupsExtra")
		}
	}
	if p.Requestor.CredentialID == "Required" && !isOfCertificates(r.CredentialIDs) {
		j.add("CredentialIdMissing")
	}
	if p.Requestor.UID == "Deny" && r.UID != "" {
		j.add("RequestorUidSet")
	}
}

// isOfCertificates reports whether all credential IDs, and at least one, are those of client certificates.
func isOfCertificates(ids []string) bool {
	for _, id := range ids {
		if !strings.HasPrefix(id, "X509SHA256=") {
			return false
		}
	}
	return len(ids) > 0
}

// checkUsages applies rows 11 to 14.
func (j *judgment) checkUsages() {
	r, p := j.request, j.policy
	if r.ExpirationSeconds != nil && time.Duration(*r.ExpirationSeconds) > time.Duration(p.Request.MaxExpiration)/time.Second {
		j.add("ExpirationTooLong")
	}
	seen := map[string]bool{}
	for _, usage := range r.Usages {
		switch certificatesv1.KeyUsage(usage) {
		case certificatesv1.UsageDigitalSignature, certificatesv1.UsageKeyEncipherment, certificatesv1.UsageServerAuth:
		default:
			j.add("UsageExtra")
		}
		if seen[usage] {
			j.add("UsageExtra")
		}
		seen[usage] = true
	}
	if !seen[string(certificatesv1.UsageDigitalSignature)] || !seen[string(certificatesv1.UsageServerAuth)] {
		j.add("UsageMissing")
	}
}

// checkState applies rows 57 to 61 to the Node.
func (j *judgment) checkState() {
	n := j.node
	if n == nil {
		j.add("NodeMissing")
		return
	}
	if n.Terminating {
		j.add("NodeTerminating")
	}
	if j.nodeIsYounger() {
		j.add("NodeYounger")
	}
	if len(n.ipAddresses()) == 0 {
		j.add("NodeAddressesMissing")
	}
	if n.Uninitialized {
		j.add("NodeUninitialized")
	}
	if j.evidence.now.Sub(n.AddressesSince) < time.Duration(j.policy.Proof.AddressesStableFor) {
		j.add("NodeAddressesUnstable")
	}
}

const (
	// clockTolerance is the time by which clocks of API servers may differ.
	clockTolerance = 60 * time.Second
	// futureTolerance is the time by which a timestamp may be ahead when its object is first shown.
	futureTolerance = 30 * time.Second
	// behindTolerance is the time by which a watch event of a creation may be later than the timestamp.
	behindTolerance = 15 * time.Minute
	// watchTolerance is the time by which one watch may be later than another.
	watchTolerance = 10 * time.Second
)

// nodeIsYounger applies row 59. The timestamps decide, but not one of a clock that is ahead or behind: then the
// order of creation decides, if the watches have shown it.
func (j *judgment) nodeIsYounger() bool {
	difference := j.node.Created.Sub(j.request.Created)
	if j.isMisdated(j.node.Created, j.node.FirstSeen) || j.isMisdated(j.request.Created, j.request.FirstSeen) || difference > 0 && difference < clockTolerance {
		if nodeIsLater, known := createdLater(j.node.FirstSeen, j.request.FirstSeen); known {
			return nodeIsLater
		}
	}
	return difference >= clockTolerance
}

// isMisdated reports whether a timestamp was in the future when its object was first shown, or is long before
// the watch event of its creation. It compares by the API server's clock. What nothing showed first is shown now.
func (j *judgment) isMisdated(created time.Time, seen *FirstSeen) bool {
	if seen == nil {
		return created.Sub(j.scene.Now) > futureTolerance
	}
	ahead := created.Sub(seen.At.Add(j.scene.Now.Sub(j.scene.MonotonicNow)))
	return ahead > futureTolerance || !seen.Listed && -ahead > behindTolerance
}

// createdLater reports whether the first object was created after the second, if their resourceVersions say
// so, the watches showed them in this order or nearly so, and the later one did not come in a list.
func createdLater(first, second *FirstSeen) (later, known bool) {
	if first == nil || second == nil || first.ResourceVersion == second.ResourceVersion {
		return false, false
	}
	before, after := first, second
	if first.ResourceVersion > second.ResourceVersion {
		before, after = second, first
	}
	known = !after.Listed && before.At.Sub(after.At) <= watchTolerance
	return after == first, known
}

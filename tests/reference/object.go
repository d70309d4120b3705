package main

import (
	"strings"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	"k8s.io/apimachinery/pkg/util/validation"
)

const nodeUserPrefix = "system:node:"

// isOurs applies the rows that stop: another signer, a settled request, another requestor, a stale request.
func (j *judgment) isOurs() bool {
	if j.request.SignerName != certificatesv1.KubeletServingSignerName {
		j.add("SignerOther")
		return false
	}
	if j.request.Settled != nil {
		j.add("RequestSettled")
	}
	if j.request.Terminating {
		j.add("RequestTerminating")
	}
	if len(j.findings) > 0 {
		return false
	}
	name, isNode := strings.CutPrefix(j.request.Username, nodeUserPrefix)
	if !isNode {
		j.add("RequestorNotNode")
	}
	j.nodeName = name
	if (isNode || j.policy.Requestor.Others != "Ignore") && j.age() > time.Duration(j.policy.Request.MaxAge) {
		j.add("RequestStale")
	}
	return len(j.findings) == 0
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

// checkObject applies rows 5 to 14 and 68 to the object around the request.
func (j *judgment) checkObject() {
	r, p := j.request, j.policy
	if len(validation.IsDNS1123Subdomain(r.Name)) > 0 {
		j.add("RequestNameInvalid")
	}
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
	if p.Requestor.CredentialID == "Required" && (len(r.CredentialIDs) != 1 || !strings.HasPrefix(r.CredentialIDs[0], "X509SHA256=")) {
		j.add("CredentialIdMissing")
	}
	if p.Requestor.UID == "Deny" && r.UID != "" {
		j.add("RequestorUidSet")
	}
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

// checkNodeName applies row 9.
func (j *judgment) checkNodeName() bool {
	if len(validation.IsDNS1123Subdomain(j.nodeName)) > 0 {
		j.add("NodeNameInvalid")
		return false
	}
	return true
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
	// watchTolerance is the time by which one watch may be later than another.
	watchTolerance = 10 * time.Second
)

// nodeIsYounger applies row 59. The timestamps decide, but not one that was in the future when its object
// was first shown: then the order of creation decides, if the watches have shown it.
func (j *judgment) nodeIsYounger() bool {
	difference := j.node.Created.Sub(j.request.Created)
	inFuture := wasInFuture(j.node.Created, j.node.FirstSeen) || wasInFuture(j.request.Created, j.request.FirstSeen)
	if inFuture || difference > 0 && difference < clockTolerance {
		if nodeIsLater, known := createdLater(j.node.FirstSeen, j.request.FirstSeen); known {
			return nodeIsLater
		}
	}
	return difference >= clockTolerance
}

func wasInFuture(created time.Time, seen *FirstSeen) bool {
	return seen != nil && created.Sub(seen.At) > futureTolerance
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

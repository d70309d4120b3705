package main

import (
	"cmp"
	"net/netip"
	"slices"
	"time"
)

const (
	// maxExamined is the number of claimants of one name that are examined. Others count as rivals.
	maxExamined = 1024
	// maxRivals is the number of rivals of equal rank above which all wait.
	maxRivals = 64
	// maxClaimants is the number of claimants of one name that are asked, with the requesting node.
	maxClaimants = 4
	// maxAddresses is the number of addresses of one Node that are asked.
	maxAddresses = 4
	// machinesInNetwork is the number of other Nodes with addresses in a network from before that show that
	// it is one of machines, not of pods.
	machinesInNetwork = 3
)

// checkClaims applies rows 46, 47 and 63, once all else grants the request.
func (j *judgment) checkClaims() {
	for _, name := range j.sans {
		for _, code := range []string{j.contest(j.node, name), j.contestOfProviderID(j.node, name)} {
			if code != "" {
				j.add(code)
			}
		}
	}
}

// rival is a claim on a name by another Node, or by a network of pods, and the code if it is in the way.
type rival struct {
	node  *Node
	since rank
	code  string
}

// contest returns the code of the claim that is in the way of a Node's own, or an empty text.
func (j *judgment) contest(n *Node, name Name) string {
	own := n.claim(name)
	if own == noClaim || name.DNS == n.Name {
		return ""
	}
	shared := j.policy.shares(name) && !j.isProtected(name)
	var claims []rival
	for _, other := range j.evidence.sorted {
		if !shared || parseName(other.Name) == name {
			claims = append(claims, rival{other, other.claim(name), "SanContested"})
		}
	}
	rivals := j.rivals(n, own, claims, func(other rival) bool { return j.isRival(n, other.node, name) })
	return j.decide(n, own, name, append(rivals, j.rivalsByNetwork(n, name, own)...))
}

// rivals returns those of other Nodes' claims that began no later than the Node's own, and count. No more than
// the first maxExamined are examined; others count.
func (j *judgment) rivals(n *Node, own rank, claims []rival, counts func(rival) bool) []rival {
	claims = slices.DeleteFunc(claims, func(r rival) bool { return r.node == n || r.since > own || r.since == noClaim })
	sortByClaim(claims)
	var list []rival
	for i, claim := range claims {
		if i >= maxExamined || counts(claim) {
			list = append(list, claim)
		}
	}
	return list
}

func sortByClaim(rivals []rival) {
	slices.SortStableFunc(rivals, func(a, b rival) int { return cmp.Compare(a.since, b.since) })
}

// decide returns the code of the rival that is in the way, or an empty text. The first claim owns. Between claims
// of equal rank the newest certificate decides.
func (j *judgment) decide(n *Node, own rank, name Name, rivals []rival) string {
	if len(rivals) == 0 {
		return ""
	}
	sortByClaim(rivals)
	if first := rivals[0]; first.since < own || !j.certificateDecides(n, own, name, rivals) {
		return first.code
	}
	return ""
}

// rivalsByNetwork returns the networks of pods around an address that came no later than the claim, of any Node
// (row 46). A source that gives the address to the Node decides.
func (j *judgment) rivalsByNetwork(n *Node, name Name, own rank) []rival {
	if !name.IP.IsValid() || j.policy.allows(n.Name, n.ControlPlane, name) || j.isProtected(name) ||
		len(j.corroborate(n, name).deciding()) > 0 {
		return nil
	}
	var list []rival
	for _, owner := range j.evidence.sorted {
		for network, since := range owner.networks {
			if since <= own && network.Contains(name.IP) && j.isPodNetwork(owner, network, since) {
				list = append(list, rival{owner, since, "SanPodAddress"})
			}
		}
	}
	return list
}

func (j *judgment) isProtected(name Name) bool {
	return j.evidence.protectedAs("Service", name) || j.evidence.protectedAs("ApiServerEndpoint", name) ||
		j.evidence.protectedAs("ApiServerIdentity", name)
}

// isRival reports whether the judge would grant a name to another Node but for the rivalry. State, lateness
// and silence never rule a claimant out.
func (j *judgment) isRival(n, other *Node, name Name) bool {
	return !j.isRuledOut(n, other, name) && !j.corroborate(other, name).denies() && !j.isDecided(n, other, name)
}

// isRuledOut reports whether protection or the policy keeps another Node from a name, or lets both have it.
func (j *judgment) isRuledOut(n, other *Node, name Name) bool {
	both := j.policy.allows(n.Name, n.ControlPlane, name) && j.policy.allows(other.Name, other.ControlPlane, name)
	return both || j.evidence.protectedAs("Service", name) || len(j.protection(other, name)) > 0 ||
		j.looksLikeService(other.Name, other, name) || name.DNS != "" && j.isNameOfAnother(other, name)
}

// isNameOfAnother reports whether a name is for certain that of a Node that was there before this Node's claim.
func (j *judgment) isNameOfAnother(n *Node, name Name) bool {
	other := j.evidence.nodes[name.DNS]
	return other != nil && other != n && other.since < n.claim(name) || j.isLikeAnotherNode(n, name, true)
}

// isDecided reports whether an independent source gives a name to the Node alone, and none gives it to the other
// one alone. While DNS has not answered about the other one, it may.
func (j *judgment) isDecided(n, other *Node, name Name) bool {
	ofOther := j.corroborateClaim(other, name)
	if ofOther.dnsUnknown {
		return false
	}
	own, theirs := j.corroborate(n, name).deciding(), ofOther.deciding()
	isOther := func(list []string) func(string) bool {
		return func(source string) bool { return !contains(list, source) }
	}
	return slices.ContainsFunc(own, isOther(theirs)) && !slices.ContainsFunc(theirs, isOther(own))
}

// isPodNetwork reports whether a Node's network counts as one of pods. One with an API server or three other Nodes
// in it does not.
func (j *judgment) isPodNetwork(owner *Node, network netip.Prefix, since rank) bool {
	for _, o := range j.evidence.protected {
		for name := range o.names {
			if o.Kind == "ApiServerEndpoint" && name.IP.IsValid() && network.Contains(name.IP) {
				return false
			}
		}
	}
	before := 0
	for _, other := range j.evidence.sorted {
		if other == owner {
			continue
		}
		for name, claim := range other.claims {
			if name.IP.IsValid() && network.Contains(name.IP) && claim < since {
				before++
				break
			}
		}
	}
	return before < machinesInNetwork
}

// newestClaimant returns the claimant of a name whose newest certificate has it, or may have it, and is newer than those of all
// others, or an empty text.
func (j *judgment) newestClaimant(n *Node, name Name) string {
	newest, issued := "", time.Time{}
	for _, claimant := range j.evidence.sorted {
		known := j.evidence.certificates[claimant.Name]
		if claimant != n && claimant.claim(name) == noClaim || known == nil || !known.mayHave(name) {
			continue
		}
		switch {
		case known.issued.After(issued):
			newest, issued = claimant.Name, known.issued
		case known.issued.Equal(issued):
			newest = ""
		}
	}
	return newest
}

// certificateDecides reports whether the newest certificate with a name is the Node's. Silence proves
// nothing: for an address, the certificate must be shown there, or be issued under this watch, or all rivals
// must have answered.
func (j *judgment) certificateDecides(n *Node, own rank, name Name, rivals []rival) bool {
	if j.newestClaimant(n, name) != n.Name || !j.evidence.certificates[n.Name].proves(name) {
		return false
	}
	if j.evidence.certificates[n.Name].watched || j.isShownAt(n, own, name) {
		return true
	}
	// A Node is no rival of its own, but by its network.
	var others []*Node
	for _, r := range rivals {
		if r.node != n {
			others = append(others, r.node)
		}
	}
	if len(others) > maxRivals {
		return false
	}
	if name.IP.IsValid() && j.mayBeAsked(n, own, name) && !j.isAnswered(name) {
		return false
	}
	all := len(others) < maxClaimants
	for _, asked := range append([]*Node{n}, others[:min(len(others), maxClaimants-1)]...) {
		for _, address := range j.askableAddresses(asked) {
			if !j.isAnswered(address) {
				return false // kubelets are being asked
			}
		}
		all = all && (asked == n || j.hasAnswered(asked))
	}
	return all || !name.IP.IsValid()
}

func (j *judgment) isShownAt(n *Node, own rank, name Name) bool {
	if !name.IP.IsValid() || !j.mayBeAsked(n, own, name) {
		return false
	}
	answer := j.evidence.answer("certificate", name)
	return answer != nil && answer.Certificate != nil && answer.Certificate.Node == n.Name &&
		contains(parseNames(answer.Certificate.SANs), name)
}

func (j *judgment) isAnswered(address Name) bool {
	return j.evidence.answer("certificate", address) != nil
}

// hasAnswered reports whether a kubelet has answered, with its own certificate or with none.
func (j *judgment) hasAnswered(n *Node) bool {
	for _, address := range j.askableAddresses(n) {
		answer := j.evidence.answer("certificate", address)
		if answer != nil && (answer.Empty != nil || answer.Certificate != nil && answer.Certificate.Node == n.Name) {
			return true
		}
	}
	return false
}

// askableAddresses returns the addresses at which a Node's kubelet is asked, in the Node's order. Reserved and
// protected addresses are not, nor are those in a pod network that came before the claim.
func (j *judgment) askableAddresses(n *Node) []Name {
	var list []Name
	for _, name := range n.counted {
		if name.IP.IsValid() && len(list) < maxAddresses && j.mayBeAsked(n, n.claim(name), name) {
			list = append(list, name)
		}
	}
	return list
}

// mayBeAsked reports whether a Node's kubelet may be asked at an address that the Node claims since then. The
// addresses of API servers are for control-plane nodes alone.
func (j *judgment) mayBeAsked(n *Node, own rank, name Name) bool {
	for _, o := range slices.Concat(j.evidence.protected, j.evidence.recent) {
		if o.holds(name) && (o.Kind == "Service" || !n.ControlPlane) {
			return false
		}
	}
	for _, owner := range j.evidence.sorted {
		for network, since := range owner.networks {
			if since < own && network.Contains(name.IP) {
				return false
			}
		}
	}
	return !isReserved(name.IP) && !inAny(name.IP, j.policy.Protected.Networks)
}

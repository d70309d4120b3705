package main

import (
	"net/netip"
	"slices"
)

const (
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

// checkClaims applies rows 46 and 47, once all else grants the request.
func (j *judgment) checkClaims() {
	for _, name := range j.sans {
		if j.isContested(j.node, name) {
			j.add("SanContested")
		}
		if name.IP.IsValid() && j.isInPodNetwork(j.node, name) {
			j.add("SanPodAddress")
		}
	}
}

// isContested reports whether another Node owns a name, or no one does. The first claim owns. Between claims
// of equal rank the newest certificate decides.
func (j *judgment) isContested(n *Node, name Name) bool {
	if name.DNS != "" && (name.DNS == n.Name || j.evidence.nodes[name.DNS] != nil) {
		return false // rows 53 and 72 decide on Nodes' own names
	}
	own := n.claim(name)
	shared := j.policy.shares(name) && !j.evidence.protectedAs("ApiServerEndpoint", name)
	var equal []*Node
	for _, other := range j.evidence.sorted {
		claim := other.claim(name)
		if other == n || claim == noClaim || claim > own || shared && parseName(other.Name) != name || !j.isRival(n, other, name) {
			continue
		}
		if claim < own {
			return true
		}
		equal = append(equal, other)
	}
	return len(equal) > 0 && !j.certificateDecides(n, name, equal)
}

// isRival reports whether the judge would grant a name to another Node but for the rivalry. State, lateness
// and silence never rule a claimant out.
func (j *judgment) isRival(n, other *Node, name Name) bool {
	return !j.isRuledOut(n, other, name) && j.inventory(other, name) != contradicts && !j.isDecided(n, other, name)
}

// isRuledOut reports whether protection or the policy keeps another Node from a name, or lets both have it.
func (j *judgment) isRuledOut(n, other *Node, name Name) bool {
	both := j.policy.allows(n.Name, n.ControlPlane, name) && j.policy.allows(other.Name, other.ControlPlane, name)
	return both || len(j.protection(other, name)) > 0 || j.isOutsidePolicy(other, name) ||
		j.looksLikeService(other.Name, other, name) || name.DNS != "" && j.isLikeAnotherNode(other, name)
}

// isDecided reports whether an independent source gives a name to the Node and not to another one. DNS decides
// only where the policy requires it.
func (j *judgment) isDecided(n, other *Node, name Name) bool {
	sources := []string{"Inventory", "Machine"}
	if j.policy.demand(n.Name, name).requires("DNS") {
		sources = append(sources, "DNS")
	}
	return slices.ContainsFunc(sources, func(source string) bool {
		return j.ask(n, name, source) == vouches && (other == n || j.ask(other, name, source) != vouches)
	})
}

// isInPodNetwork reports whether an address lies in a network of pods that came before the claim, of any
// Node (row 46). An inventory that contradicts the owner of the network says nothing of its pods.
func (j *judgment) isInPodNetwork(n *Node, name Name) bool {
	if j.policy.allows(n.Name, n.ControlPlane, name) {
		return false
	}
	own := n.claim(name)
	var equal []*Node
	found := false
	for _, owner := range j.evidence.sorted {
		for network, since := range owner.networks {
			if since > own || !network.Contains(name.IP) || !j.isPodNetwork(n, owner, network, since) ||
				owner != n && j.isRuledOut(n, owner, name) || j.isDecided(n, owner, name) {
				continue
			}
			if since < own {
				return true
			}
			found = true
			if owner != n && !contains(equal, owner) {
				equal = append(equal, owner)
			}
		}
	}
	return found && !j.certificateDecides(n, name, equal)
}

// isPodNetwork reports whether a Node's network counts as one of pods. A network that no Node's pods could
// fill does not, and neither does one with an API server or three other Nodes in it.
func (j *judgment) isPodNetwork(n, owner *Node, network netip.Prefix, since rank) bool {
	if network.Addr().Is4() && network.Bits() < 16 || network.Addr().Is6() && network.Bits() < 48 {
		return false
	}
	for _, o := range j.evidence.protected {
		for name := range o.names {
			if o.Kind == "ApiServerEndpoint" && name.IP.IsValid() && network.Contains(name.IP) {
				return false
			}
		}
	}
	before := 0
	for _, other := range j.evidence.sorted {
		if other == n || other == owner {
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

// shown is a certificate that is known, with the address at which a kubelet showed it.
type shown struct {
	*Certificate
	at Name // zero for a certificate that was issued under this watch
}

// proves reports whether a certificate has a name. The zero name stands for a provider ID, which none holds.
func (c shown) proves(name Name) bool {
	return name == Name{} || contains(parseNames(c.SANs), name)
}

// certificates returns the certificates that are known: those that were issued under this watch, and those
// that the kubelets of some claimants show.
func (j *judgment) certificates(claimants []*Node) []shown {
	var list []shown
	for _, issued := range j.evidence.issued {
		list = append(list, shown{Certificate: issued})
	}
	for _, claimant := range claimants {
		for _, address := range j.askableAddresses(claimant) {
			if answer := j.evidence.answer("certificate", address); answer != nil && answer.Certificate != nil {
				list = append(list, shown{answer.Certificate, address})
			}
		}
	}
	return list
}

// newestCertificates returns the newest certificate of each node.
func newestCertificates(list []shown) map[string]shown {
	newest := map[string]shown{}
	for _, certificate := range list {
		if former, ok := newest[certificate.Node]; !ok || certificate.Issued.After(former.Issued) {
			newest[certificate.Node] = certificate
		}
	}
	return newest
}

// certificateDecides reports whether the newest certificate with a name is the Node's. Silence proves
// nothing: for an address, the certificate must be shown there, or be issued under this watch, or all rivals
// must have answered.
func (j *judgment) certificateDecides(n *Node, name Name, rivals []*Node) bool {
	if len(rivals) > maxRivals {
		return false
	}
	asked := append([]*Node{n}, rivals[:min(len(rivals), maxClaimants-1)]...)
	list := j.certificates(asked)
	newest := newestCertificates(list)
	own, ok := newest[n.Name]
	if !ok || !own.proves(name) {
		return false
	}
	for _, other := range newest {
		rival := slices.ContainsFunc(rivals, func(rival *Node) bool { return rival.Name == other.Node })
		if other.Node != n.Name && (rival || name != Name{}) && other.proves(name) && !other.Issued.Before(own.Issued) {
			return false
		}
	}
	if !name.IP.IsValid() {
		return true
	}
	for _, certificate := range list {
		if certificate.Node == n.Name && certificate.Issued.Equal(own.Issued) && (certificate.at == name || certificate.at == Name{}) {
			return true
		}
	}
	for i, rival := range rivals {
		if i >= maxClaimants-1 || !j.hasAnswered(rival) {
			return false
		}
	}
	return true
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
	for _, ip := range n.ipAddresses() {
		name := Name{IP: ip}
		if len(list) < maxAddresses && !j.policy.isReserved(ip) && !j.isProtectedAgainstAsking(n, name) && !j.isInEarlierPodNetwork(n, name) {
			list = append(list, name)
		}
	}
	return list
}

// isProtectedAgainstAsking reports whether an address is protected. The endpoint of a control-plane node's own
// API server is not, to its own kubelet.
func (j *judgment) isProtectedAgainstAsking(n *Node, name Name) bool {
	if inAny(name.IP, j.policy.Protected.Networks) || j.evidence.protectedAs("Service", name) {
		return true
	}
	if j.evidence.protectedAs("ApiServerEndpoint", name) {
		return j.endpointProtection(n, name) != ""
	}
	return j.evidence.protectedAs("ApiServerIdentity", name) || j.recentProtection(n, name) != ""
}

func (j *judgment) isInEarlierPodNetwork(n *Node, name Name) bool {
	for _, owner := range j.evidence.sorted {
		for network, since := range owner.networks {
			if since < n.claim(name) && network.Contains(name.IP) && j.isPodNetwork(n, owner, network, since) {
				return true
			}
		}
	}
	return false
}

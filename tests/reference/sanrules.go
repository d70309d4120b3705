package main

import (
	"net/netip"
	"strings"
)

// maxNames is the number of names that are read (row 54). No policy allows as many.
const maxNames = 512

// checkNames applies the rules for names that need no evidence: rows 33 to 36, 45, 48 to 51, 54, 73, 74.
func (j *judgment) checkNames(content *certificationRequest) {
	if content.sanMalformed {
		j.add("SanMalformed")
	}
	if len(content.names) == 0 {
		if !content.sanMalformed {
			j.add("SanMissing")
		}
		return
	}
	if len(content.names) > j.policy.Names.Max {
		j.add("SanTooMany")
	}
	seen := map[generalName]bool{}
	var dnsNames, ipAddresses int
	for _, general := range content.names[:min(len(content.names), maxNames)] {
		if seen[general] && (general.kind == kindDNS || general.kind == kindIP) {
			j.add("SanDuplicate")
		}
		seen[general] = true
		var name Name
		var ok bool
		switch general.kind {
		case kindDNS:
			name.DNS, ok = j.checkDNSName(general.value)
			if ok {
				dnsNames++
			}
		case kindIP:
			name.IP, ok = j.checkIPAddress(general.value)
			if ok {
				ipAddresses++
			}
		default:
			j.add("SanKindRefused")
		}
		if ok && j.isOutsidePolicy(j.nodeName, name) {
			j.add("SanOutsidePolicy")
		}
		if ok && !contains(j.sans, name) {
			j.sans = append(j.sans, name)
		}
	}
	if dnsNames > 0 && ipAddresses == 0 && j.policy.Names.DNSOnly != "Allow" {
		j.add("SanWithoutIp")
	}
}

func (j *judgment) checkDNSName(value string) (string, bool) {
	if strings.Contains(value, "*") {
		j.add("SanWildcard")
		return "", false
	}
	name := canonicalDNS(value)
	if !isHostName(name) {
		j.add("SanDnsMalformed")
		return "", false
	}
	if isLocalName(name, j.nodeName) {
		j.add("SanLocalName")
	}
	if j.isOfTheCluster(name) {
		j.add("SanClusterName")
	}
	return name, true
}

func (j *judgment) checkIPAddress(value string) (netip.Addr, bool) {
	ip, ok := netip.AddrFromSlice([]byte(value))
	if !ok || ip.Is4In6() {
		j.add("SanIpMalformed")
		return netip.Addr{}, false
	}
	if j.policy.isReserved(ip) {
		j.add("SanReservedAddress")
	}
	return ip, true
}

// checkNamesByEvidence applies the rules for names that compare them with the cluster: rows 37, 38, 41 to 44,
// 49, 53, 71 and 72.
func (j *judgment) checkNamesByEvidence() {
	for _, name := range j.sans {
		if j.evidence.protectedAs("Service", name) {
			j.add("SanServiceAddress")
		}
		if j.nodeName != "" && j.looksLikeService(j.nodeName, j.node, name) {
			j.add("SanLooksLikeService")
		}
		if j.node == nil {
			continue
		}
		if !contains(j.node.counted, name) {
			j.add("SanNotOfNode")
		}
		for _, code := range j.protection(j.node, name) {
			j.add(code)
		}
		if name.DNS != "" {
			j.checkOtherNodesNames(name)
		}
	}
	if j.node != nil && len(j.sans) > 0 && j.policy.Names.Incomplete != "Allow" {
		for _, name := range j.node.names {
			if !contains(j.sans, name) {
				j.add("SanIncomplete")
			}
		}
	}
}

// isOfTheCluster reports whether a name means the API server, a Service or a pod, by its form.
func (j *judgment) isOfTheCluster(name string) bool {
	for _, domain := range j.policy.Protected.ClusterDomains {
		if isInClusterDomain(name, j.nodeName, domain, false) {
			return true
		}
	}
	return isFixedClusterName(name) || j.isInDiscoveredDomain(name)
}

// isInDiscoveredDomain reports whether a name lies in a domain of the cluster that API servers'
// certificates show.
func (j *judgment) isInDiscoveredDomain(name string) bool {
	for _, o := range j.evidence.protected {
		for held := range o.names {
			domain, ok := strings.CutPrefix(held.DNS, "kubernetes.default.svc.")
			if ok && o.Kind == "ApiServerIdentity" && isInClusterDomain(name, j.nodeName, domain, true) {
				return true
			}
		}
	}
	return false
}

// looksLikeService reports whether pods could resolve a name to a Service (row 71). The Node's own name and
// its first label never do.
func (j *judgment) looksLikeService(nodeName string, n *Node, name Name) bool {
	mode := j.policy.Names.ServiceLike
	if name.DNS == "" || mode == "Allow" || name.DNS == nodeName || name.DNS == firstLabel(nodeName) ||
		n != nil && j.policy.allows(nodeName, n.ControlPlane, name) {
		return false
	}
	parts := labels(name.DNS)
	switch {
	case len(parts) == 1:
		return true
	case len(parts) == 2 || mode == "WaitAlways":
		return j.evidence.namespaces[parts[len(parts)-1]]
	}
	return false
}

// isOutsidePolicy reports whether a name lies outside of the suffixes or networks of the policy.
func (j *judgment) isOutsidePolicy(nodeName string, name Name) bool {
	if name.IP.IsValid() {
		networks := j.policy.Names.Networks
		return len(networks) > 0 && !inAny(name.IP, networks)
	}
	suffixes := j.policy.Names.DNSSuffixes
	return len(suffixes) > 0 && name.DNS != nodeName && !isUnderAny(name.DNS, suffixes)
}

// checkOtherNodesNames applies rows 53 and 72: the name of another Node, exactly or with or without a domain.
func (j *judgment) checkOtherNodesNames(name Name) {
	claim := j.node.claim(name)
	if other := j.evidence.nodes[name.DNS]; other != nil && other != j.node {
		if other.since < claim && !other.gone() {
			j.add("SanOfAnotherNode")
		} else {
			j.add("SanContested")
		}
	}
	if j.isLikeAnotherNode(j.node, name, false) {
		j.add("SanLikeAnotherNode")
	}
}

// isLikeAnotherNode reports whether a name is that of another Node with or without a domain, where that Node
// was there before the claim (row 72), or in the same list. If certain, the same list does not count. The name is
// the Node's own if its name has as many of the first labels.
func (j *judgment) isLikeAnotherNode(n *Node, name Name, certain bool) bool {
	for _, other := range j.evidence.sorted {
		alike := strings.HasPrefix(name.DNS, other.Name+".") || strings.HasPrefix(other.Name, name.DNS+".")
		if alike && firstLabelsInCommon(other.Name, name.DNS) > firstLabelsInCommon(n.Name, name.DNS) && (other.since < n.claim(name) || !certain && other.since == n.claim(name)) {
			return true
		}
	}
	return false
}

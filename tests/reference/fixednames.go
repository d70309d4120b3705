package main

import (
	"net/netip"
	"strings"
)

func prefixes(texts ...string) []netip.Prefix {
	var list []netip.Prefix
	for _, text := range texts {
		list = append(list, netip.MustParsePrefix(text))
	}
	return list
}

// reservedNetworks belong to no node (rows 45 and 74).
var reservedNetworks = prefixes(
	"0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "255.255.255.255/32",
	// Metadata and platform addresses of Alibaba, Azure and Oracle.
	"100.100.100.200/32", "168.63.129.16/32", "192.0.0.192/32",
	// Unspecified, loopback and IPv4-compatible; NAT64; IPv4-translated; Teredo; 6to4.
	"::/96", "64:ff9b::/96", "::ffff:0:0:0/96", "2001::/32", "2002::/16",
	"fe80::/10", "ff00::/8",
	// Metadata addresses of Amazon, Google, Oracle and Scaleway.
	"fd00:ec2::/32", "fd20:ce::254/128", "fd00:c1::a9fe:a9fe/128", "fd00:42::42/128",
)

var formerClassE = netip.MustParsePrefix("240.0.0.0/4")

// isReserved reports whether an address belongs to no node under any policy.
func isReserved(ip netip.Addr) bool { return inAny(ip, reservedNetworks) }

// isReserved reports whether an address belongs to no node. The policy's networks can name 240.0.0.0/4.
func (p *Policy) isReserved(ip netip.Addr) bool {
	return inAny(ip, reservedNetworks) || formerClassE.Contains(ip) && !inAny(ip, p.Names.Networks)
}

// machineNames mean the machine itself, or the metadata service of its cloud (row 73).
var machineNames = map[string]bool{
	"localhost4": true, "localhost6": true, "localhost4.localdomain4": true, "localhost6.localdomain6": true,
	"ip6-localhost": true, "ip6-loopback": true, "ip6-localnet": true, "ip6-mcastprefix": true,
	"ip6-allnodes": true, "ip6-allrouters": true, "ip6-allhosts": true,
	"instance-data.ec2.internal": true, "metadata.tencentyun.com": true, "host.docker.internal": true,
}

// isLocalName reports whether every machine reads the name as itself, as its cloud, or as an address. A
// number is a good name of a Node (or its first label) unless it is read as loopback or link-local.
func isLocalName(name, node string) bool {
	if machineNames[name] {
		return true
	}
	ip, numeric := resolvedNumber(name)
	if !numeric {
		return false
	}
	if name == node || name == firstLabel(node) {
		return ip.IsLoopback() || ip.IsLinkLocalUnicast()
	}
	return true
}

// everyClustersNamespaces exist in every cluster.
var everyClustersNamespaces = []string{"default", "kube-system", "kube-public", "kube-node-lease"}

// isFixedClusterName reports whether a name means the API server or a Service in every cluster, or every
// machine itself (row 49).
func isFixedClusterName(name string) bool {
	switch name {
	case "kubernetes", "localhost.localdomain", "metadata.google.internal":
		return true
	}
	if name == "kubernetes.default" || strings.HasPrefix(name, "kubernetes.default.") {
		return true
	}
	if isUnder(name, "svc") || isUnder(name, "pod") || isUnder(name, "localhost") {
		return true
	}
	for _, namespace := range everyClustersNamespaces {
		if strings.HasSuffix(name, "."+namespace) {
			return true
		}
	}
	return false
}

// isInClusterDomain reports whether a name is one of a cluster's domain that its node may not have. A
// Node can be named under the domain, but not like a Service or a pod. Of a cut domain (one label, from
// a certificate) only Services and pods are reserved.
func isInClusterDomain(name, node, domain string, discovered bool) bool {
	domain = canonicalDNS(domain)
	if isUnder(name, "svc."+domain) || isUnder(name, "pod."+domain) {
		return true
	}
	if discovered && !strings.Contains(domain, ".") {
		return false
	}
	return isUnder(name, domain) && (name != node || name == domain)
}

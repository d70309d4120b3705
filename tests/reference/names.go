package main

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"

	netutils "k8s.io/utils/net"
)

// Name is a DNS name in lower case without its trailing dot, or an IP address. The other field is zero.
type Name struct {
	IP  netip.Addr
	DNS string
}

func contains[T comparable](list []T, item T) bool { return slices.Contains(list, item) }

// canonicalDNS returns a DNS name as DNS compares it: only ASCII letters have a lower case.
func canonicalDNS(text string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' {
			r += 'a' - 'A'
		}
		return r
	}, strings.TrimSuffix(text, "."))
}

// parseIP reads an address as Kubernetes does: leading zeros are decimal, and IPv4 mapped into IPv6 is IPv4.
func parseIP(text string) (netip.Addr, bool) {
	ip, ok := netip.AddrFromSlice(netutils.ParseIPSloppy(text))
	return ip.Unmap(), ok
}

func parseName(text string) Name {
	if ip, ok := parseIP(text); ok {
		return Name{IP: ip}
	}
	return Name{DNS: canonicalDNS(text)}
}

func parseNames(texts []string) []Name {
	names := make([]Name, 0, len(texts))
	for _, text := range texts {
		names = append(names, parseName(text))
	}
	return names
}

// usableAddress returns the name that a kubelet requests for an address of its Node, if it can be in a
// certificate.
func usableAddress(address NodeAddress) (Name, bool) {
	switch address.Type {
	case "InternalIP", "ExternalIP":
		ip, ok := parseIP(address.Address)
		return Name{IP: ip}, ok
	case "Hostname":
		if ip, ok := parseIP(address.Address); ok {
			return Name{IP: ip}, true
		}
		fallthrough
	case "InternalDNS", "ExternalDNS":
		name := canonicalDNS(address.Address)
		return Name{DNS: name}, isHostName(name)
	}
	return Name{}, false
}

// isHostName reports whether a canonical name has only labels of letters, digits and inner hyphens,
// within the lengths of DNS, and is no IP address.
func isHostName(name string) bool {
	if name == "" || len(name) > 253 {
		return false
	}
	for _, label := range strings.Split(name, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for _, c := range []byte(label) {
			if !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-') {
				return false
			}
		}
	}
	return !strings.Contains(name, ".") || !isOfNumbers(name)
}

// isOfNumbers reports whether all labels are numbers, decimal or hexadecimal.
func isOfNumbers(name string) bool {
	for _, label := range strings.Split(name, ".") {
		digits, set := label, "0123456789"
		if rest, ok := strings.CutPrefix(label, "0x"); ok {
			digits, set = rest, "0123456789abcdef"
		}
		if strings.Trim(digits, set) != "" {
			return false
		}
	}
	return true
}

// resolvedNumber reads a name as resolvers do (inet_aton): one to four numbers, decimal, octal or
// hexadecimal, of which the last fills all remaining bytes.
func resolvedNumber(name string) (netip.Addr, bool) {
	parts := strings.Split(name, ".")
	if len(parts) > 4 {
		return netip.Addr{}, false
	}
	var address uint64
	for i, part := range parts {
		digits, base := part, 10
		if rest, ok := strings.CutPrefix(part, "0x"); ok {
			digits, base = rest, 16
		} else if len(part) > 1 && part[0] == '0' {
			digits, base = part[1:], 8
		}
		limit := uint64(255)
		if i == len(parts)-1 {
			limit = 1<<(8*(5-len(parts))) - 1
		}
		number, err := strconv.ParseUint(digits, base, 64)
		if err != nil || number > limit {
			return netip.Addr{}, false
		}
		shift := 8 * (3 - i)
		if i == len(parts)-1 {
			shift = 0
		}
		address |= number << shift
	}
	return netip.AddrFrom4([4]byte{byte(address >> 24), byte(address >> 16), byte(address >> 8), byte(address)}), true
}

func labels(name string) []string { return strings.Split(name, ".") }

func firstLabel(name string) string {
	label, _, _ := strings.Cut(name, ".")
	return label
}

// firstLabelsInCommon returns the number of first labels that two names share.
func firstLabelsInCommon(a, b string) int {
	first, second := labels(a), labels(b)
	count := 0
	for count < min(len(first), len(second)) && first[count] == second[count] {
		count++
	}
	return count
}

// isUnder reports whether a canonical name is a domain or lies under it.
func isUnder(name, domain string) bool {
	domain = canonicalDNS(domain)
	return name == domain || strings.HasSuffix(name, "."+domain)
}

func isUnderAny(name string, domains []string) bool {
	return slices.ContainsFunc(domains, func(domain string) bool { return isUnder(name, domain) })
}

func inAny(ip netip.Addr, networks []netip.Prefix) bool {
	return slices.ContainsFunc(networks, func(network netip.Prefix) bool { return network.Contains(ip) })
}

// matchesPattern reports whether a node's name matches a pattern, in which each * stands for any
// characters but a dot.
func matchesPattern(pattern, name string) bool {
	star := strings.IndexByte(pattern, '*')
	if star < 0 {
		return pattern == name
	}
	if !strings.HasPrefix(name, pattern[:star]) {
		return false
	}
	for rest := name[star:]; ; rest = rest[1:] {
		if matchesPattern(pattern[star+1:], rest) {
			return true
		}
		if rest == "" || rest[0] == '.' {
			return false
		}
	}
}

package main

import (
	"slices"
	"strings"
)

// answer is what an independent source says of a name. A value that is a code says what is missing.
type answer string

const (
	vouches      answer = "vouches"
	contradicts  answer = "contradicts"
	silent       answer = "silent"       // the source was read, and does not vouch
	unconfigured answer = "unconfigured" // the source does not exist
	pending      answer = "SourceUnready"
)

// checkSources applies rows 39, 40, 47, 62, 63 and 64: the sources that must vouch for each name.
func (j *judgment) checkSources() {
	for _, name := range j.sans {
		for _, code := range j.corroborate(j.node, name).codes {
			j.add(code)
		}
	}
}

// corroboration is what all sources that were asked say of one name.
type corroboration struct {
	codes   []string
	vouched []string
	// dnsUnknown is true if DNS was asked, and has not answered.
	dnsUnknown bool
}

func (c *corroboration) denies() bool {
	return slices.ContainsFunc(c.codes, func(code string) bool { return codes[code].effect == "Deny" })
}

func decidesClaims(source string) bool {
	return source == "Inventory" || source == "Machine" || source == "DNS"
}

// deciding returns the sources that decide claims, of those that vouch.
func (c *corroboration) deciding() []string {
	var list []string
	for _, source := range c.vouched {
		if decidesClaims(source) {
			list = append(list, source)
		}
	}
	return list
}

func (c *corroboration) byMachine() bool {
	return contains(c.vouched, "Machine") || contains(c.vouched, "MachineExists")
}

// corroborate asks the sources about a name. Inventory and Machines are always asked, because what they contradict
// is denied. Others are asked while the policy needs them.
func (j *judgment) corroborate(n *Node, name Name) *corroboration {
	return j.corroborateUntil(n, name, func(string) bool { return true })
}

// corroborateClaim asks the sources about a claimant's name. One that decides no claims does not keep one from
// being asked that does.
func (j *judgment) corroborateClaim(n *Node, name Name) *corroboration {
	return j.corroborateUntil(n, name, decidesClaims)
}

func (j *judgment) corroborateUntil(n *Node, name Name, isEnough func(source string) bool) *corroboration {
	c := &corroboration{}
	demand := j.policy.demand(n.Name, name)
	enough := len(demand.AnyOf) == 0
	missing := map[string]string{}
	unconfiguredAny := 0
	for _, source := range []string{"Inventory", "Machine", "MachineExists", "DNS", "ServingCertificate", "Renewal"} {
		must, may := contains(demand.AllOf, source), contains(demand.AnyOf, source)
		if source != "Inventory" && source != "Machine" && !must && (!may || enough) {
			continue
		}
		switch a := j.ask(n, name, source, &c.codes); a {
		case vouches:
			enough = enough || may && isEnough(source)
			c.vouched = append(c.vouched, source)
		case contradicts:
		case unconfigured:
			if must {
				missing[source] = "SanUncorroborated"
			}
			if may {
				unconfiguredAny++
			}
		case silent:
			missing[source] = "SanUncorroborated"
		default:
			missing[source] = string(a)
			c.dnsUnknown = c.dnsUnknown || source == "DNS"
		}
	}
	for source, code := range missing {
		if contains(demand.AllOf, source) || contains(demand.AnyOf, source) && !enough {
			c.codes = append(c.codes, code)
		}
	}
	if !enough && unconfiguredAny == len(demand.AnyOf) {
		c.codes = append(c.codes, "SanUncorroborated")
	}
	return c
}

// ask asks a source whether a name is a Node's. It adds the codes of what is denied or contested.
func (j *judgment) ask(n *Node, name Name, source string, found *[]string) answer {
	result := unconfigured
	switch source {
	case "Inventory":
		result = j.inventory(n, name)
	case "Machine", "MachineExists":
		if !j.evidence.watchesMachines(j.policy) {
			return unconfigured
		}
		if source == "MachineExists" {
			return j.machineExists(n, name)
		}
		a, denied := j.machineVouches(n, name)
		*found = append(*found, append(denied, j.checkOtherMachines(n, name)...)...)
		return a
	case "DNS":
		result = j.dns(n, name)
	case "ServingCertificate":
		return j.servingCertificate(n, func(names []Name) bool { return contains(names, name) })
	case "Renewal":
		return j.servingCertificate(n, func(names []Name) bool { return sameNames(names, j.sans) })
	}
	if result == contradicts {
		*found = append(*found, "SanContradicted")
	}
	return result
}

func sameNames(a, b []Name) bool {
	subset := func(a, b []Name) bool {
		return !slices.ContainsFunc(a, func(name Name) bool { return !contains(b, name) })
	}
	return subset(a, b) && subset(b, a)
}

// inventory answers for the administrator's list. An entry that lists any address of a node lists all of them,
// and the same for its names. Patterns hold only for what no entry lists.
func (j *judgment) inventory(n *Node, name Name) answer {
	file := j.evidence.inventory
	if file == nil {
		return unconfigured
	}
	own := name == parseName(n.Name)
	listed, others, known, entered := false, false, false, false
	for _, entry := range file.Nodes {
		lists := entry.Names
		if name.IP.IsValid() {
			lists = entry.Addresses
		}
		holds := contains(parseNames(lists), name)
		if entry.Name != n.Name {
			others = others || holds || parseName(entry.Name) == name
			continue
		}
		known, entered = true, true
		if len(lists) > 0 && !own && !holds {
			return contradicts
		}
		listed = listed || holds
	}
	if listed || entered && own {
		return vouches
	}
	if others {
		return contradicts
	}
	for _, pattern := range file.Patterns {
		if !matchesPattern(pattern.Nodes, n.Name) {
			continue
		}
		known = true
		if name.IP.IsValid() && inAny(name.IP, pattern.Networks) {
			return vouches
		}
		for _, suffix := range pattern.DNSSuffixes {
			if name.DNS == n.Name+"."+canonicalDNS(suffix) {
				return vouches
			}
		}
	}
	if own && name.DNS != "" && known {
		return vouches
	}
	return silent
}

// dnsNames returns the names that DNS is asked for: the Node's name as it is, if it lies under a suffix, and
// under each suffix.
func (j *judgment) dnsNames(n *Node) []string {
	var names []string
	if strings.Contains(n.Name, ".") && isUnderAny(n.Name, j.policy.Sources.DNS.Suffixes) {
		names = append(names, n.Name)
	}
	for _, suffix := range j.policy.Sources.DNS.Suffixes {
		if name := n.Name + "." + canonicalDNS(suffix); isHostName(name) {
			names = append(names, name)
		}
	}
	return names
}

// dns answers for DNS: one of the Node's names has an address, and a name has addresses of the Node only.
func (j *judgment) dns(n *Node, name Name) answer {
	if j.policy.Sources.DNS == nil {
		return unconfigured
	}
	asked := j.dnsNames(n)
	if name.DNS != "" {
		if !contains(asked, name.DNS) {
			return silent
		}
		asked = []string{name.DNS}
	}
	result, found, ofNode := silent, false, false
	for _, text := range asked {
		reply := j.evidence.answer("addresses", Name{DNS: text})
		if reply == nil || reply.Failed != nil {
			result = pending
			continue
		}
		addresses := parseNames(reply.SANs)
		own, foreign := 0, 0
		for _, address := range addresses {
			if n.has(address) {
				own++
			} else {
				foreign++
			}
		}
		found, ofNode = found || len(addresses) > 0, ofNode || own > 0
		if name.DNS != "" && own > 0 && foreign == 0 {
			return vouches
		}
		if name.IP.IsValid() && contains(addresses, name) {
			return j.leadsBack(name, text)
		}
	}
	if result == silent && found && !ofNode {
		return contradicts
	}
	return result
}

// leadsBack reports whether an address leads back to a name, if the policy requires it.
func (j *judgment) leadsBack(address Name, text string) answer {
	if j.policy.Sources.DNS.Reverse != "Required" {
		return vouches
	}
	reply := j.evidence.answer("names", address)
	switch {
	case reply == nil || reply.Failed != nil:
		return pending
	case contains(parseNames(reply.SANs), Name{DNS: text}):
		return vouches
	}
	return silent
}

// servingCertificate answers for the certificate that a Node's kubelet shows: asked at one address after the
// other, until one proves it. The newest certificate of the node that is known must prove the same.
func (j *judgment) servingCertificate(n *Node, proves func(names []Name) bool) answer {
	if j.policy.Sources.ServingCertificate == nil {
		return unconfigured
	}
	addresses := j.askableAddresses(n)
	answered := len(addresses) == 0
	for _, address := range addresses {
		reply := j.evidence.answer("certificate", address)
		if reply == nil {
			return pending
		}
		answered = answered || reply.Failed == nil
		c := reply.Certificate
		if c != nil && c.Node == n.Name && proves(parseNames(c.SANs)) && proves(j.evidence.certificates[n.Name].names) {
			return vouches
		}
	}
	if answered {
		return silent
	}
	return pending
}

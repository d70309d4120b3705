package main

import "slices"

// answer is what an independent source says of a name. A value that is a code says what is missing.
type answer string

const (
	vouches      answer = "vouches"
	contradicts  answer = "contradicts"
	silent       answer = "silent"       // the source was read, and does not vouch
	unconfigured answer = "unconfigured" // the source does not exist
	pending      answer = "SourceUnready"
)

// checkSources applies rows 39, 40, 62, 63 and 64: the sources that must vouch for each name.
func (j *judgment) checkSources() {
	for _, name := range j.sans {
		if j.inventory(j.node, name) == contradicts {
			j.add("SanContradicted")
			continue
		}
		demand := j.policy.demand(j.node.Name, name)
		for _, source := range demand.AllOf {
			j.addMissing([]answer{j.ask(j.node, name, source)})
		}
		if len(demand.AnyOf) > 0 {
			j.addMissing(j.askAny(name, demand.AnyOf))
		}
	}
	if j.evidence.watchesMachines(j.policy) {
		j.checkMachines()
	}
}

// askAny asks sources until one vouches. DNS and kubelets are asked last.
func (j *judgment) askAny(name Name, sources []string) []answer {
	sources = slices.Clone(sources)
	slices.SortStableFunc(sources, func(a, b string) int { return cost(a) - cost(b) })
	var answers []answer
	for _, source := range sources {
		answers = append(answers, j.ask(j.node, name, source))
		if answers[len(answers)-1] == vouches {
			break
		}
	}
	return answers
}

func cost(source string) int {
	switch source {
	case "DNS":
		return 1
	case "ServingCertificate", "Renewal":
		return 2
	}
	return 0
}

// addMissing records why none of some sources vouches for a name. What one of them contradicts is denied.
func (j *judgment) addMissing(answers []answer) {
	if contains(answers, contradicts) {
		j.add("SanContradicted")
		return
	}
	if contains(answers, vouches) {
		return
	}
	missing := false
	for _, a := range answers {
		switch a {
		case unconfigured:
			continue
		case silent:
			a = "SanUncorroborated"
		}
		j.add(string(a))
		missing = true
	}
	if !missing {
		j.add("SanUncorroborated")
	}
}

// ask asks a source whether a name is a Node's.
func (j *judgment) ask(n *Node, name Name, source string) answer {
	switch source {
	case "Inventory":
		return j.inventory(n, name)
	case "Machine", "MachineExists":
		if !j.evidence.watchesMachines(j.policy) {
			return unconfigured
		}
		if source == "Machine" {
			return j.machineVouches(n, name)
		}
		return j.machineExists(n, name)
	case "DNS":
		return j.dns(n, name)
	case "ServingCertificate":
		return j.servingCertificate(n, func(names []Name) bool { return contains(names, name) })
	case "Renewal":
		return j.servingCertificate(n, func(names []Name) bool { return sameNames(names, j.sans) })
	}
	return unconfigured
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
	listed, others, known := false, false, false
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
		known = true
		if len(lists) > 0 && !own && !holds {
			return contradicts
		}
		listed = listed || holds
	}
	if listed {
		return vouches
	}
	if others && !own {
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

// dnsNames returns the names that DNS is asked for: the Node's name under each suffix, and as it is if it lies
// under one.
func (j *judgment) dnsNames(n *Node) []string {
	var names []string
	for _, suffix := range j.policy.Sources.DNS.Suffixes {
		suffix = canonicalDNS(suffix)
		names = append(names, n.Name+"."+suffix)
		if n.Name != suffix && isUnder(n.Name, suffix) {
			names = append(names, n.Name)
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
			switch a := j.leadsBack(name, text); a {
			case vouches:
				return vouches
			case pending:
				result = pending
			}
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

// servingCertificate answers for the certificate that a Node's kubelet shows. A later certificate of the node
// that is known must prove the same.
func (j *judgment) servingCertificate(n *Node, proves func(names []Name) bool) answer {
	newest, known := newestCertificates(j.certificates([]*Node{n}))[n.Name]
	result := silent
	for _, address := range j.askableAddresses(n) {
		reply := j.evidence.answer("certificate", address)
		if reply == nil || reply.Failed != nil {
			result = pending
			continue
		}
		if c := reply.Certificate; c != nil && c.Node == n.Name && proves(parseNames(c.SANs)) && known && proves(parseNames(newest.SANs)) {
			return vouches
		}
	}
	return result
}

package main

import "strings"

// machineNamesOf returns the names and addresses that a Machine lists. A prefix length is ignored.
func machineNamesOf(m *Machine) []Name {
	var names []Name
	for _, text := range m.Addresses {
		if address, _, ok := strings.Cut(text, "/"); ok {
			if ip, ok := parseIP(address); ok {
				names = append(names, Name{IP: ip})
				continue
			}
		}
		names = append(names, parseName(text))
	}
	return names
}

// isOf reports whether a Machine is a Node's: by the reference to the Node, or by the provider ID.
func (m *machine) isOf(n *Node) bool {
	if m.RefersByProviderID {
		return m.ProviderID != nil && n.ProviderID != nil && *m.ProviderID == *n.ProviderID
	}
	return m.Node != nil && *m.Node == n.Name
}

func (m *machine) listsAddresses() bool {
	for _, name := range m.names {
		if name.IP.IsValid() {
			return true
		}
	}
	return false
}

func (j *judgment) machinesOf(n *Node) []*machine {
	var list []*machine
	for _, m := range j.evidence.machines {
		if m.isOf(n) {
			list = append(list, m)
		}
	}
	return list
}

// checkMachines denies what no later state of the Machines can make right: rows 47 and 63. It also finds other
// Machines that show a name of the request.
func (j *judgment) checkMachines() {
	switch code := j.machineProblem(j.node); code {
	case "MachineRepeated", "MachineProviderIdMismatch", "ProviderIdContested":
		j.add(code)
	}
	own := j.machinesOf(j.node)
	for _, name := range j.sans {
		for _, other := range j.evidence.machines {
			if !contains(other.names, name) || other.isOf(j.node) || name.DNS == j.node.Name || j.machineMayShow(other, name) {
				continue
			}
			lists, holds := false, false
			for _, m := range own {
				lists = lists || m.listsAddresses()
				holds = holds || contains(m.names, name)
			}
			if lists && !holds && other.Created.Before(j.node.Created) {
				j.add("SanOfOlderMachine")
			} else {
				j.add("SanContested")
			}
		}
	}
}

// machineMayShow reports whether another Machine may show a name too: a shared one, or one that the policy
// allows both Nodes.
func (j *judgment) machineMayShow(other *machine, name Name) bool {
	if j.policy.shares(name) {
		return true
	}
	if !j.policy.allows(j.node.Name, j.node.ControlPlane, name) {
		return false
	}
	for _, n := range j.evidence.sorted {
		if other.isOf(n) && j.policy.allows(n.Name, n.ControlPlane, name) {
			return true
		}
	}
	return false
}

// machineProblem returns the code of what is wrong with a Node's Machines, of each kind (rows 62 and 63). The
// most severe one counts.
func (j *judgment) machineProblem(n *Node) string {
	kinds := map[string][]*machine{}
	for _, m := range j.machinesOf(n) {
		kinds[m.Kind] = append(kinds[m.Kind], m)
	}
	if len(kinds) == 0 {
		return "MachineMissing"
	}
	problem := ""
	for _, list := range kinds {
		code := j.kindProblem(n, list)
		if code != "" && (problem == "" || codes[problem].effect == "Wait") {
			problem = code
		}
	}
	return problem
}

func (j *judgment) kindProblem(n *Node, list []*machine) string {
	terminating := false
	for _, m := range list {
		terminating = terminating || m.Terminating
	}
	m := list[0]
	switch {
	case len(list) > 1 && terminating:
		return "MachineReplaced"
	case len(list) > 1:
		return "MachineRepeated"
	case !m.PolicyHasProviderIDPath:
		return ""
	case m.ProviderID == nil || n.ProviderID == nil:
		return "MachineIncomplete"
	case *m.ProviderID != *n.ProviderID && m.Terminating:
		return "MachineReplaced"
	case *m.ProviderID != *n.ProviderID:
		return "MachineProviderIdMismatch"
	case m.RefersByProviderID && j.isProviderIDContested(n):
		return "ProviderIdContested"
	}
	return ""
}

// isProviderIDContested reports whether another Node owns the provider ID, as it would own an address.
func (j *judgment) isProviderIDContested(n *Node) bool {
	var equal []*Node
	for _, other := range j.evidence.sorted {
		if other == n || other.ProviderID == nil || *other.ProviderID != *n.ProviderID || other.providerID > n.providerID {
			continue
		}
		if other.providerID < n.providerID {
			return true
		}
		equal = append(equal, other)
	}
	return len(equal) > 0 && !j.certificateDecides(n, Name{}, equal)
}

// machineVouches answers for the source Machine: the addresses and names that the Machine lists, and the
// Node's own name.
func (j *judgment) machineVouches(n *Node, name Name) answer {
	if problem := j.machineProblem(n); problem != "" {
		return answer(problem)
	}
	if name == (Name{DNS: n.Name}) {
		return vouches
	}
	lists := false
	for _, m := range j.machinesOf(n) {
		if contains(m.names, name) {
			return vouches
		}
		lists = lists || len(m.names) > 0
	}
	if !lists {
		return answer("MachineIncomplete")
	}
	return silent
}

// machineExists answers for the source MachineExists. A Machine that lists any address lists all of them, and
// one that lists any name but the Node's own lists all names.
func (j *judgment) machineExists(n *Node, name Name) answer {
	if problem := j.machineProblem(n); problem != "" {
		return answer(problem)
	}
	for _, m := range j.machinesOf(n) {
		lists := false
		for _, listed := range m.names {
			lists = lists || listed.IP.IsValid() == name.IP.IsValid() && (listed.IP.IsValid() || listed.DNS != n.Name)
		}
		if lists && name.DNS != n.Name && !contains(m.names, name) {
			return silent
		}
	}
	return vouches
}

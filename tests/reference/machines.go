package main

import (
	"maps"
	"slices"
	"strings"
)

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

func (j *judgment) machinesOf(n *Node) []*machine {
	var list []*machine
	for _, m := range j.evidence.machines {
		if m.isOf(n) {
			list = append(list, m)
		}
	}
	return list
}

// checkOtherMachines finds Machines of other nodes that show a name (row 47). It returns the codes.
func (j *judgment) checkOtherMachines(n *Node, name Name) []string {
	lists, holds := false, false
	for _, m := range j.machinesOf(n) {
		lists = lists || len(m.names) > 0
		holds = holds || contains(m.names, name)
	}
	var found []string
	for _, other := range j.evidence.machines {
		if !contains(other.names, name) || other.isOf(n) || j.machineMayShow(n, other, name) {
			continue
		}
		older := other.Created.Before(n.Created) && !other.Terminating && other.isOfAnother(n)
		if lists && !holds && name.DNS != n.Name && older {
			found = append(found, "SanOfOlderMachine")
		} else {
			found = append(found, "SanContested")
		}
	}
	return found
}

// isOfAnother reports whether a Machine certainly is of another node: by its reference or by the provider ID.
func (m *machine) isOfAnother(n *Node) bool {
	return !m.RefersByProviderID && m.Node != nil && *m.Node != n.Name ||
		m.PolicyHasProviderIDPath && m.ProviderID != nil && n.ProviderID != nil && *m.ProviderID != *n.ProviderID
}

// machineMayShow reports whether another Machine may show a name too: a shared one, or one that the policy
// allows both Nodes.
func (j *judgment) machineMayShow(n *Node, other *machine, name Name) bool {
	if j.policy.shares(name) {
		return true
	}
	found, all := false, j.policy.allows(n.Name, n.ControlPlane, name)
	for _, owner := range j.evidence.sorted {
		if other.isOf(owner) {
			found, all = true, all && j.policy.allows(owner.Name, owner.ControlPlane, name)
		}
	}
	return found && all
}

// askMachines asks the Machines of each kind. What one kind contradicts is contradicted, and else one that vouches
// is enough. If none does, the first kind by name says why.
func (j *judgment) askMachines(n *Node, vouch func(m *machine) answer) (answer, []string) {
	kinds := map[string][]*machine{}
	for _, m := range j.machinesOf(n) {
		kinds[m.Kind] = append(kinds[m.Kind], m)
	}
	if len(kinds) == 0 {
		return "MachineMissing", nil
	}
	result, denied := answer(""), []string(nil)
	for _, kind := range slices.Sorted(maps.Keys(kinds)) {
		a := answer(j.kindProblem(n, kinds[kind]))
		switch {
		case a == "":
			a = vouch(kinds[kind][0])
		case codes[string(a)].effect == "Deny":
			denied = append(denied, string(a))
			a = contradicts
		}
		if result == "" || a == contradicts || a == vouches && result != contradicts {
			result = a
		}
	}
	return result, denied
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
	}
	return ""
}

// contestOfProviderID returns ProviderIdContested if another Node with a Machine owns the provider ID, by which a
// Machine vouches for a name. It is owned as an address is.
func (j *judgment) contestOfProviderID(n *Node, name Name) string {
	compared := slices.ContainsFunc(j.machinesOf(n), func(m *machine) bool { return m.PolicyHasProviderIDPath })
	if n.ProviderID == nil || !compared || !j.corroborate(n, name).byMachine() {
		return ""
	}
	var claims []rival
	for _, other := range j.evidence.sorted {
		if other.ProviderID != nil && *other.ProviderID == *n.ProviderID {
			claims = append(claims, rival{other, other.providerID, "ProviderIdContested"})
		}
	}
	rivals := j.rivals(n, n.providerID, claims, func(other rival) bool { return len(j.machinesOf(other.node)) > 0 })
	return j.decide(n, n.providerID, name, rivals)
}

// machineVouches answers for the source Machine: the addresses and names that a Machine lists, and the
// Node's own name.
func (j *judgment) machineVouches(n *Node, name Name) (answer, []string) {
	return j.askMachines(n, func(m *machine) answer {
		switch {
		case contains(m.names, name) || name.DNS == n.Name:
			return vouches
		case len(m.names) == 0:
			return "MachineIncomplete"
		}
		return silent
	})
}

// machineExists answers for the source MachineExists. A Machine that lists any address lists all of them, and
// one that lists any name but the Node's own lists all names.
func (j *judgment) machineExists(n *Node, name Name) answer {
	result, _ := j.askMachines(n, func(*machine) answer { return vouches })
	lists, holds := false, name.DNS == n.Name
	for _, m := range j.machinesOf(n) {
		for _, listed := range m.names {
			lists = lists || listed.IP.IsValid() == name.IP.IsValid() && (listed.IP.IsValid() || listed.DNS != n.Name)
			holds = holds || listed == name
		}
	}
	if result == vouches && lists && !holds {
		return silent
	}
	return result
}

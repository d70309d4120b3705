package main

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"sort"
	"time"
)

// rank is the order in which claims began. All claims of one list have the same rank.
type rank int

// noClaim is the rank of a name that a Node does not claim. It is later than every claim.
const noClaim rank = math.MaxInt

// Node is a Node with what it claims, and since when.
type Node struct {
	*NodeObject
	since      rank
	names      []Name
	counted    []Name // the first names.max of them
	claims     map[Name]rank
	networks   map[netip.Prefix]rank
	providerID rank
}

func (n *Node) has(name Name) bool { return contains(n.names, name) }

// hasAddressesOf reports whether two states of a Node have the same usable addresses, in any order.
func (n *Node) hasAddressesOf(former *Node) bool {
	list := func(n *Node) []string {
		var texts []string
		for _, address := range n.Addresses {
			if name, ok := usableAddress(address); ok {
				texts = append(texts, fmt.Sprint(address.Type, " ", name))
			}
		}
		slices.Sort(texts)
		return texts
	}
	return slices.Equal(list(n), list(former))
}

// gone reports whether the Node is lost or being deleted. It keeps its claims.
func (n *Node) gone() bool { return n.Lost || n.Terminating }

// claim returns the rank of the Node's claim on a name.
func (n *Node) claim(name Name) rank {
	if since, ok := n.claims[name]; ok {
		return since
	}
	return noClaim
}

// ipAddresses returns the Node's IP addresses in its own order.
func (n *Node) ipAddresses() []netip.Addr {
	var list []netip.Addr
	for _, name := range n.names {
		if name.IP.IsValid() {
			list = append(list, name.IP)
		}
	}
	return list
}

// origin is what one origin protects.
type origin struct {
	*Protection
	names    map[Name]bool
	networks []netip.Prefix
}

func (o *origin) holds(name Name) bool {
	return o.names[name] || name.IP.IsValid() && inAny(name.IP, o.networks)
}

// evidence is what the events of a scene say.
type evidence struct {
	now        time.Time
	nodes      map[string]*Node
	sorted     []*Node
	sources    map[string]*SourceState
	protected  []*origin // in force
	recent     []*origin // removed less than retention ago
	keys       []*ApprovedKey
	inventory  *Inventory
	machines   []*machine
	namespaces map[string]bool
	// certificates has the newest certificate of each node that was seen anywhere.
	certificates map[string]*seenCertificate
	answers      map[question]*LookupAnswer
}

// seenCertificate is the newest certificate of a node that was issued under this watch, or that a kubelet has shown.
type seenCertificate struct {
	issued time.Time
	names  []Name
	// doubtful has the names that only one of several certificates of the same time has.
	doubtful []Name
	watched  bool
}

func (c *seenCertificate) proves(name Name) bool { return contains(c.names, name) }

// mayHave reports whether a certificate may be the newest one with a name, which counts against others.
func (c *seenCertificate) mayHave(name Name) bool {
	return c.proves(name) || contains(c.doubtful, name)
}

// see records a certificate. Of two with the same time it is not known which one is newer: only what both have
// proves anything, and what one of them has counts against others.
func (e *evidence) see(c *Certificate, watched bool) {
	seen := &seenCertificate{issued: c.Issued, names: parseNames(c.SANs), watched: watched}
	former := e.certificates[c.Node]
	switch {
	case former == nil || c.Issued.After(former.issued):
		e.certificates[c.Node] = seen
	case c.Issued.Equal(former.issued):
		for _, name := range slices.Concat(former.names, seen.names) {
			if !former.proves(name) || !seen.proves(name) {
				former.doubtful = append(former.doubtful, name)
			}
		}
		former.names = slices.DeleteFunc(former.names, func(name Name) bool { return !seen.proves(name) })
		former.watched = former.watched || watched
	}
}

// question is what DNS or a kubelet is asked.
type question struct {
	kind string
	name Name
}

// retention is the time for which what was protected stays so (row 44).
const retention = time.Hour

// machine is a Machine with the names and addresses that it lists.
type machine struct {
	*Machine
	names []Name
}

func newEvidence(scene *Scene, policy *Policy) (*evidence, error) {
	e := &evidence{
		now:          scene.MonotonicNow,
		nodes:        map[string]*Node{},
		sources:      map[string]*SourceState{},
		namespaces:   map[string]bool{},
		answers:      map[question]*LookupAnswer{},
		certificates: map[string]*seenCertificate{},
	}
	at, listing := rank(0), true
	for i := range scene.Events {
		event := &scene.Events[i]
		switch {
		case event.ListedNode != nil:
			if !listing {
				at, listing = at+1, true
			}
			if err := e.applyNode(event.ListedNode, at, policy); err != nil {
				return nil, err
			}
			continue
		case event.WatchedNode != nil:
			at++
			if err := e.applyNode(event.WatchedNode, at, policy); err != nil {
				return nil, err
			}
		default:
			if err := e.apply(event); err != nil {
				return nil, err
			}
			continue
		}
		listing = false
	}
	for _, node := range e.nodes {
		e.sorted = append(e.sorted, node)
	}
	sort.Slice(e.sorted, func(i, j int) bool { return e.sorted[i].Name < e.sorted[j].Name })
	return e, nil
}

func (e *evidence) apply(event *Event) error {
	switch {
	case event.Source != nil:
		e.sources[event.Source.Name] = event.Source
	case event.Protected != nil:
		return e.protect(event.Protected)
	case event.ApprovedKey != nil:
		e.keys = append(e.keys, event.ApprovedKey)
	case event.Inventory != nil:
		e.inventory = event.Inventory
	case event.Machine != nil:
		e.machines = append(e.machines, &machine{event.Machine, machineNamesOf(event.Machine)})
	case event.Namespace != nil:
		e.namespaces[*event.Namespace] = true
	case event.Issued != nil:
		e.see(event.Issued, true)
	case event.Answer != nil:
		if event.Answer.Certificate != nil {
			e.see(event.Answer.Certificate, false)
		}
		asked := event.Answer.Question
		switch {
		case asked.AddressesOf != nil:
			e.answers[question{"addresses", Name{DNS: canonicalDNS(*asked.AddressesOf)}}] = event.Answer
		case asked.NamesOf != nil:
			e.answers[question{"names", parseName(*asked.NamesOf)}] = event.Answer
		case asked.CertificateAt != nil:
			e.answers[question{"certificate", parseName(*asked.CertificateAt)}] = event.Answer
		}
	default:
		return fmt.Errorf("event of an unknown kind")
	}
	return nil
}

// applyNode begins and ends claims. They belong to the UID, so a re-created Node begins all of its own.
func (e *evidence) applyNode(object *NodeObject, at rank, policy *Policy) error {
	former := e.nodes[object.Name]
	if former == nil || former.UID != object.UID {
		former = &Node{since: at}
	}
	copied := *object
	node := &Node{NodeObject: &copied, since: former.since, claims: map[Name]rank{}, networks: map[netip.Prefix]rank{}, providerID: at}
	begin := func(name Name) {
		if since, ok := former.claims[name]; ok {
			node.claims[name] = since
		} else {
			node.claims[name] = at
		}
	}
	for _, address := range object.Addresses {
		if name, ok := usableAddress(address); ok && !node.has(name) {
			node.names = append(node.names, name)
			if len(node.counted) < policy.Names.Max {
				node.counted = append(node.counted, name)
				if name.DNS != object.Name {
					begin(name) // the own name is bound to the credential
				}
			}
		}
	}
	if former.NodeObject != nil {
		node.FirstSeen = former.FirstSeen
		if node.hasAddressesOf(former) {
			node.AddressesSince = former.AddressesSince
		}
	}
	if ip, ok := parseIP(object.Name); ok {
		node.claims[Name{IP: ip}] = node.since
	}
	for _, text := range object.PodCIDRs {
		network, err := netip.ParsePrefix(text)
		if err != nil {
			return err
		}
		if network.Addr().Is4() && network.Bits() < 16 || network.Addr().Is6() && network.Bits() < 48 {
			continue // no Node's pods could fill it
		}
		node.networks[network] = at
		if since, ok := former.networks[network]; ok {
			node.networks[network] = since
		}
	}
	if former.NodeObject != nil && former.ProviderID != nil && object.ProviderID != nil && *former.ProviderID == *object.ProviderID {
		node.providerID = former.providerID
	}
	e.nodes[object.Name] = node
	return nil
}

func (e *evidence) protect(p *Protection) error {
	o := &origin{Protection: p, names: map[Name]bool{}}
	for _, name := range parseNames(p.SANs) {
		o.names[name] = true
	}
	for _, text := range p.Networks {
		network, err := netip.ParsePrefix(text)
		if err != nil {
			return err
		}
		o.networks = append(o.networks, network)
	}
	e.replaceOrigin(o)
	switch {
	case p.RemovedAt == nil:
		e.protected = append(e.protected, o)
	case e.now.Sub(*p.RemovedAt) < retention:
		e.recent = append(e.recent, o)
	}
	return nil
}

// replaceOrigin removes what the same origin protected before. What it no longer has was removed now.
func (e *evidence) replaceOrigin(o *origin) {
	i := slices.IndexFunc(e.protected, func(former *origin) bool { return former.Origin == o.Origin })
	if i < 0 {
		return
	}
	former := e.protected[i]
	e.protected = slices.Delete(e.protected, i, i+1)
	removed := *former.Protection
	removed.RemovedAt = &e.now
	rest := &origin{Protection: &removed, names: map[Name]bool{}}
	for name := range former.names {
		if !o.names[name] {
			rest.names[name] = true
		}
	}
	for _, network := range former.networks {
		if !slices.Contains(o.networks, network) {
			rest.networks = append(rest.networks, network)
		}
	}
	e.recent = append(e.recent, rest)
}

// protectedAs reports whether an origin of a kind holds a name now.
func (e *evidence) protectedAs(kind string, name Name) bool {
	for _, o := range e.protected {
		if o.Kind == kind && o.holds(name) {
			return true
		}
	}
	return false
}

// answer returns an answer that has not expired.
func (e *evidence) answer(kind string, name Name) *LookupAnswer {
	answer := e.answers[question{kind, name}]
	if answer == nil || !answer.Expires.After(e.now) {
		return nil
	}
	return answer
}

// sourceLimits are the times for which a source may fail before what it said is too old (row 64).
var sourceLimits = map[string]time.Duration{
	"nodes":                      time.Minute,
	"certificatesigningrequests": time.Minute,
	"namespaces":                 5 * time.Minute,
	"machines":                   time.Minute,
	"kubernetes-service":         5 * time.Minute,
	"apiserver-endpoints":        5 * time.Minute,
	"servicecidrs":               5 * time.Minute,
	"cluster-info":               5 * time.Minute,
	"apiserver-certificates":     time.Hour,
	"inventory":                  time.Hour,
}

// ready reports whether all sources that the judgment needs are complete and recent.
func (e *evidence) ready(policy *Policy) bool {
	for name, limit := range sourceLimits {
		if name == "machines" && !e.watchesMachines(policy) || name == "inventory" && e.inventory == nil {
			continue
		}
		state := e.sources[name]
		if state == nil || !state.Synced || state.FailingSince != nil && e.now.Sub(*state.FailingSince) > limit {
			return false
		}
	}
	return true
}

func (e *evidence) watchesMachines(policy *Policy) bool {
	return len(policy.Sources.Machines) > 0 || len(e.machines) > 0
}

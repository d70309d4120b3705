package main

import "slices"

// protection returns the codes of what keeps a name from a Node because it is protected: rows 42 to 44. An
// address of Services has a code of its own.
func (j *judgment) protection(n *Node, name Name) []string {
	if j.policy.allows(n.Name, n.ControlPlane, name) {
		return nil
	}
	var codes []string
	protected := &j.policy.Protected
	if name.DNS != "" && isUnderAny(name.DNS, protected.Names) || name.IP.IsValid() && inAny(name.IP, protected.Networks) {
		codes = append(codes, "SanProtected")
	}
	code := ""
	switch {
	case j.evidence.protectedAs("Service", name):
	case j.evidence.protectedAs("ApiServerEndpoint", name):
		code = j.endpointProtection(n, name)
	case j.evidence.protectedAs("ApiServerIdentity", name):
		code = j.identityProtection(n, name)
	default:
		code = j.recentProtection(n, name)
	}
	if code != "" {
		codes = append(codes, code)
	}
	return codes
}

// endpointProtection applies rows 42 and 43 to the address of an API server.
func (j *judgment) endpointProtection(n *Node, name Name) string {
	switch {
	case !n.ControlPlane && j.ownedByControlPlane(n, name):
		return "SanApiServerEndpoint"
	case !n.ControlPlane:
		return "SanApiServerEndpointUnowned"
	case j.isOtherNodesAPIServer(n, name):
		return "SanApiServerIdentityNotAllowed"
	}
	return ""
}

// ownedByControlPlane reports whether a control-plane node has a name that another Node did not claim before.
func (j *judgment) ownedByControlPlane(n *Node, name Name) bool {
	for _, owner := range j.evidence.sorted {
		if owner.ControlPlane && !owner.gone() && owner.claim(name) != noClaim && owner.claim(name) <= n.claim(name) {
			return true
		}
	}
	return false
}

// isOtherNodesAPIServer reports whether an endpoint is another machine's: its certificate does not have the Node's
// name, and has that of another Node, or the certificate of another endpoint has the Node's. What was served
// there within the hour counts, if nothing is served there now.
func (j *judgment) isOtherNodesAPIServer(n *Node, endpoint Name) bool {
	own := Name{DNS: n.Name}
	elsewhere := false
	var current, recent []*origin
	for _, o := range slices.Concat(j.evidence.protected, j.evidence.recent) {
		if o.Certificate == nil || o.Certificate.Host == nil {
			continue
		}
		host := parseName(*o.Certificate.Host)
		switch {
		case host != endpoint:
			elsewhere = elsewhere || o.names[own] && j.isOrWasEndpoint(host)
		case o.RemovedAt == nil:
			current = append(current, o)
		default:
			recent = append(recent, o)
		}
	}
	if len(current) == 0 {
		current = recent
	}
	served, another := false, false
	for _, o := range current {
		if o.names[own] {
			return false
		}
		served = served || len(o.names) > 0
		another = another || j.namesAnother(n, o)
	}
	return served && (elsewhere || another)
}

func (j *judgment) isOrWasEndpoint(name Name) bool {
	for _, o := range slices.Concat(j.evidence.protected, j.evidence.recent) {
		if o.Kind == "ApiServerEndpoint" && o.names[name] {
			return true
		}
	}
	return false
}

// identityProtection applies row 44, and H3, to any other identity of the API server.
func (j *judgment) identityProtection(n *Node, name Name) string {
	if n.ControlPlane {
		if j.isOwnIdentity(n, name) {
			return ""
		}
		return "SanApiServerIdentityNotAllowed"
	}
	if j.isToldToClients(name) || j.isOwnedIdentity(n, name) {
		return "SanApiServerIdentity"
	}
	return "SanApiServerIdentityUnowned"
}

// isOwnIdentity reports whether an identity is the own name of a control-plane node, or its machine's alone.
func (j *judgment) isOwnIdentity(n *Node, name Name) bool {
	return n.ControlPlane && (name == (Name{DNS: n.Name}) || j.isHeldAtOwnEndpoints(n, name))
}

// isOwnedIdentity reports whether an identity is that of a control-plane node which another Node did not precede.
func (j *judgment) isOwnedIdentity(n *Node, name Name) bool {
	for _, owner := range j.evidence.sorted {
		claim := owner.claim(name)
		if claim != noClaim && claim <= n.claim(name) && !owner.gone() && j.isOwnIdentity(owner, name) {
			return true
		}
	}
	return false
}

// isToldToClients reports whether clients are told to connect to a name: pods by the Service, others by
// cluster-info, csr-warden by its kubeconfig.
func (j *judgment) isToldToClients(name Name) bool {
	return name.DNS != "" && j.isOfTheCluster(name.DNS) || j.isConnectedTo(name)
}

func (j *judgment) isConnectedTo(name Name) bool {
	for _, o := range j.evidence.protected {
		if !o.holds(name) {
			continue
		}
		if o.Certificate == nil || o.Certificate.Host != nil && parseName(*o.Certificate.Host) == name {
			return true
		}
	}
	return false
}

// isHeldAtOwnEndpoints reports whether each certificate that holds a name, or held it within the hour, is one that
// is served at endpoints of the Node. It must be known which certificate each endpoint serves.
func (j *judgment) isHeldAtOwnEndpoints(n *Node, name Name) bool {
	if j.isConnectedTo(name) || !j.areCertificatesKnown() {
		return false
	}
	own, elsewhere := map[string]bool{}, map[string]bool{}
	for _, o := range j.evidence.protected {
		if !o.holds(name) {
			continue
		}
		endpoints := j.servedAt(o)
		for _, endpoint := range endpoints {
			if j.namesAnother(n, o) || !j.ownsEndpoint(n, endpoint) {
				return false
			}
			own[o.Certificate.Same] = true
		}
		if len(endpoints) == 0 {
			elsewhere[o.Certificate.Same] = true
		}
	}
	for _, o := range j.evidence.recent {
		if !o.holds(name) || o.Kind == "ApiServerEndpoint" {
			continue
		}
		if o.Certificate == nil || !own[o.Certificate.Same] &&
			(o.Certificate.Host == nil || !j.ownsEndpoint(n, parseName(*o.Certificate.Host))) {
			return false
		}
	}
	for same := range elsewhere {
		if !own[same] {
			return false
		}
	}
	return len(own) > 0
}

// namesAnother reports whether a certificate has the name of another Node, and not the Node's.
func (j *judgment) namesAnother(n *Node, o *origin) bool {
	for name := range o.names {
		if j.evidence.nodes[name.DNS] != nil {
			return !o.names[Name{DNS: n.Name}]
		}
	}
	return false
}

func (j *judgment) areCertificatesKnown() bool {
	read := map[Name]bool{}
	for _, o := range j.evidence.protected {
		if o.Certificate != nil {
			for _, endpoint := range j.servedAt(o) {
				read[endpoint] = true
			}
		}
	}
	for _, o := range j.evidence.protected {
		for endpoint := range o.names {
			if o.Kind == "ApiServerEndpoint" && !read[endpoint] {
				return false
			}
		}
	}
	return true
}

// servedAt returns the endpoint at which a certificate was read, if it is one. One from a file is served at each
// endpoint that it names.
func (j *judgment) servedAt(o *origin) []Name {
	var endpoints []Name
	if o.Certificate.Host != nil {
		if host := parseName(*o.Certificate.Host); j.evidence.protectedAs("ApiServerEndpoint", host) {
			endpoints = append(endpoints, host)
		}
		return endpoints
	}
	for name := range o.names {
		if j.evidence.protectedAs("ApiServerEndpoint", name) {
			endpoints = append(endpoints, name)
		}
	}
	return endpoints
}

// ownsEndpoint reports whether a Node claims an endpoint that is no other machine's, and no other Node that may have
// it came before or in the same list. If the request has it, its own claims decide later.
func (j *judgment) ownsEndpoint(n *Node, endpoint Name) bool {
	own := n.claim(endpoint)
	if own == noClaim || j.isOtherNodesAPIServer(n, endpoint) {
		return false
	}
	if n == j.node && contains(j.sans, endpoint) {
		return true
	}
	for _, other := range j.evidence.sorted {
		if other != n && other.claim(endpoint) != noClaim && other.claim(endpoint) <= own &&
			(other.ControlPlane || j.policy.allows(other.Name, other.ControlPlane, endpoint)) {
			return false
		}
	}
	return true
}

// recentProtection applies row 44 to what was protected until recently. The control-plane node of an API
// server that restarts keeps its address and its name.
func (j *judgment) recentProtection(n *Node, name Name) string {
	kinds := map[string]bool{}
	for _, o := range j.evidence.recent {
		if o.holds(name) {
			kinds[o.Kind] = true
		}
	}
	own := n.ControlPlane && name == (Name{DNS: n.Name})
	if kinds["ApiServerEndpoint"] {
		own = n.ControlPlane && !j.isOtherNodesAPIServer(n, name)
	}
	if len(kinds) == 0 || own && !kinds["Service"] {
		return ""
	}
	return "SanRecentlyProtected"
}

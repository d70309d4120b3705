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
	case n.has(name) && j.isOtherNodesAPIServer(n, name):
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

// isOtherNodesAPIServer reports whether API servers' certificates have the Node's name, and the one that is
// served at an endpoint does not. A certificate that was removed recently counts too.
func (j *judgment) isOtherNodesAPIServer(n *Node, endpoint Name) bool {
	own := Name{DNS: n.Name}
	named, served := false, false
	for _, o := range slices.Concat(j.evidence.protected, j.evidence.recent) {
		if o.Certificate == nil {
			continue
		}
		if o.Certificate.Host != nil && parseName(*o.Certificate.Host) == endpoint {
			if o.holds(own) {
				return false
			}
			served = true
		}
		named = named || o.holds(own)
	}
	return named && served
}

// identityProtection applies row 44, and H3, to any other identity of the API server.
func (j *judgment) identityProtection(n *Node, name Name) string {
	if n.ControlPlane {
		if name == (Name{DNS: n.Name}) || j.isHeldAtOwnEndpoint(n, name) {
			return ""
		}
		return "SanApiServerIdentityNotAllowed"
	}
	if j.isToldToClients(name) || j.ownedByControlPlane(n, name) {
		return "SanApiServerIdentity"
	}
	return "SanApiServerIdentityUnowned"
}

// isToldToClients reports whether clients are told to connect to a name: by cluster-info, or pods by the
// Service.
func (j *judgment) isToldToClients(name Name) bool {
	if isServiceOfAPIServer(name.DNS) {
		return true
	}
	for _, o := range j.evidence.protected {
		if o.Kind == "ApiServerIdentity" && o.Certificate == nil && o.holds(name) {
			return true
		}
	}
	return false
}

// isHeldAtOwnEndpoint reports whether only the certificate that is served at the Node's own endpoint holds a
// name. It must be known which certificate each endpoint serves.
func (j *judgment) isHeldAtOwnEndpoint(n *Node, name Name) bool {
	same := ""
	for _, o := range slices.Concat(j.evidence.protected, j.evidence.recent) {
		if o.Kind != "ApiServerIdentity" || !o.holds(name) {
			continue
		}
		if o.Certificate == nil || same != "" && o.Certificate.Same != same {
			return false
		}
		same = o.Certificate.Same
	}
	if same == "" {
		return false
	}
	read := map[Name]bool{}
	endpoints := map[Name]bool{}
	for _, o := range j.evidence.protected {
		if o.Certificate == nil {
			continue
		}
		for _, endpoint := range j.servedAt(o) {
			read[endpoint] = true
			if o.Certificate.Same == same && !j.evidence.protectedAs("Service", endpoint) {
				endpoints[endpoint] = true
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
	for endpoint := range endpoints {
		if !j.ownsEndpoint(n, endpoint) {
			return false
		}
	}
	return len(endpoints) > 0
}

// servedAt returns the host at which a certificate was read. One from a file is served at each endpoint that
// it names.
func (j *judgment) servedAt(o *origin) []Name {
	if o.Certificate.Host != nil {
		return []Name{parseName(*o.Certificate.Host)}
	}
	var endpoints []Name
	for name := range o.names {
		if j.evidence.protectedAs("ApiServerEndpoint", name) {
			endpoints = append(endpoints, name)
		}
	}
	return endpoints
}

// ownsEndpoint reports whether a control-plane node would be granted an endpoint. If the request has it, its
// own rivalry decides later.
func (j *judgment) ownsEndpoint(n *Node, endpoint Name) bool {
	return n.has(endpoint) && j.evidence.protectedAs("ApiServerEndpoint", endpoint) && len(j.protection(n, endpoint)) == 0 &&
		(n == j.node && contains(j.sans, endpoint) || !j.isContested(n, endpoint))
}

// recentProtection applies row 44 to what was protected until recently. The control-plane node of an API
// server that restarts keeps its address and its name.
func (j *judgment) recentProtection(n *Node, name Name) string {
	found, endpoint := false, false
	for _, o := range j.evidence.recent {
		if o.holds(name) {
			found, endpoint = true, endpoint || o.Kind == "ApiServerEndpoint"
		}
	}
	if !found || n.ControlPlane && (name == Name{DNS: n.Name} || endpoint && n.has(name) && !j.isOtherNodesAPIServer(n, name)) {
		return ""
	}
	return "SanRecentlyProtected"
}

package main

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// duration is a duration as a policy writes it, such as 15m.
type duration time.Duration

func (d *duration) UnmarshalJSON(data []byte) error {
	var text string
	if err := json.Unmarshal(data, &text); err != nil {
		return err
	}
	parsed, err := time.ParseDuration(text)
	*d = duration(parsed)
	return err
}

// Policy is the spec of a policy. A field that is missing has the value of the policy "default".
type Policy struct {
	Requestor struct {
		Others       string   `json:"others"`
		CredentialID string   `json:"credentialId"`
		UID          string   `json:"uid"`
		Groups       []string `json:"groups"`
	} `json:"requestor"`
	Request struct {
		MaxExpiration duration `json:"maxExpiration"`
		MaxAge        duration `json:"maxAge"`
	} `json:"request"`
	Names struct {
		Max         int            `json:"max"`
		DNSOnly     string         `json:"dnsOnly"`
		Incomplete  string         `json:"incomplete"`
		ServiceLike string         `json:"serviceLike"`
		DNSSuffixes []string       `json:"dnsSuffixes"`
		Networks    []netip.Prefix `json:"networks"`
		Shared      []string       `json:"shared"`
	} `json:"names"`
	Sources struct {
		Machines []json.RawMessage `json:"machines"`
		DNS      *struct {
			Suffixes []string `json:"suffixes"`
			Reverse  string   `json:"reverse"`
		} `json:"dns"`
		ServingCertificate *struct{} `json:"servingCertificate"`
	} `json:"sources"`
	Proof struct {
		AddressesStableFor duration    `json:"addressesStableFor"`
		IPAddresses        proofDemand `json:"ipAddresses"`
		NodeName           proofDemand `json:"nodeName"`
		DNSNames           proofDemand `json:"dnsNames"`
	} `json:"proof"`
	Protected struct {
		ClusterDomains       []string            `json:"clusterDomains"`
		Names                []string            `json:"names"`
		Networks             []netip.Prefix      `json:"networks"`
		EndpointCertificates string              `json:"endpointCertificates"`
		Allowed              []allowedIdentities `json:"allowed"`
	} `json:"protected"`
}

// proofDemand lists the independent sources that must vouch for a kind of name.
type proofDemand struct {
	AllOf []string `json:"allOf"`
	AnyOf []string `json:"anyOf"`
}

type allowedIdentities struct {
	Node  string   `json:"node"`
	Nodes string   `json:"nodes"`
	SANs  []string `json:"sans"`
	names []Name
}

func parsePolicy(raw json.RawMessage) (*Policy, error) {
	var p Policy
	p.Requestor.Others, p.Requestor.CredentialID, p.Requestor.UID = "Ignore", "Optional", "Allow"
	p.Request.MaxExpiration, p.Request.MaxAge = duration(8760*time.Hour), duration(15*time.Minute)
	p.Names.Max, p.Names.DNSOnly, p.Names.Incomplete, p.Names.ServiceLike = 64, "Wait", "Allow", "Wait"
	p.Protected.ClusterDomains, p.Protected.EndpointCertificates = []string{"cluster.local"}, "Required"
	file := struct {
		Spec *Policy `json:"spec"`
	}{&p}
	if err := json.Unmarshal(raw, &file); err != nil {
		return nil, fmt.Errorf("policy: %w", err)
	}
	for i := range p.Protected.Allowed {
		entry := &p.Protected.Allowed[i]
		entry.names = parseNames(entry.SANs)
	}
	return &p, nil
}

// demand returns the sources that must vouch for a name of a node.
func (p *Policy) demand(node string, name Name) proofDemand {
	switch {
	case name.IP.IsValid():
		return p.Proof.IPAddresses
	case name.DNS == node:
		return p.Proof.NodeName
	}
	return p.Proof.DNSNames
}

// allows reports whether protected.allowed gives a name to a node. A pattern and ControlPlane count
// only for Nodes with the label of the control plane.
func (p *Policy) allows(node string, controlPlane bool, name Name) bool {
	for _, entry := range p.Protected.Allowed {
		var matches bool
		switch {
		case entry.Nodes == "ControlPlane":
			matches = controlPlane
		case strings.Contains(entry.Node, "*"):
			matches = controlPlane && matchesPattern(entry.Node, node)
		default:
			matches = entry.Node == node
		}
		if matches && contains(entry.names, name) {
			return true
		}
	}
	return false
}

// shares reports whether names.shared has a name.
func (p *Policy) shares(name Name) bool {
	for _, shared := range p.Names.Shared {
		if network, err := netip.ParsePrefix(shared); err == nil {
			if name.IP.IsValid() && network.Contains(name.IP) {
				return true
			}
		} else if parseName(shared) == name {
			return true
		}
	}
	return false
}

// Inventory is the administrator's list of nodes.
type Inventory struct {
	Nodes []struct {
		Name      string   `json:"name"`
		Addresses []string `json:"addresses"`
		Names     []string `json:"names"`
	} `json:"nodes"`
	Patterns []struct {
		Nodes       string         `json:"nodes"`
		Networks    []netip.Prefix `json:"networks"`
		DNSSuffixes []string       `json:"dnsSuffixes"`
	} `json:"patterns"`
}

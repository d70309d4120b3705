package main

import (
	"encoding/json"
	"time"
)

// Scene is one request with the policy and everything that is known of the cluster. SCENES.md
// describes the fields.
type Scene struct {
	// Now is the API server's time. It decides the age of the request and nothing else.
	Now time.Time `json:"now"`
	// MonotonicNow is the time of the clock that no one sets. All other times are compared with it.
	MonotonicNow time.Time       `json:"monotonicNow"`
	Policy       json.RawMessage `json:"policy"`
	Request      RequestObject   `json:"request"`
	Events       []Event         `json:"events"`
}

// RequestObject is the CertificateSigningRequest.
type RequestObject struct {
	Name              string     `json:"name"`
	SignerName        string     `json:"signerName"`
	Username          string     `json:"username"`
	UID               string     `json:"uid"`
	Groups            []string   `json:"groups"`
	CredentialIDs     []string   `json:"credentialIDs"`
	Usages            []string   `json:"usages"`
	ExpirationSeconds *int64     `json:"expirationSeconds"`
	Created           time.Time  `json:"created"`
	FirstSeen         *FirstSeen `json:"firstSeen"`
	Terminating       bool       `json:"terminating"`
	Settled           *string    `json:"settled"`
	Request           []byte     `json:"request"`
}

// FirstSeen is the watch event or the list that showed an object first.
type FirstSeen struct {
	At              time.Time `json:"at"`
	ResourceVersion uint64    `json:"resourceVersion"`
	Listed          bool      `json:"listed"`
}

// Event is one fact. Exactly one field is set.
type Event struct {
	ListedNode  *NodeObject   `json:"listedNode"`
	WatchedNode *NodeObject   `json:"watchedNode"`
	Source      *SourceState  `json:"source"`
	Protected   *Protection   `json:"protected"`
	ApprovedKey *ApprovedKey  `json:"approvedKey"`
	Inventory   *Inventory    `json:"inventory"`
	Machine     *Machine      `json:"machine"`
	Namespace   *string       `json:"namespace"`
	Issued      *Certificate  `json:"issued"`
	Answer      *LookupAnswer `json:"answer"`
}

// NodeObject is a Node.
type NodeObject struct {
	Name           string        `json:"name"`
	UID            string        `json:"uid"`
	Created        time.Time     `json:"created"`
	FirstSeen      *FirstSeen    `json:"firstSeen"`
	AddressesSince time.Time     `json:"addressesSince"`
	Addresses      []NodeAddress `json:"addresses"`
	PodCIDRs       []string      `json:"podCIDRs"`
	ProviderID     *string       `json:"providerID"`
	Terminating    bool          `json:"terminating"`
	Lost           bool          `json:"lost"`
	ControlPlane   bool          `json:"controlPlane"`
	Uninitialized  bool          `json:"uninitialized"`
}

// NodeAddress is an entry of status.addresses.
type NodeAddress struct {
	Type    string `json:"type"`
	Address string `json:"address"`
}

// SourceState is the state of a watch or of another source.
type SourceState struct {
	Name         string     `json:"name"`
	Synced       bool       `json:"synced"`
	FailingSince *time.Time `json:"failingSince"`
}

// Protection is what one origin protects: names, addresses and networks.
type Protection struct {
	Origin      string             `json:"origin"`
	Kind        string             `json:"kind"`
	SANs        []string           `json:"sans"`
	Networks    []string           `json:"networks"`
	RemovedAt   *time.Time         `json:"removedAt"`
	Certificate *ServedCertificate `json:"certificate"`
}

// ServedCertificate is the certificate of an API server. Host is nil if it was read from a file.
type ServedCertificate struct {
	Host *string `json:"host"`
	Same string  `json:"same"`
}

// ApprovedKey is a key that is in use by a node.
type ApprovedKey struct {
	Node       string `json:"node"`
	SPKISHA256 string `json:"spkiSHA256"`
}

// Machine is an object from which a Node was made.
type Machine struct {
	Kind                    string    `json:"kind"`
	Name                    string    `json:"name"`
	RefersByProviderID      bool      `json:"refersByProviderID"`
	Node                    *string   `json:"node"`
	ProviderID              *string   `json:"providerID"`
	PolicyHasProviderIDPath bool      `json:"policyHasProviderIDPath"`
	Addresses               []string  `json:"addresses"`
	Created                 time.Time `json:"created"`
	Terminating             bool      `json:"terminating"`
}

// Certificate is a serving certificate that the cluster's CA has signed.
type Certificate struct {
	Node   string    `json:"node"`
	Issued time.Time `json:"issued"`
	SANs   []string  `json:"sans"`
}

// LookupAnswer is the answer of DNS or of a kubelet.
type LookupAnswer struct {
	Question struct {
		AddressesOf   *string `json:"addressesOf"`
		NamesOf       *string `json:"namesOf"`
		CertificateAt *string `json:"certificateAt"`
	} `json:"question"`
	SANs        []string     `json:"sans"`
	Empty       *string      `json:"empty"`
	Certificate *Certificate `json:"certificate"`
	Failed      *string      `json:"failed"`
	Expires     time.Time    `json:"expires"`
}

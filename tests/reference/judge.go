package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
)

// Verdict is the decision on a request, with the code of each finding.
type Verdict struct {
	Verdict string   `json:"verdict"`
	Codes   []string `json:"codes"`
}

// judgment is the state of one judgment.
type judgment struct {
	scene    *Scene
	request  *RequestObject
	policy   *Policy
	evidence *evidence
	// nodeName is the requestor's Node by its user name, and node the Node itself, if it exists.
	nodeName string
	node     *Node
	sans     []Name // the well-formed names of the request, each once
	findings map[string]bool
}

func (j *judgment) add(code string) {
	if codes[code].effect == "" {
		panic("unknown code " + code)
	}
	j.findings[code] = true
}

// Judge decides a scene.
func Judge(scene *Scene) (Verdict, error) {
	policy, err := parsePolicy(scene.Policy)
	if err != nil {
		return Verdict{}, err
	}
	evidence, err := newEvidence(scene, policy)
	if err != nil {
		return Verdict{}, err
	}
	j := &judgment{scene: scene, request: &scene.Request, policy: policy, evidence: evidence, findings: map[string]bool{}}
	content := j.run()
	verdict := j.verdict()
	if verdict.Verdict == "Approve" {
		if err := signerAccepts(j.request, content); err != nil {
			return Verdict{}, fmt.Errorf("approved, but the signer disagrees: %w", err)
		}
	}
	return verdict, nil
}

// run applies all rules, in the order of the rows. It stops at a request that is not csr-warden's.
func (j *judgment) run() *certificationRequest {
	j.checkObject()
	if j.verdict().Verdict == "Ignore" {
		return nil
	}
	if len(j.request.Request) > maxRequestBytes {
		j.add("RequestTooLarge")
		return j.runWithEvidence(nil)
	}
	content := readRequest(j.request.Request, j.add)
	if content != nil {
		j.checkContent(content)
		j.checkNames(content)
	}
	return j.runWithEvidence(content)
}

// runWithEvidence applies the rules that need to know the cluster, if all sources are ready.
func (j *judgment) runWithEvidence(content *certificationRequest) *certificationRequest {
	if !j.evidence.ready(j.policy) {
		j.add("SourceUnready")
		return content
	}
	j.node = j.evidence.nodes[j.nodeName]
	if content != nil {
		j.checkKeyOwner(content)
		j.checkNamesByEvidence()
	}
	if j.nodeName == "" {
		return content
	}
	j.checkState()
	if j.node != nil {
		j.checkSources()
		if len(j.findings) == 0 {
			j.checkClaims()
		}
	}
	return content
}

func (j *judgment) verdict() Verdict {
	found := []string{}
	verdict := "Approve"
	for name := range j.findings {
		found = append(found, name)
		effect := codes[name].effect
		if name == "RequestorNotNode" {
			effect = j.policy.Requestor.Others
		}
		if severity[effect] > severity[verdict] {
			verdict = effect
		}
	}
	slices.Sort(found)
	return Verdict{verdict, found}
}

// checkContent applies rows 21 to 33 to the content of the request.
func (j *judgment) checkContent(content *certificationRequest) {
	checkKey(content, j.add)
	var commonNames, organizations []attributeValue
	for _, rdn := range content.rdns {
		if len(rdn) != 1 {
			j.add("RdnMultiValued")
		}
		for _, value := range rdn {
			switch value.oid {
			case oidCommonName:
				commonNames = append(commonNames, value)
			case oidOrganization:
				organizations = append(organizations, value)
			default:
				j.add("SubjectAttributeExtra")
			}
		}
	}
	expected := attributeValue{oidCommonName, tagPrintableString, j.request.Username}
	j.count("CommonName", len(commonNames))
	if len(commonNames) != 1 || commonNames[0] != expected {
		j.add("CommonNameMismatch")
	}
	j.count("Organization", len(organizations))
	for _, organization := range organizations {
		if organization != (attributeValue{oidOrganization, tagPrintableString, "system:nodes"}) {
			j.add("OrganizationWrong")
		}
	}
	j.count("ExtensionRequest", content.extensionRequests)
	if content.otherAttributes > 0 {
		j.add("AttributeExtra")
	}
	if content.otherExtensions > 0 {
		j.add("ExtensionExtra")
	}
	if content.sanExtensions > 1 {
		j.add("SanRepeated")
	}
}

// count records what must be there exactly once and is not.
func (j *judgment) count(what string, count int) {
	switch {
	case count == 0:
		j.add(what + "Missing")
	case count > 1:
		j.add(what + "Repeated")
	}
}

// checkKeyOwner denies a key that was approved for another node first (row 24).
func (j *judgment) checkKeyOwner(content *certificationRequest) {
	sum := sha256.Sum256(content.key.raw)
	fingerprint := hex.EncodeToString(sum[:])
	for _, key := range j.evidence.keys {
		if strings.EqualFold(key.SPKISHA256, fingerprint) {
			if key.Node != j.nodeName {
				j.add("KeyOfAnotherNode")
			}
			return
		}
	}
}

package main

import (
	"strconv"
	"strings"
)

// code is a row of docs/verdicts.md and the effect of a finding.
type code struct {
	row    int
	effect string
}

// codes are all codes, by row and effect. A policy can change the effect of RequestorNotNode.
var codes = parseCodes(`
1 Ignore SignerOther
2 Ignore RequestSettled RequestTerminating
4 Ignore RequestorNotNode
5 Deny GroupNodesMissing
6 Deny GroupAuthenticatedMissing
7 Deny GroupsExtra
8 Deny CredentialIdMissing
9 Deny NodeNameInvalid
10 Deny RequestorUidSet
11 Deny UsageExtra
12 Deny UsageMissing
14 Deny ExpirationTooLong
15 Ignore RequestStale
17 Deny RequestTooLarge
18 Deny PemMissing PemLabelWrong
19 Deny PemNotExact
20 Deny DerMalformed
21 Deny SignatureInvalid SignatureAlgorithmRefused
22 Deny KeyRefused
24 Deny KeyOfAnotherNode
25 Deny CommonNameRepeated RdnMultiValued
26 Deny SubjectAttributeExtra
27 Deny OrganizationMissing OrganizationRepeated OrganizationWrong
28 Deny CommonNameMissing CommonNameMismatch
30 Deny ExtensionRequestMissing ExtensionRequestRepeated
31 Deny AttributeExtra
32 Deny ExtensionExtra
33 Deny SanRepeated SanMalformed
34 Deny SanMissing
35 Deny SanKindRefused
36 Wait SanWithoutIp
37 Wait SanIncomplete
38 Wait SanNotOfNode
39 Wait SanUncorroborated
40 Deny SanContradicted
41 Deny SanServiceAddress
42 Deny SanApiServerEndpoint
42 Wait SanApiServerEndpointUnowned
44 Deny SanApiServerIdentity SanProtected
44 Wait SanApiServerIdentityUnowned SanApiServerIdentityNotAllowed SanRecentlyProtected SanOutsidePolicy
45 Deny SanReservedAddress
46 Wait SanPodAddress
47 Deny SanOfOlderMachine
47 Wait SanContested
48 Deny SanIpMalformed
49 Deny SanClusterName
50 Deny SanWildcard
51 Deny SanDnsMalformed
53 Deny SanOfAnotherNode
54 Deny SanDuplicate SanTooMany
57 Wait NodeMissing
58 Ignore NodeTerminating
59 Wait NodeYounger
60 Wait NodeAddressesMissing NodeUninitialized
61 Wait NodeAddressesUnstable
62 Wait MachineMissing MachineIncomplete MachineReplaced
63 Deny MachineRepeated MachineProviderIdMismatch
63 Wait ProviderIdContested
64 Wait SourceUnready
68 Deny RequestNameInvalid
71 Wait SanLooksLikeService
72 Wait SanLikeAnotherNode
73 Deny SanLocalName
`)

func parseCodes(table string) map[string]code {
	parsed := map[string]code{}
	for _, line := range strings.Split(strings.TrimSpace(table), "\n") {
		fields := strings.Fields(line)
		row, _ := strconv.Atoi(fields[0])
		for _, name := range fields[2:] {
			parsed[name] = code{row, fields[1]}
		}
	}
	return parsed
}

// severity orders the effects. The most severe one of all findings decides.
var severity = map[string]int{"Approve": 0, "Wait": 1, "Deny": 2, "Ignore": 3}

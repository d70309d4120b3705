package main

import (
	"fmt"
	"io"
	"slices"
	"sort"
	"strings"
)

// comparison counts decisions, and prints those that differ from the other judge's.
type comparison struct {
	out         io.Writer
	scenes      int
	differences int
	verdicts    map[string]int
	codes       map[string]int
	pairs       map[string]int
}

func newComparison(out io.Writer) *comparison {
	return &comparison{out: out, verdicts: map[string]int{}, codes: map[string]int{}, pairs: map[string]int{}}
}

func (c *comparison) add(d decided) {
	c.scenes++
	other := slices.Clone(d.input.Codes)
	slices.Sort(other)
	if d.output.Error != "" {
		c.differences++
		fmt.Fprintf(c.out, "%s: %s\n  error: %s\n  other: %s %s\n", d.input.ID, d.input.Title, d.output.Error, d.input.Verdict, strings.Join(other, " "))
		return
	}
	own := d.output.Verdict
	c.verdicts[own.Verdict]++
	for i, code := range own.Codes {
		c.codes[withRow(code)]++
		for _, second := range own.Codes[i+1:] {
			c.pairs[pairOfRows(code, second)]++
		}
	}
	if own.Verdict != d.input.Verdict || !slices.Equal(own.Codes, other) {
		c.differences++
		fmt.Fprintf(c.out, "%s: %s\n  reference: %s %s\n  other:     %s %s\n", d.input.ID, d.input.Title,
			own.Verdict, strings.Join(own.Codes, " "), d.input.Verdict, strings.Join(other, " "))
	}
}

// report prints the counts, and reports whether there was no difference.
func (c *comparison) report() bool {
	fmt.Fprintf(c.out, "\n%-60s %d\n", "scenes", c.scenes)
	c.table("verdict", c.verdicts)
	c.table("row and code", c.codes)
	c.table("pair of rows", c.pairs)
	fmt.Fprintf(c.out, "\n%-60s %d\n", "differences", c.differences)
	return c.differences == 0
}

func (c *comparison) table(title string, counts map[string]int) {
	fmt.Fprintf(c.out, "\n%s\n", title)
	keys := make([]string, 0, len(counts))
	for key := range counts {
		keys = append(keys, key)
	}
	sort.Strings(keys)
	for _, key := range keys {
		fmt.Fprintf(c.out, "  %-58s %d\n", key, counts[key])
	}
}

func withRow(code string) string { return fmt.Sprintf("%2d %s", rows[code], code) }

func pairOfRows(a, b string) string {
	first, second := rows[a], rows[b]
	return fmt.Sprintf("%2d and %2d", min(first, second), max(first, second))
}

// rows are the rows of docs/verdicts.md, by their codes.
var rows = map[string]int{
	"SignerOther":                    1,
	"RequestSettled":                 2,
	"RequestTerminating":             2,
	"RequestorNotNode":               4,
	"GroupNodesMissing":              5,
	"GroupAuthenticatedMissing":      6,
	"GroupsExtra":                    7,
	"CredentialIdMissing":            8,
	"NodeNameInvalid":                9,
	"RequestorUidSet":                10,
	"UsageExtra":                     11,
	"UsageMissing":                   12,
	"ExpirationTooLong":              14,
	"RequestStale":                   15,
	"RequestTooLarge":                17,
	"PemMissing":                     18,
	"PemLabelWrong":                  18,
	"PemNotExact":                    19,
	"DerMalformed":                   20,
	"DerTrailingBytes":               20,
	"DerNotCanonical":                20,
	"ReadersDisagree":                20,
	"SignatureInvalid":               21,
	"SignatureAlgorithmRefused":      21,
	"KeyRefused":                     22,
	"KeyOfAnotherNode":               24,
	"CommonNameRepeated":             25,
	"RdnMultiValued":                 25,
	"SubjectAttributeExtra":          26,
	"OrganizationMissing":            27,
	"OrganizationRepeated":           27,
	"OrganizationWrong":              27,
	"CommonNameMissing":              28,
	"CommonNameMismatch":             28,
	"ExtensionRequestMissing":        30,
	"ExtensionRequestRepeated":       30,
	"AttributeExtra":                 31,
	"ExtensionExtra":                 32,
	"SanRepeated":                    33,
	"SanMalformed":                   33,
	"SanMissing":                     34,
	"SanKindRefused":                 35,
	"SanWithoutIp":                   36,
	"SanIncomplete":                  37,
	"SanNotOfNode":                   38,
	"SanUncorroborated":              39,
	"SanContradicted":                40,
	"SanServiceAddress":              41,
	"SanApiServerEndpoint":           42,
	"SanApiServerEndpointUnowned":    42,
	"SanApiServerIdentity":           44,
	"SanApiServerIdentityUnowned":    44,
	"SanApiServerIdentityNotAllowed": 44,
	"SanRecentlyProtected":           44,
	"SanProtected":                   44,
	"SanOutsidePolicy":               44,
	"SanReservedAddress":             45,
	"SanPodAddress":                  46,
	"SanOfOlderMachine":              47,
	"SanContested":                   47,
	"SanIpMalformed":                 48,
	"SanClusterName":                 49,
	"SanWildcard":                    50,
	"SanDnsMalformed":                51,
	"SanOfAnotherNode":               53,
	"SanDuplicate":                   54,
	"SanTooMany":                     54,
	"NodeMissing":                    57,
	"NodeTerminating":                58,
	"NodeYounger":                    59,
	"NodeAddressesMissing":           60,
	"NodeUninitialized":              60,
	"NodeAddressesUnstable":          61,
	"MachineMissing":                 62,
	"MachineIncomplete":              62,
	"MachineReplaced":                62,
	"MachineRepeated":                63,
	"ProviderIdContested":            63,
	"MachineProviderIdMismatch":      63,
	"SourceUnready":                  64,
	"RequestNameInvalid":             68,
	"SanLooksLikeService":            71,
	"SanLikeAnotherNode":             72,
	"SanLocalName":                   73,
}

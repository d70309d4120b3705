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
	// Requests that one judge cannot read, and none approves.
	unread   int
	verdicts map[string]int
	codes    map[string]int
	pairs    map[string]int
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
	if d.input.Generated && own.Verdict == d.input.Verdict && own.Verdict != "Approve" && (isUnread(own.Codes) || isUnread(other)) {
		c.unread++
		return
	}
	if own.Verdict != d.input.Verdict || !slices.Equal(own.Codes, other) {
		c.differences++
		fmt.Fprintf(c.out, "%s: %s\n  reference: %s %s\n  other:     %s %s\n", d.input.ID, d.input.Title,
			own.Verdict, strings.Join(own.Codes, " "), d.input.Verdict, strings.Join(other, " "))
	}
}

// isUnread reports whether a request is not in canonical DER. Then its content is a matter of the reader.
func isUnread(codes []string) bool {
	return slices.ContainsFunc(codes, func(code string) bool {
		return code == "DerMalformed" || code == "DerNotCanonical" || code == "ReadersDisagree"
	})
}

// report prints the counts, and reports whether there was no difference.
func (c *comparison) report() bool {
	fmt.Fprintf(c.out, "\n%-60s %d\n", "scenes", c.scenes)
	fmt.Fprintf(c.out, "%-60s %d\n", "compared by verdict, because not both can read the DER", c.unread)
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

func withRow(code string) string { return fmt.Sprintf("%2d %s", codes[code].row, code) }

func pairOfRows(a, b string) string {
	first, second := codes[a].row, codes[b].row
	return fmt.Sprintf("%2d and %2d", min(first, second), max(first, second))
}

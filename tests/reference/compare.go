package main

import (
	"bufio"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// comparison counts decisions, and prints those that differ from the other judge's.
type comparison struct {
	out         *bufio.Writer
	scenes      int
	differences int
	// unread counts requests that the other judge cannot read, and none approves.
	unread   int
	verdicts map[string]int
	codes    map[string]int
	// begun counts the scenes that began with a vector of a row, and found those with a finding of one.
	begun map[int]int
	found map[int]int
	// pairs counts the scenes with findings of two rows, the smaller one first.
	pairs map[[2]int]int
}

func newComparison(out *bufio.Writer) *comparison {
	return &comparison{
		out: out, verdicts: map[string]int{}, codes: map[string]int{},
		begun: map[int]int{}, found: map[int]int{}, pairs: map[[2]int]int{},
	}
}

func (c *comparison) add(d decided) {
	c.scenes++
	other := decision(d.input.Verdict, d.input.Codes)
	if d.output.Error != "" {
		c.differ(d, "error: "+d.output.Error, other)
		return
	}
	c.count(d.input.Row, d.output.Verdict)
	own := decision(d.output.Verdict.Verdict, d.output.Codes)
	switch {
	case own == other:
	case own != "Approve" && d.input.Verdict == d.output.Verdict.Verdict && isUnread(d.input.Codes):
		c.unread++
	default:
		c.differ(d, "reference: "+own, other)
	}
}

func (c *comparison) differ(d decided, own, other string) {
	c.differences++
	fmt.Fprintf(c.out, "%s: %s\n  %s\n  other:     %s\n", d.input.ID, d.input.Title, own, other)
	c.out.Flush() // a comparison can take hours
}

func decision(verdict string, codes []string) string {
	return strings.TrimSpace(verdict + " " + strings.Join(slices.Sorted(slices.Values(codes)), " "))
}

// isUnread reports whether a request is not canonical DER for both parsers of the other judge. Then further codes
// are a matter of the reader.
func isUnread(codes []string) bool {
	return contains(codes, "DerMalformed") || contains(codes, "DerNotCanonical") || contains(codes, "ReadersDisagree")
}

func (c *comparison) count(row int, v *Verdict) {
	c.begun[row]++
	c.verdicts[v.Verdict]++
	rows := map[int]bool{}
	for _, name := range v.Codes {
		c.codes[name]++
		rows[codes[name].row] = true
	}
	for first := range rows {
		c.found[first]++
		for second := range rows {
			if first < second {
				c.pairs[[2]int{first, second}]++
			}
		}
	}
}

// report prints the counts, and what the scenes have not reached.
func (c *comparison) report() {
	fmt.Fprintf(c.out, "\nverdict\n")
	for _, verdict := range slices.Sorted(maps.Keys(c.verdicts)) {
		fmt.Fprintf(c.out, "  %-58s %d\n", verdict, c.verdicts[verdict])
	}
	fmt.Fprintf(c.out, "\nrow and code\n")
	rows := map[int]bool{}
	for _, name := range slices.SortedFunc(maps.Keys(codes), byRow) {
		rows[codes[name].row] = true
		fmt.Fprintf(c.out, "  %2d %-55s %d\n", codes[name].row, name, c.codes[name])
	}
	fmt.Fprintf(c.out, "\nrow without a code, by the vector with which the scene began\n")
	for _, row := range slices.Sorted(maps.Keys(c.begun)) {
		if !rows[row] {
			fmt.Fprintf(c.out, "  %-58d %d\n", row, c.begun[row])
		}
	}
	fmt.Fprintf(c.out, "\nrow, and the rows that had no finding beside it\n")
	sorted := slices.Sorted(maps.Keys(rows))
	for _, row := range sorted {
		var missing []string
		for _, other := range sorted {
			if other != row && c.pairs[[2]int{min(row, other), max(row, other)}] == 0 {
				missing = append(missing, fmt.Sprint(other))
			}
		}
		fmt.Fprintf(c.out, "  %2d: %s\n", row, strings.Join(missing, " "))
	}
	fmt.Fprintf(c.out, "\n")
	c.total("scenes", c.scenes)
	c.total("compared by verdict, because the DER cannot be read", c.unread)
	c.total(fmt.Sprintf("codes reached, of %d", len(codes)), len(c.codes))
	c.total(fmt.Sprintf("rows with a code reached, of %d", len(rows)), len(c.found))
	c.total(fmt.Sprintf("pairs of rows reached, of %d", len(rows)*(len(rows)-1)/2), len(c.pairs))
	c.total("differences", c.differences)
}

func (c *comparison) total(what string, count int) { fmt.Fprintf(c.out, "%-60s %d\n", what, count) }

func byRow(a, b string) int {
	if codes[a].row != codes[b].row {
		return codes[a].row - codes[b].row
	}
	return strings.Compare(a, b)
}

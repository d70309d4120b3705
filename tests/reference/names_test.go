package main

import "testing"

func TestResolvedNumber(t *testing.T) {
	for name, expected := range map[string]string{
		"10.0.0.1":     "10.0.0.1",
		"10.1":         "10.0.0.1",
		"0x7f.1":       "127.0.0.1",
		"2130706433":   "127.0.0.1",
		"017700000001": "127.0.0.1",
		"010.0.0.1":    "8.0.0.1",
		"1.2.65535":    "1.2.255.255",
		"1.2.65536":    "",
		"256.1":        "",
		"08":           "",
		"0x":           "",
		"1.2.3.4.5":    "",
		"4294967296":   "",
		"node-1":       "",
	} {
		ip, numeric := resolvedNumber(name)
		if numeric != (expected != "") || numeric && ip.String() != expected {
			t.Errorf("%s: expected %q, found %v", name, expected, ip)
		}
	}
}

func TestMatchesPattern(t *testing.T) {
	for _, c := range []struct {
		pattern, name string
		expected      bool
	}{
		{"node-1", "node-1", true},
		{"node-1", "node-10", false},
		{"node-*", "node-", true},
		{"node-*", "node-1.example", false},
		{"*.example", "node-1.example", true},
		{"a*b*c", "a-b-b-c", true},
		{"a*b*c", "a-c-b", false},
	} {
		if matchesPattern(c.pattern, c.name) != c.expected {
			t.Errorf("%s and %s: expected %v", c.pattern, c.name, c.expected)
		}
	}
}

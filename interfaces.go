package l2vip

import (
	"slices"
	"strings"
)

// intersect returns names and patterns for the interfaces that both lists stand
// for, sorted and each once.
func intersect(as, bs []string) []string {
	var both []string
	for _, a := range as {
		for _, b := range bs {
			switch {
			case covers(a, b):
				both = append(both, b)
			case covers(b, a):
				both = append(both, a)
			}
		}
	}
	slices.Sort(both)
	return slices.Compact(both)
}

// covers reports whether the name or pattern a stands for all that b stands for.
// Of two patterns that have a name in common one begins with the other, so one
// of them covers the other.
func covers(a, b string) bool {
	prefix, pattern := strings.CutSuffix(a, "*")
	return a == b || pattern && strings.HasPrefix(strings.TrimSuffix(b, "*"), prefix)
}

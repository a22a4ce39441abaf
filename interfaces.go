package l2vip

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// checkInterface returns what is wrong with the name of an interface, or with a
// pattern: one that ends in * stands for all whose names begin with the rest.
func checkInterface(name string) error {
	prefix, _ := strings.CutSuffix(name, "*")
	switch {
	case name == "":
		return errors.New("an interface needs a name")
	case strings.Contains(prefix, "*"):
		return fmt.Errorf("%q: * may only be at the end, for all interfaces whose names begin so", name)
	case len(prefix) > 15 || strings.ContainsAny(prefix, "/ \t\n"):
		return fmt.Errorf("%q is no interface name", name)
	}
	return nil
}

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

package manifest

import (
	"fmt"
	"slices"

	"github.com/l2vip/l2vip/pool"
)

// selectors reads a list of label selectors, in which none may be given twice.
func (v value) selectors() []pool.Selector {
	var all []pool.Selector
	seen := make(map[string]string)
	v.items(func(v value) {
		before := len(v.p.errs)
		s := v.selector()
		if first, twice := seen[canonical(s)]; twice && len(v.p.errs) == before {
			v.fail("is the same selector as %s", first)
		} else {
			seen[canonical(s)] = v.path
		}
		all = append(all, s)
	})
	return all
}

// canonical returns a text that is the same for selectors that MetalLB takes for the
// same.
func canonical(s pool.Selector) string {
	text := fmt.Sprintf("%q", s.MatchLabels) // in the order of their keys
	for _, r := range s.MatchExpressions {
		text += canonicalRequirement(r)
	}
	return text
}

func canonicalRequirement(r pool.Requirement) string {
	return fmt.Sprintf(" %q %q %q", r.Key, r.Operator, slices.Sorted(slices.Values(r.Values)))
}

// selector reads a label selector, in which no requirement may be given twice.
func (v value) selector() pool.Selector {
	var out pool.Selector
	v.fields(map[string]func(value){
		"matchLabels": func(v value) { out.MatchLabels = v.labels() },
		"matchExpressions": func(v value) {
			seen := make(map[string]string)
			v.items(func(v value) {
				before := len(v.p.errs)
				r := v.requirement()
				if first, twice := seen[canonicalRequirement(r)]; twice && len(v.p.errs) == before {
					v.fail("is the same requirement as %s", first)
				} else {
					seen[canonicalRequirement(r)] = v.path
				}
				out.MatchExpressions = append(out.MatchExpressions, r)
			})
		},
	})
	return out
}

// requirement reads an item of matchExpressions.
func (v value) requirement() pool.Requirement {
	var out pool.Requirement
	before := len(v.p.errs)
	missing := map[string]bool{"key": true, "operator": true}
	v.fields(map[string]func(value){
		"key": func(v value) {
			missing["key"] = false
			out.Key, _ = v.text()
		},
		"operator": func(v value) {
			missing["operator"] = false
			text, _ := v.text()
			out.Operator = pool.Operator(text)
		},
		"values": func(v value) {
			v.distinct(func(text string, _ value) { out.Values = append(out.Values, text) })
		},
	})
	v.require(missing, "key", "operator")
	if len(v.p.errs) == before {
		v.findings(pool.Selector{MatchExpressions: []pool.Requirement{out}}.Validate())
	}
	return out
}

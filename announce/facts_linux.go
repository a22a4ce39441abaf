package announce

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// reportFacts reports the facts if they have changed, for the first time when
// the first assignments are applied.
func (e *engine) reportFacts() {
	if !e.changes || e.assigned == nil || e.reported == nil && e.binder.busy() {
		return
	}
	e.changes = false
	facts := e.facts()
	if e.reported != nil && facts.equal(e.reported) {
		return
	}
	e.reported = &facts
	e.report(facts)
}

// facts returns what is known now. It must stay fast for thousands of addresses
// and of interfaces.
func (e *engine) facts() Facts {
	facts := Facts{Links: []Link{}, Addresses: make([]Address, 0, len(e.assigned))}
	known := make(map[string]*link, len(e.links))
	var subnets []*link // those that can carry an address without being named
	for i := range e.links {
		l := &e.links[i]
		known[l.name] = l
		if len(l.prefixes) > 0 {
			subnets = append(subnets, l)
		}
	}
	used := make(map[string]bool)
	var carriers []*link // of the address at hand; reused
	var before Address
	for i := range e.assigned {
		a := &e.assigned[i]
		c := e.claims[a.Addr]
		carriers = carriers[:0]
		for _, name := range a.Interfaces {
			used[name] = true
			if l := known[name]; l != nil {
				carriers = append(carriers, l)
			}
		}
		if len(a.Interfaces) == 0 {
			for _, l := range subnets {
				if l.carries(a) {
					used[l.name] = true
					carriers = append(carriers, l)
				}
			}
		}
		f := Address{Addr: a.Addr, Mode: c.Mode, Claim: c.Claim, Probe: c.probe}
		if c.rival != nil {
			f.Rival = c.rival[:]
		}
		if !e.judge(&f, carriers, before.Links) {
			continue
		}
		if f.Problem == NoInterface || f.Problem == LinkDown {
			f.Detail = missing(a, carriers, known)
		}
		facts.Addresses = append(facts.Addresses, f)
		before = f
	}
	for _, name := range slices.Sorted(maps.Keys(used)) {
		if l := known[name]; l != nil {
			facts.Links = append(facts.Links, l.fact())
		} else {
			facts.Links = append(facts.Links, Link{Name: name, Problem: "absent"})
		}
	}
	return facts
}

// judge fills in the usable links, which most addresses share with the one
// before, and the problem. It reports false for an address that is to be bound
// for the first time still.
func (e *engine) judge(f *Address, carriers []*link, before []string) (known bool) {
	f.Problem = NoInterface
	same, usable, refused := true, 0, 0
	var why error
	for _, l := range carriers {
		switch {
		case l.problem == "":
			same = same && usable < len(before) && before[usable] == l.name
			usable++
			if tried, err := e.binder.state(f.Addr, l.index); !tried {
				return false
			} else if err != nil {
				refused++
				why = err
			}
		case l.down && f.Problem == NoInterface:
			f.Problem = LinkDown
		}
	}
	if usable == 0 {
		return true
	}
	f.Problem = NoProblem
	if refused == usable {
		f.Problem, f.Detail = NotBound, why.Error()
	}
	if same && usable == len(before) {
		f.Links = before
		return true
	}
	for _, l := range carriers {
		if l.problem == "" {
			f.Links = append(f.Links, l.name)
		}
	}
	return true
}

// missing says of each interface for the address why it can't be used.
func missing(a *Assignment, carriers []*link, known map[string]*link) string {
	if len(a.Interfaces) == 0 && len(carriers) == 0 {
		return "no interface has a subnet that contains it"
	}
	var why []string
	for _, l := range carriers {
		why = append(why, fmt.Sprintf("%s: %s", l.name, l.problem))
	}
	for _, name := range a.Interfaces {
		if known[name] == nil {
			why = append(why, name+": absent")
		}
	}
	return strings.Join(why, ", ")
}

// equal reports whether both say the same.
func (f *Facts) equal(g *Facts) bool {
	return slices.EqualFunc(f.Links, g.Links, func(a, b Link) bool {
		return a.Name == b.Name && a.Index == b.Index && a.Problem == b.Problem &&
			bytes.Equal(a.HardwareAddr, b.HardwareAddr) && slices.Equal(a.Prefixes, b.Prefixes)
	}) && slices.EqualFunc(f.Addresses, g.Addresses, func(a, b Address) bool {
		return a.Addr == b.Addr && a.Mode == b.Mode && a.Claim == b.Claim && a.Problem == b.Problem &&
			a.Detail == b.Detail && a.Probe == b.Probe &&
			bytes.Equal(a.Rival, b.Rival) && slices.Equal(a.Links, b.Links)
	})
}

package announce

import (
	"bytes"
	"cmp"
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
	facts := Facts{Links: []Link{}, Addresses: make([]Address, 0, len(e.assigned)), Repairs: e.binder.guard.repairs}
	var subnets []*link // those that can carry an address without being named
	for i := range e.links {
		if l := &e.links[i]; len(l.prefixes) > 0 {
			subnets = append(subnets, l)
		}
	}
	used := make(map[string]*link) // nil for a name without an interface
	var carriers []*link           // of the address at hand; reused
	var before Address
	for i := range e.assigned {
		a := &e.assigned[i]
		c := e.claims[a.Addr]
		carriers = carriers[:0]
		for _, pattern := range a.Interfaces {
			carriers = e.named(carriers, pattern)
			if !strings.HasSuffix(pattern, "*") {
				used[pattern] = nil
			}
		}
		if len(a.Interfaces) == 0 {
			for _, l := range subnets {
				if l.belongs(a) {
					carriers = append(carriers, l)
				}
			}
		}
		for _, l := range carriers {
			if l.refuses(a) == "" {
				used[l.name] = l
			}
		}
		f := Address{
			Addr: a.Addr, Mode: c.Mode, Claim: c.Claim, Probe: c.probe, Announced: c.announced, Sightings: c.sightings,
			Configured: e.configured[a.Addr],
		}
		if c.rival != nil {
			f.Rival = c.rival[:]
		}
		if !e.judge(&f, a, carriers, before.Links) {
			continue
		}
		if f.Problem == NoInterface || f.Problem == LinkDown {
			f.Detail = missing(a, carriers)
		}
		facts.Addresses = append(facts.Addresses, f)
		before = f
	}
	for _, name := range slices.Sorted(maps.Keys(used)) {
		if l := used[name]; l != nil {
			f := l.fact()
			if h := e.hearings[l.index]; h != nil {
				f.Silent = h.silent.Load()
			}
			facts.Links = append(facts.Links, f)
		} else {
			facts.Links = append(facts.Links, Link{Name: name, Problem: absent})
		}
	}
	return facts
}

// named appends the interfaces that the element of Assignment.Interfaces stands
// for, but for those that are there already.
func (e *engine) named(list []*link, pattern string) []*link {
	start, _ := strings.CutSuffix(pattern, "*")
	// Sorted by name, those that begin alike are neighbors.
	i, _ := slices.BinarySearchFunc(e.links, start, func(l link, start string) int { return strings.Compare(l.name, start) })
	for ; i < len(e.links) && matches(pattern, e.links[i].name); i++ {
		if l := &e.links[i]; !slices.Contains(list, l) {
			list = append(list, l)
		}
	}
	return list
}

// judge fills in the usable links, which most addresses share with the one
// before, and the problem. It reports false for an address that is to be bound
// for the first time still.
func (e *engine) judge(f *Address, a *Assignment, carriers []*link, before []string) (known bool) {
	f.Problem = NoInterface
	same, usable, refused := true, 0, 0
	var why error
	for _, l := range carriers {
		switch {
		case l.problem == "" && l.refuses(a) != "":
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
		if l.problem == "" && l.refuses(a) == "" {
			f.Links = append(f.Links, l.name)
		}
	}
	return true
}

// missing says of each interface for the address why it can't be used.
func missing(a *Assignment, carriers []*link) string {
	if len(a.Interfaces) == 0 && len(carriers) == 0 {
		return "no interface has a subnet that contains it"
	}
	var why []string
	for _, l := range carriers {
		why = append(why, fmt.Sprintf("%s: %s", l.name, cmp.Or(l.problem, l.refuses(a))))
	}
	for _, pattern := range a.Interfaces {
		if !slices.ContainsFunc(carriers, func(l *link) bool { return matches(pattern, l.name) }) {
			why = append(why, pattern+": "+absent)
		}
	}
	return strings.Join(why, ", ")
}

// absent is the problem of an interface that there is not.
const absent = "no such interface"

// equal reports whether both say the same.
func (f *Facts) equal(g *Facts) bool {
	return f.Repairs == g.Repairs && slices.EqualFunc(f.Links, g.Links, func(a, b Link) bool {
		return a.Name == b.Name && a.Index == b.Index && a.Problem == b.Problem &&
			a.Silent == b.Silent && bytes.Equal(a.HardwareAddr, b.HardwareAddr) && slices.Equal(a.Prefixes, b.Prefixes)
	}) && slices.EqualFunc(f.Addresses, g.Addresses, func(a, b Address) bool {
		return a.Addr == b.Addr && a.Mode == b.Mode && a.Claim == b.Claim && a.Problem == b.Problem &&
			a.Detail == b.Detail && a.Probe == b.Probe && a.Configured == b.Configured && a.Announced.Equal(b.Announced) && a.Sightings == b.Sightings &&
			bytes.Equal(a.Rival, b.Rival) && slices.Equal(a.Links, b.Links)
	})
}

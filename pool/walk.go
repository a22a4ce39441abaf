package pool

import "net/netip"

// walk hands out the addresses of a pool in the order of automatic allocation.
// What is taken is cut out of the ranges once, at the start, so that no step
// looks at addresses that are in use.
type walk struct {
	free       []span // what is left, in order
	avoidBuggy bool
	given      int
}

// newWalk starts the walk through p without the given addresses of it.
func newWalk(p Pool, named []span) *walk {
	taken := make([]span, 0, len(p.Exclude)+len(named))
	for _, r := range p.Exclude {
		if r.IsValid() {
			taken = append(taken, r.span())
		}
	}
	taken = union(append(taken, named...))

	w := &walk{avoidBuggy: p.AvoidBuggyIPs}
	for _, r := range p.Ranges {
		if !r.IsValid() {
			continue
		}
		for _, s := range r.hosts().startingAt(r.First()) {
			w.free = s.minus(taken, w.free)
		}
	}
	return w
}

// next returns the next address, and whether there is one.
func (w *walk) next() (addr netip.Addr, ok bool) {
	for len(w.free) > 0 {
		s := &w.free[0]
		addr = s.from
		if addr == s.to {
			w.free = w.free[1:]
		} else {
			s.from = addr.Next()
		}
		if w.avoidBuggy && buggy(addr) {
			continue
		}
		w.given++
		return addr, true
	}
	return netip.Addr{}, false
}

// buggy reports whether addr ends in .0 or .255, which some equipment takes for
// a network or broadcast address whatever the length of the prefix.
func buggy(addr netip.Addr) bool {
	if !addr.Is4() {
		return false
	}
	last := addr.As4()[3]
	return last == 0 || last == 255
}

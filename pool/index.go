package pool

import (
	"cmp"
	"net/netip"
	"slices"
)

// index finds the pool of an address. It holds every valid range of all pools,
// sorted by its lowest address.
type index []entry

// entry is one range of an index.
type entry struct {
	span
	pool, rng int // pools[pool].Ranges[rng]
	// reach is the entry with the highest address among this one and those
	// before it. Without overlaps it is the entry itself.
	reach int
}

func newIndex(pools []Pool) index {
	var x index
	for i, p := range pools {
		for j, r := range p.Ranges {
			if r.IsValid() {
				x = append(x, entry{span: r.span(), pool: i, rng: j})
			}
		}
	}
	slices.SortStableFunc(x, func(a, b entry) int { return a.from.Compare(b.from) })
	for i := range x {
		x[i].reach = i
		if i > 0 && x[i].to.Less(x[x[i-1].reach].to) {
			x[i].reach = x[i-1].reach
		}
	}
	return x
}

// find returns which of the pools has addr in its ranges. It looks at one range
// only, unless ranges overlap.
func (x index) find(addr netip.Addr) (pool int, ok bool) {
	i, exact := slices.BinarySearchFunc(x, addr, func(e entry, addr netip.Addr) int { return e.from.Compare(addr) })
	if !exact {
		i--
	}
	for ; i >= 0 && addr.Compare(x[x[i].reach].to) <= 0; i-- {
		if x[i].contains(addr) {
			return x[i].pool, true
		}
	}
	return 0, false
}

// overlap is two ranges with an address in common, in the order in which they
// are configured.
type overlap struct{ earlier, later entry }

// overlaps returns an overlap for each range that begins inside one that begins
// before it, ordered by the later of the two. Several ranges on one another thus
// give one finding each, not one for every pair.
func (x index) overlaps() []overlap {
	byPlace := func(a, b entry) int { return cmp.Or(cmp.Compare(a.pool, b.pool), cmp.Compare(a.rng, b.rng)) }
	var found []overlap
	for i := 1; i < len(x); i++ {
		a, b := x[x[i-1].reach], x[i]
		if !a.overlaps(b.span) {
			continue
		}
		if byPlace(b, a) < 0 {
			a, b = b, a
		}
		found = append(found, overlap{a, b})
	}
	slices.SortFunc(found, func(a, b overlap) int {
		return cmp.Or(byPlace(a.later, b.later), byPlace(a.earlier, b.earlier))
	})
	return found
}

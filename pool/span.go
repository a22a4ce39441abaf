package pool

import (
	"cmp"
	"net/netip"
	"slices"
)

// span is the addresses from one to another, both included, of one family. It
// is never empty.
type span struct{ from, to netip.Addr }

func spanOf(from, to string) span {
	return span{netip.MustParseAddr(from), netip.MustParseAddr(to)}
}

func (s span) contains(addr netip.Addr) bool {
	return s.from.Compare(addr) <= 0 && addr.Compare(s.to) <= 0
}

func (s span) overlaps(o span) bool {
	return s.from.Compare(o.to) <= 0 && o.from.Compare(s.to) <= 0
}

// startingAt returns s as the spans that are walked when one starts at first,
// which is in s, goes up and wraps around.
func (s span) startingAt(first netip.Addr) []span {
	if first == s.from {
		return []span{s}
	}
	return []span{{first, s.to}, {s.from, first.Prev()}}
}

// minus appends what is left of s without taken to free. taken is sorted and
// disjoint, as union returns it.
func (s span) minus(taken []span, free []span) []span {
	start, _ := slices.BinarySearchFunc(taken, s.from, func(t span, addr netip.Addr) int {
		return t.to.Compare(addr)
	})
	for _, t := range taken[start:] {
		if s.to.Less(t.from) {
			break
		}
		if s.from.Less(t.from) {
			free = append(free, span{s.from, t.from.Prev()})
		}
		if s.to.Compare(t.to) <= 0 {
			return free
		}
		s.from = t.to.Next()
	}
	return append(free, s)
}

// union sorts spans and merges those that overlap, in place.
func union(spans []span) []span {
	slices.SortFunc(spans, func(a, b span) int {
		return cmp.Or(a.from.Compare(b.from), a.to.Compare(b.to))
	})
	merged := spans[:0]
	for _, s := range spans {
		if last := len(merged) - 1; last >= 0 && s.from.Compare(merged[last].to) <= 0 {
			if merged[last].to.Less(s.to) {
				merged[last].to = s.to
			}
			continue
		}
		merged = append(merged, s)
	}
	return merged
}

package pool_test

import (
	"net/netip"
	"slices"

	"github.com/l2vip/l2vip/pool"
)

// naive allocates as the documentation says it, one address at a time with a
// look at all addresses that are in use. It is the oracle of Allocate and knows
// nothing of errors but that there is one.
func naive(pools []pool.Pool, requests []pool.Request) (map[string][]netip.Addr, bool) {
	used := make(map[netip.Addr]bool)
	got := make(map[string][]netip.Addr)
	for _, r := range requests {
		for _, addr := range r.Addresses {
			inPool := slices.ContainsFunc(pools, func(p pool.Pool) bool {
				return anyContains(p.Ranges, addr) && !anyContains(p.Exclude, addr) && p.Admits(r.Namespace, r.Labels)
			})
			if used[addr] || !inPool {
				return nil, false
			}
			used[addr] = true
			got[r.Service] = append(got[r.Service], addr)
		}
	}
	for _, r := range requests {
		if len(r.Addresses) > 0 {
			continue
		}
		want := r.Count
		if r.Pool != "" {
			want = max(want, 1)
		}
		for _, p := range inOrder(pools) {
			if p.Name != r.Pool && (r.Pool != "" || p.NoAutoAssign) || !p.Admits(r.Namespace, r.Labels) {
				continue
			}
			for _, candidate := range p.Ranges {
				for addr := range candidate.All() {
					if want > 0 && !used[addr] && mayBeAutomatic(p, candidate, addr) {
						used[addr] = true
						got[r.Service] = append(got[r.Service], addr)
						want--
					}
				}
			}
		}
		if want > 0 {
			return nil, false
		}
	}
	return got, true
}

// inOrder returns pools in the order in which a service that names none is served.
func inOrder(pools []pool.Pool) []pool.Pool {
	var ordered []pool.Pool
	for priority := 1; priority <= maxPriority; priority++ {
		for _, p := range pools {
			if p.Priority == priority {
				ordered = append(ordered, p)
			}
		}
	}
	for _, restricted := range []bool{true, false} {
		for _, p := range pools {
			if p.Priority == 0 && restricted == (len(p.Namespaces)+len(p.ServiceSelectors) > 0) {
				ordered = append(ordered, p)
			}
		}
	}
	return ordered
}

// mayBeAutomatic reports whether addr, which is in range r of p, can be given to
// a service that does not ask for it by name.
func mayBeAutomatic(p pool.Pool, r pool.Range, addr netip.Addr) bool {
	if prefix, err := netip.ParsePrefix(r.String()); err == nil {
		if addr.Is4() && prefix.Bits() <= 30 && (addr == r.From() || addr == r.To()) {
			return false
		}
		if addr.Is6() && prefix.Bits() <= 126 && addr == r.From() {
			return false
		}
	}
	if last := addr.AsSlice()[addr.BitLen()/8-1]; addr.Is4() && p.AvoidBuggyIPs && (last == 0 || last == 255) {
		return false
	}
	return !anyContains(p.Exclude, addr)
}

func anyContains(ranges []pool.Range, addr netip.Addr) bool {
	return slices.ContainsFunc(ranges, func(r pool.Range) bool { return r.Contains(addr) })
}

package pool

import (
	"maps"
	"net/netip"
	"slices"
)

// MaxCount is the most addresses that one [Request] can ask for by number.
const MaxCount = 1 << 16

// Request is what a service asks for: either the addresses it names, or a number
// of addresses that are allocated automatically.
type Request struct {
	// Service names the service. Required, and unique among the requests.
	Service string
	// Addresses are the addresses that the service asks for by name. If empty,
	// its addresses are allocated automatically.
	Addresses []netip.Addr
	// Pool names the pool to allocate from. If empty, and Count is not 0, the
	// addresses come from the first pools that have any left, except those
	// with NoAutoAssign. Not allowed together with Addresses.
	Pool string
	// Count is how many addresses to allocate, at most [MaxCount]. If 0, it is
	// 1 where Pool is set. Not allowed together with Addresses.
	Count int
	// Namespace is the namespace that the service is in, for [Pool.Namespaces].
	// If empty, it is in none, and can have no address of a pool that has
	// Namespaces.
	Namespace string
	// Labels are those of the service, for [Pool.ServiceSelectors]. If empty, it
	// can have addresses of a pool that has selectors only if one of them
	// matches a service without labels.
	Labels map[string]string
	// Reserved keeps the place of a service that was removed, so that no other
	// service moves or gets its addresses. The addresses are allocated, but
	// [Allocation.Addresses] does not return them. If false, the service gets
	// what it asks for.
	Reserved bool
}

// count returns how many addresses r asks for.
func (r Request) count() int {
	switch {
	case len(r.Addresses) > 0:
		return len(r.Addresses)
	case r.Pool != "":
		return max(r.Count, 1)
	default:
		return r.Count
	}
}

// keeps returns how many of the first addresses allocated for r must stay when r
// becomes next: none, unless both ask for addresses from the same place.
func (r Request) keeps(next Request) int {
	automatic := len(r.Addresses) == 0 && len(next.Addresses) == 0
	if !automatic || r.Pool != next.Pool || next.Reserved {
		return 0
	}
	return min(r.count(), next.count())
}

// clone returns a copy of r that shares no memory with it.
func (r Request) clone() Request {
	r.Addresses = slices.Clone(r.Addresses)
	r.Labels = maps.Clone(r.Labels)
	return r
}

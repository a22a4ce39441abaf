package pool

import (
	"iter"
	"net/netip"
	"slices"
)

// Allocation is which service has which addresses, as [Allocate] computed it. It
// is immutable and safe for concurrent use. A nil Allocation is empty.
type Allocation struct {
	services map[string]grant
	order    []string     // the services, as they were requested
	byAddr   []Assignment // sorted by address
}

// grant is a request and the addresses allocated for it.
type grant struct {
	request   Request
	addresses []netip.Addr
}

// Assignment is one allocated address.
type Assignment struct {
	// Addr is the address.
	Addr netip.Addr
	// Service names the service that it is allocated for.
	Service string
	// Pool names the pool that has it. It is empty if there are no pools.
	Pool string
	// Reserved says that the service was removed and only keeps its place: the
	// address must not be announced.
	Reserved bool
}

// Addresses returns the addresses of a service in the order in which it asked
// for them or they were allocated. It is nil if there is no such service, or if
// the service is reserved.
func (a *Allocation) Addresses(service string) []netip.Addr {
	if a == nil {
		return nil
	}
	g, ok := a.services[service]
	if !ok || g.request.Reserved {
		return nil
	}
	return slices.Clone(g.addresses)
}

// Lookup returns the assignment of addr, and whether there is one.
func (a *Allocation) Lookup(addr netip.Addr) (Assignment, bool) {
	if a == nil {
		return Assignment{}, false
	}
	i, ok := slices.BinarySearchFunc(a.byAddr, addr, Assignment.compareAddr)
	if !ok {
		return Assignment{}, false
	}
	return a.byAddr[i], true
}

// Automatic reports whether addr was allocated automatically. Nobody chose such an
// address, so one that turns out to be taken belongs into [Pool.Exclude]. It is
// false for an address that was asked for by name, and for one that is not
// allocated.
func (a *Allocation) Automatic(addr netip.Addr) bool {
	s, ok := a.Lookup(addr)
	return ok && len(a.services[s.Service].request.Addresses) == 0
}

// All yields every assignment in ascending order of address, IPv4 before IPv6,
// those of reserved services too. Two allocations are the same exactly if they
// yield the same, so a digest over All tells nodes that differ.
func (a *Allocation) All() iter.Seq[Assignment] {
	if a == nil {
		return func(func(Assignment) bool) {}
	}
	return slices.Values(a.byAddr)
}

func (s Assignment) compareAddr(addr netip.Addr) int { return s.Addr.Compare(addr) }

package l2vip

import (
	"net/netip"

	"github.com/l2vip/l2vip/health"
)

// Service is what addresses are for.
type Service struct {
	// Name is the service's name, unique and alike on all nodes. It defaults to
	// its first explicit address, and is required without one.
	Name string
	// Addresses are the addresses that are asked for by name.
	Addresses []netip.Addr
	// Pool is the pool from which Count addresses are allocated automatically,
	// instead of Addresses. With a Count, empty stands for the first pools that
	// have room and allow it.
	Pool string
	// Count is how many addresses to allocate. Zero stands for one if there is
	// a Pool.
	Count int
	// Namespace is the namespace that the service is in, for pools that are for
	// those of some namespaces only (pool.Pool.Namespaces). If empty, it is in
	// none, and can have no address of such a pool. It must be alike on all nodes.
	Namespace string
	// Labels are the service's labels, by which pools and advertisements select
	// services (their ServiceSelectors). If empty, only pools and advertisements
	// without such selectors apply to it, and those that select what has no
	// labels. They must be alike on all nodes.
	Labels map[string]string
	// Reserved keeps the place of a service that was removed: its addresses
	// are allocated, so that those of others do not move, and never announced.
	Reserved bool
	// Health says whether this node can serve it. Nil means that it always can.
	Health health.Source
}

package pool

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/l2vip/l2vip/internal/conferr"
)

// Allocate gives every request its addresses. The result depends on the
// arguments alone: first the addresses that are asked for by name, whatever the
// place of their requests; then the automatic ones, request by request, from
// what is left of the pools (see the package documentation for the order).
// Appending a request for automatic addresses therefore moves nothing; [Moved]
// tells what another change would move.
//
// Without pools, requests can only name addresses, and these can be any unicast
// addresses. With pools, each must be in one of them and not excluded; what is
// only left out of automatic allocation can be asked for by name: a network,
// broadcast or Subnet-Router anycast address, one that ends in .0 or .255, and
// one of a pool with NoAutoAssign. A pool that does not admit a service (see
// [Pool.Admits]) has no address for it, whichever way it asks.
//
// The error is everything that is wrong, joined, each finding as a
// [*ConfigError]. Paths are those of a configuration with Pools and Services,
// the latter one to one with requests: "Pools[1].Ranges[0]",
// "Services[2].Addresses[0]". With an error there is no Allocation.
func Allocate(pools []Pool, requests []Request) (*Allocation, error) {
	a := newAllocator(pools, requests)
	a.errs.Merge("Pools", validatePools(pools, a.ranges))

	var automatic []int
	for i, r := range requests {
		admitted := a.admit(i)
		a.takeNamed(i)
		if admitted && len(r.Addresses) == 0 {
			automatic = append(automatic, i)
		}
	}
	for _, i := range automatic {
		a.takeAutomatic(i)
	}
	if err := a.errs.Err(); err != nil {
		return nil, err
	}
	return a.allocation(), nil
}

// allocator is the state of one call of Allocate. Pools and requests go by their
// place in the arguments.
type allocator struct {
	pools    []Pool
	requests []Request
	errs     conferr.List

	ranges     index
	poolNamed  map[string]int // the first pool of each name
	requestFor map[string]int // the first request of each service
	namedBy    map[netip.Addr]int
	named      [][]span // per pool: its addresses that are asked for by name
	walks      []*walk  // per pool: its automatic allocation, once there is any
	auto       []int    // the pools for requests that name none, the first to try first
	restricted bool     // some of auto do not admit every service
	open       []int    // auto, from the first pool on that may have an address left

	addresses   [][]netip.Addr // per request
	assignments []Assignment
}

func newAllocator(pools []Pool, requests []Request) *allocator {
	a := &allocator{
		pools:      pools,
		requests:   requests,
		ranges:     newIndex(pools),
		poolNamed:  make(map[string]int, len(pools)),
		requestFor: make(map[string]int, len(requests)),
		namedBy:    make(map[netip.Addr]int),
		named:      make([][]span, len(pools)),
		walks:      make([]*walk, len(pools)),
		addresses:  make([][]netip.Addr, len(requests)),
	}
	for i, p := range pools {
		if _, taken := a.poolNamed[p.Name]; !taken {
			a.poolNamed[p.Name] = i
		}
		if !p.NoAutoAssign {
			a.auto = append(a.auto, i)
			a.restricted = a.restricted || p.restricted()
		}
	}
	slices.SortStableFunc(a.auto, func(i, j int) int { return cmp.Compare(pools[i].rank(), pools[j].rank()) })
	a.open = a.auto
	return a
}

// admit checks what a request asks for, apart from each of the addresses, and
// reports whether it can be given automatic addresses, if that is what it wants.
func (a *allocator) admit(i int) bool {
	r := a.requests[i]
	ok := true
	refuse := func(field, format string, args ...any) {
		a.errs.Addf(conferr.Join(servicePath(i), field), format, args...)
		ok = false
	}
	if other, taken := a.requestFor[r.Service]; r.Service == "" {
		refuse("Name", "required")
	} else if taken {
		refuse("Name", "service %q is defined twice, first as %s", r.Service, servicePath(other))
	} else {
		a.requestFor[r.Service] = i
	}
	named, known := a.poolNamed[r.Pool]
	switch {
	case len(r.Addresses) > 0:
		if r.Pool != "" {
			refuse("Pool", "service %q asks for addresses by name, and so cannot ask for pool %q", r.Service, r.Pool)
		}
		if r.Count != 0 {
			refuse("Count", "service %q asks for addresses by name, and so cannot ask for a count of %d", r.Service, r.Count)
		}
	case r.Count < 0 || r.Count > MaxCount:
		refuse("Count", "service %q asks for %d addresses: want 0 to %d", r.Service, r.Count, MaxCount)
	case r.Pool == "" && r.Count == 0:
		refuse("", "service %q asks for neither addresses nor a pool", r.Service)
	case r.Pool != "" && !known:
		refuse("Pool", "service %q asks for pool %q, which does not exist", r.Service, r.Pool)
	case r.Pool != "" && !a.admits(named, i):
		refuse("Pool", "service %q %w", r.Service, a.notAdmitted(named))
	case r.Pool == "" && len(a.auto) == 0:
		refuse("Pool", "service %q asks for no pool by name, and there is none that assigns automatically", r.Service)
	case r.Pool == "" && !slices.ContainsFunc(a.auto, func(p int) bool { return a.admits(p, i) }):
		refuse("Pool", "service %q asks for no pool by name, and none that assigns automatically admits it: %w", r.Service, a.notAdmitted(a.auto[0]))
	}
	return ok
}

// admits reports whether a pool admits the service of a request.
func (a *allocator) admits(pool, request int) bool {
	r := &a.requests[request]
	return a.pools[pool].Admits(r.Namespace, r.Labels)
}

// notAdmitted says which services a pool admits. It continues the sentence "service
// s ...".
func (a *allocator) notAdmitted(pool int) error {
	p := a.pools[pool]
	var want []string
	if len(p.Namespaces) > 0 {
		want = append(want, fmt.Sprintf("in one of the namespaces %q", p.Namespaces))
	}
	if len(p.ServiceSelectors) > 0 {
		want = append(want, "with labels that one of its ServiceSelectors matches")
	}
	return fmt.Errorf("may not have addresses of pool %q, which is for services %s", p.Name, strings.Join(want, " and "))
}

// takeNamed gives a request the addresses that it names.
func (a *allocator) takeNamed(i int) {
	for j, addr := range a.requests[i].Addresses {
		pool, err := a.checkNamed(i, addr)
		if err != nil {
			a.errs.Addf(fmt.Sprintf("%s.Addresses[%d]", servicePath(i), j), "service %q: %w", a.requests[i].Service, err)
			continue
		}
		a.namedBy[addr] = i
		if len(a.pools) == 0 {
			a.assign(i, addr, "")
			continue
		}
		a.named[pool] = append(a.named[pool], span{addr, addr})
		a.assign(i, addr, a.pools[pool].Name)
	}
}

// checkNamed says what is wrong with a request for an address, and otherwise
// which pool has it, if there are pools.
func (a *allocator) checkNamed(i int, addr netip.Addr) (pool int, err error) {
	if !addr.IsValid() {
		return 0, errors.New("the zero Addr is not an address")
	}
	if addr.Zone() != "" {
		return 0, fmt.Errorf("address %v has a zone", addr)
	}
	if err := (Range{from: addr, to: addr}).check(); err != nil {
		return 0, fmt.Errorf("address %v %w", addr, err)
	}
	if other, taken := a.namedBy[addr]; taken {
		return 0, fmt.Errorf("address %v is asked for twice, first by service %q", addr, a.requests[other].Service)
	}
	if len(a.pools) == 0 {
		return 0, nil
	}
	pool, ok := a.ranges.find(addr)
	if !ok {
		return 0, fmt.Errorf("address %v is in no pool", addr)
	}
	p := a.pools[pool]
	if slices.ContainsFunc(p.Exclude, func(r Range) bool { return r.Contains(addr) }) {
		return 0, fmt.Errorf("address %v is excluded from pool %q", addr, p.Name)
	}
	if !a.admits(pool, i) {
		return 0, fmt.Errorf("address %v: the service %w", addr, a.notAdmitted(pool))
	}
	return pool, nil
}

// takeAutomatic gives a request the next addresses of its pool, or of the first
// pools that have any left.
func (a *allocator) takeAutomatic(i int) {
	r := a.requests[i]
	searched, open := a.auto, &a.open
	switch {
	case r.Pool != "":
		searched = []int{a.poolNamed[r.Pool]}
		open = new(searched)
	case a.restricted:
		searched = slices.DeleteFunc(slices.Clone(a.auto), func(p int) bool { return !a.admits(p, i) })
		open = new(searched)
	}
	for got := range r.count() {
		addr, pool, ok := a.next(open)
		if !ok {
			a.errs.Addf(servicePath(i), "service %q gets %d of %d addresses: %s", r.Service, got, r.count(), a.exhausted(searched))
			return
		}
		a.assign(i, addr, a.pools[pool].Name)
	}
}

// next returns the next address of the first of the pools that has any left, and
// drops the pools before it, so that nobody looks at them again.
func (a *allocator) next(open *[]int) (addr netip.Addr, pool int, ok bool) {
	for ; len(*open) > 0; *open = (*open)[1:] {
		pool = (*open)[0]
		if addr, ok = a.walk(pool).next(); ok {
			return addr, pool, true
		}
	}
	return netip.Addr{}, 0, false
}

// exhausted describes pools that have no address left.
func (a *allocator) exhausted(pools []int) string {
	var each []string
	for _, p := range pools {
		size := a.walk(p).given + len(a.named[p])
		each = append(each, fmt.Sprintf("pool %q is exhausted, all of its %d addresses are taken", a.pools[p].Name, size))
	}
	return strings.Join(each, "; ")
}

// walk returns the automatic allocation of a pool. All addresses that are asked
// for by name must be known.
func (a *allocator) walk(pool int) *walk {
	if a.walks[pool] == nil {
		a.walks[pool] = newWalk(a.pools[pool], a.named[pool])
	}
	return a.walks[pool]
}

func (a *allocator) assign(i int, addr netip.Addr, pool string) {
	r := a.requests[i]
	a.addresses[i] = append(a.addresses[i], addr)
	a.assignments = append(a.assignments, Assignment{Addr: addr, Service: r.Service, Pool: pool, Reserved: r.Reserved})
}

// allocation returns what was assigned.
func (a *allocator) allocation() *Allocation {
	slices.SortFunc(a.assignments, func(x, y Assignment) int { return x.Addr.Compare(y.Addr) })
	done := &Allocation{
		services: make(map[string]grant, len(a.requests)),
		order:    make([]string, 0, len(a.requests)),
		byAddr:   a.assignments,
	}
	for i, r := range a.requests {
		done.services[r.Service] = grant{request: r.clone(), addresses: a.addresses[i]}
		done.order = append(done.order, r.Service)
	}
	return done
}

func servicePath(i int) string { return fmt.Sprintf("Services[%d]", i) }

package pool

import (
	"fmt"
	"math"
	"slices"

	"github.com/l2vip/l2vip/internal/conferr"
	"github.com/l2vip/l2vip/internal/dnsname"
)

// ConfigError is one thing that is wrong with a configuration, with the path of
// the field it is about, such as "Pools[1].Ranges[0]".
type ConfigError = conferr.Error

// Pool is a named set of addresses that services get theirs from, what MetalLB
// calls an IPAddressPool.
type Pool struct {
	// Name is what services and advertisements call the pool. Required, and
	// unique among the pools.
	Name string
	// Labels are what an [Advertisement] selects pools by. If empty, only
	// advertisements that name the pool or select all pools apply to it.
	Labels map[string]string
	// Ranges are the addresses of the pool; automatic allocation goes through
	// them in this order. At least one is required. No address may be in two
	// ranges, neither of one pool nor of two.
	Ranges []Range
	// Exclude are addresses that something else has, such as the nodes and
	// the gateway: they are never allocated automatically, and to ask for one
	// of them is an error. A CIDR with host bits set is the whole network here
	// too. They need not be in Ranges. If empty, nothing is excluded.
	Exclude []Range
	// NoAutoAssign keeps the pool for services that ask for it, or for an
	// address of it, by name. If false, a service that asks for a count of
	// addresses without naming a pool may get them from here.
	NoAutoAssign bool
	// Namespaces are the namespaces whose services may have addresses of the
	// pool, whether allocated automatically or asked for by name. If empty, the
	// services of all namespaces may, and those in none.
	Namespaces []string
	// ServiceSelectors select the services that may have addresses of the pool,
	// by their labels, and within Namespaces; a service may if any of them
	// matches. If empty, all may.
	ServiceSelectors []Selector
	// Priority orders the pools that a service may get addresses from without
	// naming one: those with a Priority come first, the lowest number first of
	// all. If zero, the pool comes after them: before those that are for all
	// services if it has Namespaces or ServiceSelectors, and with those
	// otherwise. Pools that this does not order come as they are written.
	Priority int
	// AvoidBuggyIPs leaves IPv4 addresses that end in .0 and .255 out of
	// automatic allocation, for equipment that takes every such address for a
	// network or broadcast address. If false, only those of a CIDR of /30 or
	// shorter are left out. It says nothing about IPv6.
	AvoidBuggyIPs bool
}

// Admits reports whether a service of a namespace, which may be none, with these
// labels may have addresses of p.
func (p Pool) Admits(namespace string, labels map[string]string) bool {
	return (len(p.Namespaces) == 0 || slices.Contains(p.Namespaces, namespace)) &&
		(len(p.ServiceSelectors) == 0 || matchesAny(p.ServiceSelectors, labels))
}

// restricted reports whether p is not for all services.
func (p Pool) restricted() bool { return len(p.Namespaces) > 0 || len(p.ServiceSelectors) > 0 }

// rank returns the place of p among the pools that a service gets addresses from
// without naming one. The lowest comes first.
func (p Pool) rank() int {
	switch {
	case p.Priority > 0:
		return p.Priority
	case p.restricted():
		return math.MaxInt - 1
	default:
		return math.MaxInt
	}
}

// ValidatePools returns everything that is wrong with pools, joined, each as a
// [*ConfigError] with a path such as "[1].Ranges[0]": a name that is missing or
// taken, a label or namespace that Kubernetes would refuse, a selector that is
// not valid, a negative priority, a pool without ranges, a range that is not valid
// or that overlaps another.
//
// [Allocate] calls it. It is for programs that check pools alone.
func ValidatePools(pools []Pool) error {
	return validatePools(pools, newIndex(pools))
}

func validatePools(pools []Pool, ranges index) error {
	var errs conferr.List
	names := make(map[string]int, len(pools))
	for i, p := range pools {
		path := fmt.Sprintf("[%d]", i)
		if other, taken := names[p.Name]; p.Name == "" {
			errs.Addf(path+".Name", "required")
		} else if taken {
			errs.AddPair(path+".Name", fmt.Sprintf("[%d].Name", other), "pool %q is defined twice, first as [%d]", p.Name, other)
		} else {
			names[p.Name] = i
		}
		errs.Merge(path+".Labels", ValidateLabels(p.Labels))
		for j, name := range p.Namespaces {
			if err := dnsname.Label(name); err != nil {
				errs.Addf(fmt.Sprintf("%s.Namespaces[%d]", path, j), "namespace %q %w", name, err)
			}
		}
		for j, s := range p.ServiceSelectors {
			errs.Merge(fmt.Sprintf("%s.ServiceSelectors[%d]", path, j), s.Validate())
		}
		if p.Priority < 0 {
			errs.Addf(path+".Priority", "%d is negative", p.Priority)
		}
		if len(p.Ranges) == 0 {
			errs.Addf(path+".Ranges", "pool %q has no range", p.Name)
		}
		for j, r := range p.Ranges {
			if !r.IsValid() {
				errs.Addf(fmt.Sprintf("%s.Ranges[%d]", path, j), "the zero Range is not valid")
			}
		}
		for j, r := range p.Exclude {
			if !r.IsValid() {
				errs.Addf(fmt.Sprintf("%s.Exclude[%d]", path, j), "the zero Range is not valid")
			}
		}
	}
	for _, o := range ranges.overlaps() {
		later, earlier := pools[o.later.pool], pools[o.earlier.pool]
		errs.AddPair(rangePath(o.later), rangePath(o.earlier), "range %v of pool %q overlaps range %v of pool %q",
			later.Ranges[o.later.rng], later.Name, earlier.Ranges[o.earlier.rng], earlier.Name)
	}
	return errs.Err()
}

func rangePath(e entry) string { return fmt.Sprintf("[%d].Ranges[%d]", e.pool, e.rng) }

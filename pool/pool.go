package pool

import (
	"fmt"

	"github.com/l2vip/l2vip/internal/conferr"
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
	// AvoidBuggyIPs leaves IPv4 addresses that end in .0 and .255 out of
	// automatic allocation, for equipment that takes every such address for a
	// network or broadcast address. If false, only those of a CIDR of /30 or
	// shorter are left out. It says nothing about IPv6.
	AvoidBuggyIPs bool
}

// ValidatePools returns everything that is wrong with pools, joined, each as a
// [*ConfigError] with a path such as "[1].Ranges[0]": a name that is missing or
// taken, a label that Kubernetes would refuse, a pool without ranges, a range
// that is not valid or that overlaps another.
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
			errs.Addf(path+".Name", "pool %q is defined twice, first as [%d]", p.Name, other)
		} else {
			names[p.Name] = i
		}
		errs.Merge(path+".Labels", ValidateLabels(p.Labels))
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
		errs.Addf(fmt.Sprintf("[%d].Ranges[%d]", o.later.pool, o.later.rng),
			"range %v of pool %q overlaps range %v of pool %q",
			later.Ranges[o.later.rng], later.Name, earlier.Ranges[o.earlier.rng], earlier.Name)
	}
	return errs.Err()
}

package pool

import (
	"fmt"
	"math"
	"slices"

	"github.com/l2vip/l2vip/internal/conferr"
)

// Advertisement says which pools may be announced from which nodes, on which of
// their interfaces and for which services, and which nodes are preferred, as
// MetalLB's L2Advertisement does. The zero Advertisement announces every pool from every node on every
// interface.
//
// Where several advertisements select a pool, each adds to what the others
// allow: nodes, interfaces and weights.
type Advertisement struct {
	// Name is what messages call the advertisement. If empty, it is known by
	// its place in the configuration.
	Name string
	// Pools are the names of pools to announce, besides those that
	// PoolSelectors select. If both are empty, all pools are announced.
	Pools []string
	// PoolSelectors select pools by their labels; a pool is announced if any
	// of them matches.
	PoolSelectors []Selector
	// NodeSelectors select nodes by their labels; a node may announce if any
	// of them matches. If empty, all nodes may.
	NodeSelectors []Selector
	// ServiceSelectors select services by their labels; the address of a service
	// is announced if any of them matches. If empty, those of all services are.
	ServiceSelectors []Selector
	// Interfaces are the names of the interfaces to announce on. If empty, it
	// is announced on all.
	Interfaces []string
	// Preferred are the nodes that should announce rather than others, among
	// those that may. If empty, all weigh the same.
	Preferred []Preference
}

// Preference gives weight to the nodes that a selector matches.
type Preference struct {
	// Weight is added to the weight of each node that Nodes matches. Required,
	// at least 1; MetalLB's manifests allow up to 100.
	Weight uint32
	// Nodes selects nodes by their labels. The zero Selector matches all, which
	// prefers none.
	Nodes Selector
}

// SelectsPool reports whether a announces every address of p, whatever the
// service that has it. It is false where ServiceSelectors leave some out:
// [Advertisement.SelectsService] tells which.
func (a Advertisement) SelectsPool(p Pool) bool {
	return len(a.ServiceSelectors) == 0 && a.selects(p)
}

// SelectsService reports whether a announces the addresses of p that a service
// with these labels has.
func (a Advertisement) SelectsService(p Pool, labels map[string]string) bool {
	return (len(a.ServiceSelectors) == 0 || matchesAny(a.ServiceSelectors, labels)) && a.selects(p)
}

// selects reports whether a announces addresses of p, of some service.
func (a Advertisement) selects(p Pool) bool {
	if len(a.Pools) == 0 && len(a.PoolSelectors) == 0 {
		return true
	}
	return slices.Contains(a.Pools, p.Name) || matchesAny(a.PoolSelectors, p.Labels)
}

// SelectsNode reports whether a node with these labels may announce.
func (a Advertisement) SelectsNode(labels map[string]string) bool {
	return len(a.NodeSelectors) == 0 || matchesAny(a.NodeSelectors, labels)
}

// Weight returns how much a node with these labels is preferred: the sum of the
// weights of all preferences that match, at most [math.MaxUint32]. It is 0 for a
// node that a does not select, so that the weights of several advertisements can
// be added up.
func (a Advertisement) Weight(labels map[string]string) uint32 {
	if !a.SelectsNode(labels) {
		return 0
	}
	var sum uint32
	for _, p := range a.Preferred {
		if p.Nodes.Matches(labels) {
			sum += min(p.Weight, math.MaxUint32-sum)
		}
	}
	return sum
}

func matchesAny(selectors []Selector, labels map[string]string) bool {
	return slices.ContainsFunc(selectors, func(s Selector) bool { return s.Matches(labels) })
}

// ValidateAdvertisements returns everything that is wrong with ads, joined, each
// as a [*ConfigError] with a path such as "[0].Pools[2]": a name that is taken,
// a pool that is not among pools, a selector that is not valid, an interface
// without name, a weight of 0. It does not look for what is wrong with pools.
func ValidateAdvertisements(ads []Advertisement, pools []Pool) error {
	known := make(map[string]bool, len(pools))
	for _, p := range pools {
		known[p.Name] = true
	}
	var errs conferr.List
	names := make(map[string]int, len(ads))
	for i, a := range ads {
		path := fmt.Sprintf("[%d]", i)
		if other, taken := names[a.Name]; taken && a.Name != "" {
			errs.AddPair(path+".Name", fmt.Sprintf("[%d].Name", other), "advertisement %q is defined twice, first as [%d]", a.Name, other)
		} else {
			names[a.Name] = i
		}
		for j, name := range a.Pools {
			if !known[name] {
				errs.Addf(fmt.Sprintf("%s.Pools[%d]", path, j), "advertisement %q is for pool %q, which does not exist", a.Name, name)
			}
		}
		for j, s := range a.PoolSelectors {
			errs.Merge(fmt.Sprintf("%s.PoolSelectors[%d]", path, j), s.Validate())
		}
		for j, s := range a.NodeSelectors {
			errs.Merge(fmt.Sprintf("%s.NodeSelectors[%d]", path, j), s.Validate())
		}
		for j, s := range a.ServiceSelectors {
			errs.Merge(fmt.Sprintf("%s.ServiceSelectors[%d]", path, j), s.Validate())
		}
		for j, name := range a.Interfaces {
			if name == "" {
				errs.Addf(fmt.Sprintf("%s.Interfaces[%d]", path, j), "an interface needs a name")
			}
		}
		for j, p := range a.Preferred {
			if p.Weight == 0 {
				errs.Addf(fmt.Sprintf("%s.Preferred[%d].Weight", path, j), "want at least 1")
			}
			errs.Merge(fmt.Sprintf("%s.Preferred[%d].Nodes", path, j), p.Nodes.Validate())
		}
	}
	return errs.Err()
}

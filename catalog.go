package l2vip

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"

	"github.com/l2vip/l2vip/announce"
	"github.com/l2vip/l2vip/election"
	"github.com/l2vip/l2vip/internal/conferr"
	"github.com/l2vip/l2vip/internal/core"
	"github.com/l2vip/l2vip/internal/dnsname"
	"github.com/l2vip/l2vip/pool"
)

// catalog is the services with everything that follows from them and from the
// configuration: which addresses there are, and what this node may do for each. It is
// immutable.
type catalog struct {
	services   []Service
	allocation *pool.Allocation
	table      *core.Table
}

// newCatalog allocates the services' addresses, or says all that is wrong.
func (c *Config) newCatalog(services []Service) (*catalog, error) {
	var errs conferr.List
	errs.Merge("Advertisements", pool.ValidateAdvertisements(c.Advertisements, c.Pools))
	for i, ad := range c.Advertisements {
		for j, name := range ad.Interfaces {
			if err := announce.ValidateInterface(name); err != nil && name != "" { // pool has said that
				errs.Addf(fmt.Sprintf("Advertisements[%d].Interfaces[%d]", i, j), "%w", err)
			}
		}
	}
	if len(c.Pools) > 0 && len(c.Advertisements) == 0 {
		errs.Addf("Advertisements", "with pools an advertisement is required, or nothing is announced")
	}
	cat := &catalog{services: slices.Clone(services)}
	requests := make([]pool.Request, len(services))
	for i := range cat.services {
		s := &cat.services[i]
		if s.Name == "" && len(s.Addresses) > 0 {
			s.Name = s.Addresses[0].String()
		}
		s.Addresses = slices.Clone(s.Addresses)
		if err := checkName(s.Name); err != nil {
			errs.Addf(fmt.Sprintf("Services[%d].Name", i), "%w", err)
		}
		s.Labels = maps.Clone(s.Labels)
		errs.Merge(fmt.Sprintf("Services[%d].Labels", i), pool.ValidateLabels(s.Labels))
		if s.Namespace != "" {
			if err := dnsname.Label(s.Namespace); err != nil {
				errs.Addf(fmt.Sprintf("Services[%d].Namespace", i), "namespace %q %w", s.Namespace, err)
			}
		}
		requests[i] = pool.Request{
			Service: s.Name, Addresses: s.Addresses, Pool: s.Pool, Count: s.Count, Reserved: s.Reserved,
			Namespace: s.Namespace, Labels: s.Labels,
		}
		if v, ok := s.Health.(interface{ Validate() error }); ok {
			errs.Merge(fmt.Sprintf("Services[%d].Health", i), v.Validate())
		}
	}
	asked := 0
	for i := range requests {
		asked += min(max(len(requests[i].Addresses), requests[i].Count), election.MaxEntries+1)
	}
	if asked > election.MaxEntries {
		errs.Addf("Services", "more than %d addresses", election.MaxEntries)
		return nil, errs.Err()
	}
	allocation, err := pool.Allocate(c.Pools, requests)
	errs.Merge("", err)
	if err := errs.Err(); err != nil {
		return nil, err
	}
	cat.allocation = allocation
	table := new(core.Table)

	pools := make(map[string]pool.Pool, len(c.Pools))
	for _, p := range c.Pools {
		pools[p.Name] = p
	}
	labels := make(map[string]map[string]string, len(cat.services))
	for _, s := range cat.services {
		labels[s.Name] = s.Labels
	}
	digest := fnv.New64a()
	fmt.Fprintf(digest, "%d\n", max(1, c.MinMembers))
	for as := range allocation.All() {
		fmt.Fprintf(digest, "%v %q %t\n", as.Addr, as.Service, as.Reserved)
		if as.Reserved {
			continue
		}
		a := core.Address{
			Addr: as.Addr, Service: as.Service, Automatic: allocation.Automatic(as.Addr),
			Selected: true, Interfaces: c.Interfaces,
		}
		if len(c.Pools) > 0 {
			c.advertise(&a, pools[as.Pool], labels[as.Service])
		}
		table.Addresses = append(table.Addresses, a)
	}
	c.digestAdvertisements(digest)
	c.digestRestrictions(digest, cat.services)
	table.Digest = digest.Sum64()
	slices.SortFunc(table.Addresses, func(a, b core.Address) int { return a.Addr.Compare(b.Addr) })
	cat.table = table
	c.validateTable(&errs, cat)
	return cat, errs.Err()
}

// validateTable adds what is wrong with addresses that the announcer could not carry.
func (c *Config) validateTable(errs *conferr.List, cat *catalog) {
	if _, wire := c.Announcer.(*announce.Announcer); !wire {
		return
	}
	for i := range cat.table.Addresses {
		a := &cat.table.Addresses[i]
		if !a.Selected || a.NoneLeft {
			continue
		}
		err := announce.Validate([]announce.Assignment{{Addr: a.Addr, Interfaces: a.Interfaces}}, c.Bind)
		if err != nil {
			at := slices.IndexFunc(cat.services, func(s Service) bool { return s.Name == a.Service })
			errs.Addf(fmt.Sprintf("Services[%d]", at), "%v for %q: %w", a.Addr, a.Service, err)
		}
	}
}

// advertise fills in what the advertisements of the address's pool say, for a
// service with these labels.
func (c *Config) advertise(a *core.Address, p pool.Pool, labels map[string]string) {
	a.Selected = false
	all, named := false, []string(nil)
	for _, ad := range c.Advertisements {
		if !ad.SelectsService(p, labels) || !ad.SelectsNode(c.Labels) {
			continue
		}
		a.Selected = true
		a.Weight = uint32(min(uint64(a.Weight)+uint64(ad.Weight(c.Labels)), math.MaxUint32))
		all = all || len(ad.Interfaces) == 0
		named = append(named, ad.Interfaces...)
	}
	if all || !a.Selected {
		return
	}
	within := c.Interfaces
	if len(within) == 0 {
		within = []string{"*"}
	}
	a.Interfaces = intersect(named, within)
	a.NoneLeft = len(a.Interfaces) == 0
}

// digestAdvertisements adds the advertisements, which must be alike on all nodes
// even where they select none of this one's labels.
func (c *Config) digestAdvertisements(w io.Writer) {
	for _, ad := range c.Advertisements {
		// fmt prints maps in the order of their keys.
		fmt.Fprintln(w, strconv.Quote(ad.Name), ad.Pools, ad.PoolSelectors, ad.NodeSelectors, ad.Interfaces, ad.Preferred)
	}
}

// digestRestrictions adds what decides which service may have which address and what is
// announced for it, each in an order that is the same on all nodes. It adds nothing
// where nothing is restricted, so that nodes of an earlier version, which knew no
// restrictions, have the same digest then.
func (c *Config) digestRestrictions(w io.Writer, services []Service) {
	for _, p := range slices.SortedFunc(slices.Values(c.Pools), func(a, b pool.Pool) int { return cmp.Compare(a.Name, b.Name) }) {
		if p.Priority != 0 || len(p.Namespaces) > 0 || len(p.ServiceSelectors) > 0 {
			fmt.Fprintln(w, "pool", strconv.Quote(p.Name), p.Priority, p.Namespaces, p.ServiceSelectors)
		}
	}
	for _, ad := range c.Advertisements {
		if len(ad.ServiceSelectors) > 0 {
			fmt.Fprintln(w, "advertisement", strconv.Quote(ad.Name), ad.ServiceSelectors)
		}
	}
	for _, s := range slices.SortedFunc(slices.Values(services), func(a, b Service) int { return cmp.Compare(a.Name, b.Name) }) {
		if s.Namespace != "" || len(s.Labels) > 0 {
			fmt.Fprintln(w, "service", strconv.Quote(s.Name), s.Namespace, s.Labels)
		}
	}
}

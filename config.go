package l2vip

import (
	"cmp"
	"context"
	"fmt"
	"hash/fnv"
	"io"
	"log/slog"
	"math"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/l2vip/l2vip/announce"
	"github.com/l2vip/l2vip/election"
	"github.com/l2vip/l2vip/election/heartbeat"
	"github.com/l2vip/l2vip/health"
	"github.com/l2vip/l2vip/internal/conferr"
	"github.com/l2vip/l2vip/pool"
)

// ConfigError is one thing that is wrong with a configuration, with the path of
// the field: "Services[2].Addresses[0]". What [New] returns joins one for each
// thing.
type ConfigError = conferr.Error

// CapabilityError says which capability the process lacks, and for what. It
// wraps [os.ErrPermission].
type CapabilityError = announce.CapabilityError

// Membership knows the other members and carries every member's offer to all.
// Package election/gossip has one; any store with watches and leases can be
// another.
type Membership interface {
	// Run joins as the member self and calls update with the offers of all
	// other live members: first when it has joined, or knows that nobody is
	// there to join, and then at every change. A member whose offer is not
	// known yet, or is void, is an offer that has only its Node. update never
	// blocks; the slice is the Runner's, its entries are not to be changed.
	// When ctx is cancelled Run leaves and returns nil.
	Run(ctx context.Context, self string, update func([]election.Offer)) error
	// Publish replaces this node's offer and returns at once; it may be called
	// before Run. The engine sets Instance and Revision. The Runner publishes
	// each change, and the unchanged offer several times a second for as long
	// as it is alive: a member that was taken for dead is believed again only
	// by what it has published since.
	Publish(election.Offer)
	// Sync completes a full exchange with a live member, after which update
	// has been called with its outcome, or finds that nobody is there.
	Sync(ctx context.Context) error
}

// Announcer is package announce's Announcer as the Runner uses it.
type Announcer interface {
	// Run works until ctx is cancelled, and reports all facts whenever they change.
	Run(ctx context.Context, report func(announce.Facts)) error
	// Set replaces all assignments; what is gone is not answered when it returns.
	Set([]announce.Assignment) error
	// Renew lets it answer for d from now.
	Renew(d time.Duration)
}

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
	// Reserved keeps the place of a service that was removed: its addresses
	// are allocated, so that those of others do not move, and never announced.
	Reserved bool
	// Health says whether this node can serve it. Nil means that it always can.
	Health health.Source
}

// The defaults of a zero Config.
const (
	DefaultStartHold       = 500 * time.Millisecond
	DefaultHandoverTimeout = 500 * time.Millisecond
	DefaultLinger          = time.Second
	DefaultLease           = 250 * time.Millisecond
)

// Config configures a Runner. Membership is required; every other field has a
// good default.
type Config struct {
	// Name is this node's name, unique in the cluster. It defaults to the host
	// name.
	Name string
	// Labels are the node's labels, which advertisements select by.
	Labels map[string]string
	// Interfaces are the names of the interfaces to announce on. One that ends
	// in * stands for all whose names begin with what is before it. None stands
	// for every interface with a subnet that contains the address.
	Interfaces []string
	// Membership knows the other members; required. [Alone] says that there are
	// none, on purpose. Members on the same segment find each other by their
	// heartbeats, if the Membership has the methods Endpoint() netip.AddrPort
	// and Meet(netip.AddrPort), as gossip does. A method Vouch([]string) is told
	// the members that are heard, whenever they change.
	Membership Membership
	// Services are what to announce. See SetServices for changing them later.
	Services []Service
	// Pools are the pools that addresses come from. Without any, services name
	// their addresses, which are announced on Interfaces.
	Pools []pool.Pool
	// Advertisements say which pools may be announced, from which nodes and on
	// which interfaces; their Interfaces may be patterns as above, and are those
	// that Config.Interfaces stands for, too. With Pools, what no advertisement
	// selects is not announced.
	Advertisements []pool.Advertisement
	// AllowMoves lets SetServices move addresses that are still asked for.
	AllowMoves bool

	// MinMembers is how many members, itself included, this node must see to
	// hold any address. It must be alike on all nodes. The default is 1.
	MinMembers int
	// Failback is for how long a node must have been a candidate for an
	// address before it takes the address back from a holder that ranks behind
	// it. Zero means never: addresses move only when they must.
	Failback time.Duration
	// StartHold is for how long a node that finds nobody to join claims
	// nothing. The default is DefaultStartHold; with Alone there is none.
	StartHold time.Duration
	// HandoverTimeout is for how long a node that stops being a candidate
	// answers while it waits for the successor's claim. The default is
	// DefaultHandoverTimeout.
	HandoverTimeout time.Duration
	// Linger is for how long the addresses stay bound after they were handed
	// over by Run's end, for clients with a stale neighbour cache. The default
	// is DefaultLinger; a negative value means none.
	Linger time.Duration
	// Lease is for how long this node may answer after its process has last run:
	// with heartbeats, after the last one that it has sent. They carry it, and
	// the others wait for it before they take over from a node whose kernel runs
	// and whose process may come back. The default is that of the Profile; it must
	// be shorter than 5 s, after which they wait no longer.
	//
	// Without heartbeats, and while there are members that send none, it is
	// three quarters, at most, of the shortest time in which the others may take
	// over, if the Membership tells that by a method Detection() time.Duration,
	// as gossip does, and otherwise DefaultLease. With NoHeartbeat a longer one is
	// refused.
	Lease time.Duration

	// Profile is the timings by which a failed node is noticed. The zero value
	// is safe on any local network.
	Profile Profile
	// Heartbeat finds out fast that a node can no longer be heard on the
	// segment where the clients are. Nil stands for package
	// election/heartbeat's, with the timings of Profile and the Membership's
	// cluster and key; but for NoHeartbeat with Alone, and with an Announcer
	// that is not package announce's.
	Heartbeat Heartbeat

	// Strangers says what to do when a station outside of the cluster claims an
	// address that this node holds. The zero value is Defend.
	Strangers StrangerPolicy
	// Bind says how the kernel is made to accept traffic for the addresses. It
	// is used if Announcer is nil. The zero value is announce.Loopback.
	Bind announce.Bind
	// Announcer does the work on the wire. Nil stands for package announce's with
	// Bind, Logger and its own defaults; pass one made by announce.New for
	// others: how often to refresh and to ask for rivals, how fast to announce,
	// the router flag.
	Announcer Announcer
	// Logger takes what happens. Nil discards it.
	Logger *slog.Logger
}

// StrangerPolicy says what a node does about a station outside of the cluster
// that claims an address which the node holds.
type StrangerPolicy uint8

const (
	// Defend announces the address again, at most once in 10 seconds, and never
	// gives it up: RFC 5227 section 2.4 (c).
	Defend StrangerPolicy = iota
	// Yield gives the address up at once: RFC 5227 section 2.4 (a). It is tried
	// again with growing pauses, after a probe, by whichever member is to have
	// it then.
	Yield
)

// String returns the name of the policy.
func (p StrangerPolicy) String() string {
	switch p {
	case Defend:
		return "defend"
	case Yield:
		return "yield"
	}
	return fmt.Sprintf("policy %d", uint8(p))
}

// detector is a Membership that knows its own timing.
type detector interface{ Detection() time.Duration }

// validated returns the configuration with its defaults, or all that is wrong
// with it.
func (c Config) validated() (Config, error) {
	var errs conferr.List
	if c.Name == "" {
		host, err := os.Hostname()
		if err != nil {
			errs.Addf("Name", "no name is given and the host has none: %w", err)
		}
		c.Name = host
	}
	if err := checkName(c.Name); err != nil {
		errs.Addf("Name", "%w", err)
	}
	errs.Merge("Labels", pool.ValidateLabels(c.Labels))
	for i, name := range c.Interfaces {
		if err := checkInterface(name); err != nil {
			errs.Addf(fmt.Sprintf("Interfaces[%d]", i), "%w", err)
		} else if slices.Contains(c.Interfaces[:i], name) {
			errs.Addf(fmt.Sprintf("Interfaces[%d]", i), "%q is named twice", name)
		}
	}
	if c.Membership == nil {
		errs.Addf("Membership", "required: gossip.New for a cluster, or l2vip.Alone for one node, on purpose")
	}
	if c.MinMembers < 0 {
		errs.Addf("MinMembers", "%d is negative", c.MinMembers)
	}
	if c.Strangers > Yield {
		errs.Addf("Strangers", "%d is no policy: Defend or Yield", c.Strangers)
	}
	for _, d := range []struct {
		name  string
		value *time.Duration
		zero  time.Duration
	}{
		{"Failback", &c.Failback, 0},
		{"StartHold", &c.StartHold, DefaultStartHold},
		{"HandoverTimeout", &c.HandoverTimeout, DefaultHandoverTimeout},
		{"Lease", &c.Lease, 0},
	} {
		if *d.value < 0 {
			errs.Addf(d.name, "%v is negative", *d.value)
		}
		*d.value = cmp.Or(*d.value, d.zero)
	}
	c.Linger = max(0, cmp.Or(c.Linger, DefaultLinger))
	if c.Membership == Alone {
		c.StartHold = 0
	}
	if c.Announcer == nil {
		a, err := announce.New(announce.Config{Bind: c.Bind, Logger: c.Logger})
		errs.Merge("", err)
		c.Announcer = a
	}
	errs.Merge("Profile", c.Profile.validate())
	if c.Heartbeat == nil {
		h, err := c.heartbeat()
		errs.Merge("Heartbeat", err)
		c.Heartbeat = h
	}
	lease, most := c.Profile.Lease(), keptFor
	if c.Heartbeat == NoHeartbeat {
		lease, most = c.unbeatenLease()
	}
	if most > 0 && c.Lease >= most {
		errs.Addf("Lease", "%v is not shorter than %v, after which the others may take over", c.Lease, most)
	}
	c.Lease = cmp.Or(c.Lease, lease)
	c.Logger = cmp.Or(c.Logger, slog.New(slog.DiscardHandler))
	return c, errs.Err()
}

// unbeatenLease returns the lease without heartbeats, and when the others may take
// over then; zero if nobody knows.
func (c *Config) unbeatenLease() (lease, detection time.Duration) {
	if d, ok := c.Membership.(detector); ok {
		return d.Detection() * 3 / 4, d.Detection()
	}
	return DefaultLease, 0
}

// leaseByTurn returns the lease that a turn of the loop gives: not all members may
// send heartbeats.
func (c *Config) leaseByTurn() time.Duration {
	if c.Heartbeat == NoHeartbeat {
		return c.Lease
	}
	lease, _ := c.unbeatenLease()
	return min(lease, c.Lease)
}

// cluster is a Membership that knows the name of its cluster, and keys for other
// protocols in it.
type cluster interface {
	Cluster() string
	Derive(purpose string) []byte
}

// meeter is a Membership that can be told of members that were met on the segment.
type meeter interface {
	// Endpoint is where other members reach this one; invalid if unknown.
	Endpoint() netip.AddrPort
	// Meet joins the member that is said to listen there. It never blocks.
	Meet(netip.AddrPort)
}

// truster is a Membership that can be told of members that are known to run.
type truster interface {
	// Vouch replaces the list of their names. It never blocks.
	Vouch([]string)
}

// heartbeat returns the one that a nil Heartbeat stands for.
func (c *Config) heartbeat() (Heartbeat, error) {
	if _, wire := c.Announcer.(*announce.Announcer); !wire || c.Membership == Alone {
		return NoHeartbeat, nil
	}
	p := c.Profile.filled()
	h := heartbeat.Config{Interval: p.Beat, Misses: p.Misses, Logger: c.Logger}
	if m, ok := c.Membership.(cluster); ok {
		h.Cluster, h.Key = m.Cluster(), m.Derive("heartbeat")
	}
	d, err := heartbeat.New(h)
	if err != nil {
		return nil, err
	}
	return d, nil
}

// maxName bounds the names that travel between members, in bytes.
const maxName = 128

// checkName returns what is wrong with the name of a node or a service, which
// may be empty.
func checkName(name string) error {
	if len(name) > maxName {
		return fmt.Errorf("%d bytes long, more than %d", len(name), maxName)
	}
	if !utf8.ValidString(name) {
		return fmt.Errorf("%q is not UTF-8", name)
	}
	return nil
}

// roster is the services with everything that follows from them and from the
// configuration: which addresses there are, and what this node may do for each.
// It is immutable.
type roster struct {
	services   []Service
	allocation *pool.Allocation
	addresses  []address // sorted
	digest     uint64    // of what must be configured alike on all nodes
}

// address is one address and what the configuration says of it on this node.
type address struct {
	addr       netip.Addr
	service    string
	automatic  bool     // allocated, not asked for by name
	selected   bool     // an advertisement selects this node for it
	interfaces []string // none: those with a subnet that contains it
	noneLeft   bool     // selected, but on no interface that this node announces on
	weight     uint32
}

// newRoster allocates the services' addresses, or says all that is wrong.
func (c *Config) newRoster(services []Service) (*roster, error) {
	var errs conferr.List
	errs.Merge("Advertisements", pool.ValidateAdvertisements(c.Advertisements, c.Pools))
	for i, ad := range c.Advertisements {
		for j, name := range ad.Interfaces {
			if err := checkInterface(name); err != nil && name != "" { // pool has said that
				errs.Addf(fmt.Sprintf("Advertisements[%d].Interfaces[%d]", i, j), "%w", err)
			}
		}
	}
	if len(c.Pools) > 0 && len(c.Advertisements) == 0 {
		errs.Addf("Advertisements", "with pools an advertisement is required, or nothing is announced")
	}
	ro := &roster{services: slices.Clone(services)}
	requests := make([]pool.Request, len(services))
	for i := range ro.services {
		s := &ro.services[i]
		if s.Name == "" && len(s.Addresses) > 0 {
			s.Name = s.Addresses[0].String()
		}
		s.Addresses = slices.Clone(s.Addresses)
		if err := checkName(s.Name); err != nil {
			errs.Addf(fmt.Sprintf("Services[%d].Name", i), "%w", err)
		}
		requests[i] = pool.Request{Service: s.Name, Addresses: s.Addresses, Pool: s.Pool, Count: s.Count, Reserved: s.Reserved}
		if v, ok := s.Health.(interface{ Validate() error }); ok {
			errs.Merge(fmt.Sprintf("Services[%d].Health", i), v.Validate())
		}
	}
	allocation, err := pool.Allocate(c.Pools, requests)
	errs.Merge("", err)
	if err := errs.Err(); err != nil {
		return nil, err
	}
	ro.allocation = allocation

	pools := make(map[string]pool.Pool, len(c.Pools))
	for _, p := range c.Pools {
		pools[p.Name] = p
	}
	digest := fnv.New64a()
	fmt.Fprintf(digest, "%d\n", max(1, c.MinMembers))
	for as := range allocation.All() {
		fmt.Fprintf(digest, "%v %q %t\n", as.Addr, as.Service, as.Reserved)
		if as.Reserved {
			continue
		}
		a := address{
			addr: as.Addr, service: as.Service, automatic: allocation.Automatic(as.Addr),
			selected: true, interfaces: c.Interfaces,
		}
		if len(c.Pools) > 0 {
			c.advertise(&a, pools[as.Pool])
		}
		ro.addresses = append(ro.addresses, a)
	}
	c.digestAdvertisements(digest)
	ro.digest = digest.Sum64()
	slices.SortFunc(ro.addresses, func(a, b address) int { return a.addr.Compare(b.addr) })
	return ro, nil
}

// advertise fills in what the advertisements of the address's pool say.
func (c *Config) advertise(a *address, p pool.Pool) {
	a.selected = false
	all, named := false, []string(nil)
	for _, ad := range c.Advertisements {
		if !ad.SelectsPool(p) || !ad.SelectsNode(c.Labels) {
			continue
		}
		a.selected = true
		a.weight = uint32(min(uint64(a.weight)+uint64(ad.Weight(c.Labels)), math.MaxUint32))
		all = all || len(ad.Interfaces) == 0
		named = append(named, ad.Interfaces...)
	}
	if all || !a.selected {
		return
	}
	within := c.Interfaces
	if len(within) == 0 {
		within = []string{"*"}
	}
	a.interfaces = intersect(named, within)
	a.noneLeft = len(a.interfaces) == 0
}

// digestAdvertisements adds the advertisements, which must be alike on all nodes
// even where they select none of this one's labels.
func (c *Config) digestAdvertisements(w io.Writer) {
	for _, ad := range c.Advertisements {
		// fmt prints maps in the order of their keys.
		fmt.Fprintln(w, strconv.Quote(ad.Name), ad.Pools, ad.PoolSelectors, ad.NodeSelectors, ad.Interfaces, ad.Preferred)
	}
}

// Alone is the Membership of a node that has no others, on purpose.
var Alone Membership = alone{}

type alone struct{}

func (alone) Run(ctx context.Context, _ string, update func([]election.Offer)) error {
	update(nil)
	<-ctx.Done()
	return nil
}

func (alone) Publish(election.Offer)     {}
func (alone) Sync(context.Context) error { return nil }

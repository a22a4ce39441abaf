package l2vip

import (
	"cmp"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/l2vip/l2vip/announce"
	"github.com/l2vip/l2vip/election"
	"github.com/l2vip/l2vip/election/segment"
	"github.com/l2vip/l2vip/internal/asynclog"
	"github.com/l2vip/l2vip/internal/conferr"
	"github.com/l2vip/l2vip/internal/core"
	"github.com/l2vip/l2vip/pool"
)

// ConfigError is one thing that is wrong with a configuration, with the path of
// the field: "Services[2].Addresses[0]". What [New] returns joins one for each
// thing.
type ConfigError = conferr.Error

// CapabilityError says which capability the process lacks, and for what. It
// wraps [os.ErrPermission].
type CapabilityError = announce.CapabilityError

// The defaults of a zero Config.
const (
	DefaultCluster         = "l2vip"
	DefaultStartHold       = 500 * time.Millisecond
	DefaultHandoverTimeout = 500 * time.Millisecond
	DefaultLinger          = time.Second
	DefaultLease           = time.Second
)

// Config configures a Runner. Every field has a good default; without Membership
// and with one Service that names an address, the nodes of a segment find each other.
type Config struct {
	// Name is this node's name, unique in the cluster, of at most 128 bytes. If empty,
	// it is the host name. Of two live nodes with one name the one that started later
	// is no candidate for any address.
	Name string
	// Cluster is the cluster's name, of at most 128 bytes. Members of different
	// clusters do not see each other. If empty, it is "l2vip".
	Cluster string
	// Key is the secret of the cluster, of at least 16 bytes, alike on all nodes: what
	// the members say to each other is authenticated with keys derived from it, on the
	// segment and by the Membership. A stranger can then claim addresses by ARP and NDP,
	// which no secret protects, and send what is refused: see Status.Refusals.
	//
	// If empty, and Passphrase too, a stranger can more. A station on a segment can beat and
	// offer as a member of any name, so that addresses move to it or stay where nobody
	// serves them. A host that reaches the port of package election/gossip can join as a
	// member, with the same effect, and take the name of one that is not there. It cannot
	// speak in the name of one that is unless it sees the streams of that, and what it has
	// recorded is of no use.
	Key []byte
	// Passphrase is a secret of any length in place of Key. Whoever records what members
	// send can try passphrases at leisure, at some ten milliseconds each: choose a long one.
	Passphrase string
	// AcceptKeys are other secrets that are accepted, for rotation, at most two of at
	// least 16 bytes each: what members send with one of them is believed, too, and
	// answered with it. They need Key or Passphrase. See Runner.SetKeys for a rotation
	// without a restart.
	AcceptKeys [][]byte
	// Labels are the node's labels, which advertisements select by.
	Labels map[string]string
	// Interfaces are the names of the interfaces to announce on. One that ends
	// in * stands for all whose names begin with what is before it. If empty, it is
	// every interface with a subnet that contains the address; of several in one subnet
	// the one with the lowest index that is up.
	Interfaces []string
	// Membership knows members that share no segment with this node. If nil, the
	// members are those on the segment. [Alone] says that there are none, on purpose.
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

	// MinMembers is how many members that have an address configured, itself
	// included, this node must see to hold it. It must be alike on all nodes. If zero,
	// it is 1.
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
	// Lease is for how long this node may answer after its process has last run,
	// counted from just before the last beat that it has sent. The beats carry it, and
	// the others wait for it before they take over from a node whose kernel runs and
	// whose process may come back. If zero, it is a second, which is also the most.
	//
	// While there are members that do not beat it is cut to three quarters of the
	// shortest time in which the Membership may declare a member dead, or to a quarter
	// of a second if the Membership does not tell that.
	Lease time.Duration

	// Profile is the timings by which a failed node is noticed. The zero value
	// is safe on any local network.
	Profile Profile
	// Segment is the members on the segments that this node announces on. If nil, it
	// is package election/segment's, with the timings of Profile; but NoSegment with
	// Alone, and with an Announcer that is not package announce's.
	Segment Segment

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
	// Logger takes what happens, from a goroutine of its own: a handler that is slow
	// or hangs costs log lines and nothing else. If nil, it is discarded.
	Logger *slog.Logger

	log     *asynclog.Logger // in front of Logger
	keyring *keyring         // Key, Passphrase, AcceptKeys
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
	if len(c.Labels) > election.MaxLabels {
		errs.Addf("Labels", "%d labels, more than %d", len(c.Labels), election.MaxLabels)
	}
	for i, name := range c.Interfaces {
		if err := announce.ValidateInterface(name); err != nil {
			errs.Addf(fmt.Sprintf("Interfaces[%d]", i), "%w", err)
		} else if slices.Contains(c.Interfaces[:i], name) {
			errs.Addf(fmt.Sprintf("Interfaces[%d]", i), "%q is named twice", name)
		}
	}
	if len(c.Cluster) > maxName || !utf8.ValidString(c.Cluster) {
		errs.Addf("Cluster", "%q is longer than %d bytes, or not UTF-8", c.Cluster, maxName)
	}
	c.Cluster = cmp.Or(c.Cluster, DefaultCluster)
	if n := len(c.Key); n > 0 && n < minKey {
		errs.Addf("Key", "%d bytes long, fewer than %d", n, minKey)
	}
	if len(c.Key) > 0 && c.Passphrase != "" {
		errs.Addf("Passphrase", "set together with Key; one of them is the secret")
	}
	if len(c.AcceptKeys) > 0 {
		switch err := checkKeys(c.AcceptKeys); {
		case len(c.Key) == 0 && c.Passphrase == "":
			errs.Addf("AcceptKeys", "set without Key or Passphrase: one of them is what this node sends with")
		case len(c.AcceptKeys) >= election.MaxKeys:
			errs.Addf("AcceptKeys", "%d keys, more than %d", len(c.AcceptKeys), election.MaxKeys-1)
		case err != nil:
			errs.Addf("AcceptKeys", "%w", err)
		}
	}
	c.keyring = newKeyring(c.Cluster, c.Key, c.Passphrase, c.AcceptKeys)
	switch {
	case c.MinMembers < 0:
		errs.Addf("MinMembers", "%d is negative", c.MinMembers)
	case c.MinMembers > 1 && c.Membership == Alone:
		errs.Addf("MinMembers", "%d members are never there with Alone", c.MinMembers)
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
	c.Logger = cmp.Or(c.Logger, slog.New(slog.DiscardHandler))
	errs.Merge("Profile", c.Profile.validate())
	if c.Lease > maxLoopStall {
		errs.Addf("Lease", "%v is longer than the %v within which the loop must turn", c.Lease, maxLoopStall)
	}
	c.Lease = cmp.Or(c.Lease, DefaultLease)
	errs.Merge("", c.open())
	return c, errs.Err()
}

// open makes what the configuration leaves to this package: it opens nothing.
func (c *Config) open() error {
	var errs conferr.List
	c.log = asynclog.New(c.Logger.Handler())
	if c.Announcer == nil {
		a, err := announce.New(announce.Config{Bind: c.Bind, Logger: c.log.Logger})
		errs.Merge("", err)
		c.Announcer = a
	}
	if _, wire := c.Announcer.(*announce.Announcer); c.Segment == nil && wire && c.Membership != Alone {
		p := c.Profile.filled()
		sg, err := segment.New(segment.Config{Interval: p.Beat, Misses: p.Misses, Logger: c.log.Logger})
		errs.Merge("Profile", err)
		c.Segment = sg
	}
	if c.Segment == nil {
		c.Segment = NoSegment
	}
	if c.Membership == nil && c.Segment == NoSegment {
		errs.Addf("Membership", "required where there is no segment: gossip.New for a cluster, or l2vip.Alone for one node, on purpose")
	}
	if c.Membership == nil {
		c.Membership = noMembership{}
	}
	return errs.Err()
}

// settings returns what the core decides by.
func (c *Config) settings(instance uint64) *core.Settings {
	s := &core.Settings{
		Name: c.Name, Instance: instance, Labels: c.Labels, MinMembers: c.MinMembers,
		Failback: c.Failback, StartHold: c.StartHold, HandoverTimeout: c.HandoverTimeout,
		Yield: c.Strangers == Yield, KernelAnswers: c.Bind == announce.Interface, Alone: c.Membership == Alone,
	}
	if c.Segment != NoSegment {
		s.Detection = c.Profile.Detection()
	}
	return s
}

const (
	// maxName bounds the names that travel between members, in bytes.
	maxName = 128
	// minKey is the least length of a key, in bytes.
	minKey = 16
)

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

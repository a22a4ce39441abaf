package gossip

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/l2vip/l2vip/election"
)

// Gossip is a membership engine. [New] makes one, [Gossip.Run] runs it once. Its
// methods may be called from any goroutine.
type Gossip struct {
	cfg   Config
	peers []peer

	mu        sync.Mutex
	published *election.Offer // the last one, until an engine takes it
	engine    *engine         // nil before Run
	count     counters

	clock func() time.Time // the wall clock
}

// ErrNotJoined is what [Gossip.Sync] returns while [Gossip.Run] does not run, or
// has not joined yet.
var ErrNotJoined = errors.New("gossip: not joined")

// New returns an engine that is not running yet. It only checks the
// configuration: its error joins all findings, each a [*ConfigError].
func New(cfg Config) (*Gossip, error) {
	peers, err := cfg.settle()
	if err != nil {
		return nil, err
	}
	return &Gossip{cfg: cfg, peers: peers, clock: time.Now}, nil
}

// Run joins the cluster as the member local and calls report with all other live
// members, sorted by name, whenever they or their offers change.
//
// The member's and the cluster's name have at most 128 bytes; if the latter is empty, it
// is "l2vip". The keys for the purpose "gossip" encrypt and authenticate
// everything with AES-GCM, and may be replaced at any time; without one, whatever reaches
// the port may join. Addresses that local.Learned delivers are joined like Config.Peers,
// but one at which no member has been for five minutes is forgotten, and so are those that
// were delivered the longest ago when there are more than 256.
//
// The first call of report comes when this member has joined another, or when
// every peer has failed once, so that it is alone for now. A member whose offer is
// not known yet, or only that of an earlier start, has an offer with nothing but
// its name. Each call gets a slice of its own; the offers in it are shared and
// never change. The calls come one after the other from one goroutine, and the
// last one always has the newest state. report must not block; it may call
// [Gossip.Publish].
//
// The sockets are opened on the goroutine that calls Run. Run returns nil after
// ctx ended: it tells the others that it leaves, which takes at most half a second,
// and ends all that it started, which takes at most 2.1 × ProbeInterval, and 100 ms
// more if the log handler hangs. It returns an error if a socket cannot be opened
// or is closed under it, if local breaks a rule, or if it runs or has run before.
func (g *Gossip) Run(ctx context.Context, local election.Local, report func(election.Membership)) error {
	cluster, err := identity(&local)
	if err != nil {
		return fmt.Errorf("gossip: %w", err)
	}
	e := newEngine(g, &local, cluster, report)
	g.mu.Lock()
	if g.engine != nil {
		g.mu.Unlock()
		return errors.New("gossip: Run may be called only once")
	}
	g.engine = e
	if g.published != nil {
		e.own.pending = g.published
	}
	g.mu.Unlock()
	return e.run(ctx)
}

// Publish makes o the offer of this member, whole, and returns at once. The
// engine sends it to every live member directly, and to those that come later.
//
// The engine sets Node; Instance and Revision travel as the caller has set them. An offer
// of more than [election.MaxEntries] entries or 4 MiB is counted, and not sent. An
// offer that is the same as the one before, with its Instance and Revision, is not
// sent again, unless another member asks for it, having taken this one for dead; so
// publish again whenever report is called. o and what it refers to must not change
// afterwards. Publish may be called before [Gossip.Run].
func (g *Gossip) Publish(o election.Offer) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.published = &o
	if g.engine != nil {
		g.engine.publish(&o)
	}
}

// Sync exchanges everything with a live member, and returns when report was
// called with what came of it. It returns nil also if no other member is live,
// and an error if there are some and none answers, or if ctx ends before, or
// [ErrNotJoined].
//
// Meanwhile each of Config.Peers, and of the peers that were learned, that is
// missing gets one chance to be joined: so the halves of a partition that has just
// healed know each other. Sync waits for that as long as for the answer to a probe,
// 0.3 × ProbeInterval, and it is no error if no member is there.
func (g *Gossip) Sync(ctx context.Context) error {
	g.mu.Lock()
	e := g.engine
	g.mu.Unlock()
	if e == nil {
		return ErrNotJoined
	}
	return e.sync(ctx)
}

// Stats returns what has happened so far.
func (g *Gossip) Stats() Stats {
	g.mu.Lock()
	e := g.engine
	g.mu.Unlock()
	members := 0
	if e != nil {
		members = int(e.table.live.Load())
	}
	return g.count.read(members)
}

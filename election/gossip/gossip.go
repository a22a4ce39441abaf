package gossip

import (
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/l2vip/l2vip/election"
)

// Gossip is a membership engine. [New] makes one, [Gossip.Run] runs it once. Its
// methods may be called from any goroutine.
type Gossip struct {
	cfg   Config
	peers []peer
	met   met
	key   func() []byte // the cluster's; found once, as that takes its time

	mu        sync.Mutex
	published *election.Offer // the last one, until an engine takes it
	engine    *engine         // nil before Run
	endpoint  netip.AddrPort  // where others reach this member, once Run knows
	vouched   map[string]bool // the members that somebody vouches for; never changed
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
	g := &Gossip{cfg: cfg, peers: peers, met: newMet(), clock: time.Now}
	g.key = sync.OnceValue(g.cfg.key)
	return g, nil
}

// Run joins the cluster under the name self and calls update with the offers of
// all other live members, sorted by name, whenever they change.
//
// The first call comes when this member has joined another, or when every peer
// has failed once, so that it is alone for now. A member whose offer is not
// known yet, or only that of an earlier start, has an offer with nothing but its
// name. Each call gets a slice of its own; the offers in it are shared and never
// change. The calls come one after the other from one goroutine, and the last
// one always has the newest state. update must not block; it may call
// [Gossip.Publish].
//
// The sockets are opened on the goroutine that calls Run. Run returns nil some
// time after ctx ended: it tells the others that it leaves, which takes at most
// half a second, and ends all that it started. It returns an error if a socket
// cannot be opened or is closed under it, if self is no name, or if it runs or
// has run before.
func (g *Gossip) Run(ctx context.Context, self string, update func([]election.Offer)) error {
	if err := badName(self); err != nil {
		return fmt.Errorf("gossip: %w", err)
	}
	e := newEngine(g, self, update)
	g.mu.Lock()
	if g.engine != nil {
		g.mu.Unlock()
		return errors.New("gossip: Run may be called only once")
	}
	g.engine = e
	if g.published != nil {
		e.publish(g.published)
	}
	g.mu.Unlock()
	return e.run(ctx)
}

// Publish makes o the offer of this member, whole, and returns at once. The
// engine sends it to every live member directly, and to those that come later.
//
// The engine sets Node, Instance and Revision. An offer that says the same as the
// one before is not sent again, unless another member asks for it, having taken
// this one for dead; so publish again whenever update is called. o and what it refers to must not change afterwards. Publish may be
// called before [Gossip.Run].
func (g *Gossip) Publish(o election.Offer) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.published = &o
	if g.engine != nil {
		g.engine.publish(&o)
	}
}

// Meet says that another member listens at addr. It is joined like one of
// Config.Peers: at once, and again for as long as it is missing, but not for ever.
// If no member has been there for five minutes, and nobody says again that there
// is one, the address is forgotten. So are those that were told the longest ago
// when there are more than 256.
//
// Meet never blocks, and may be called at any time, as often as somebody hears of
// a member; one that is live already costs nothing. This member's own address is
// ignored, and so is one that nobody can listen at.
func (g *Gossip) Meet(addr netip.AddrPort) {
	addr = netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port())
	if !addr.IsValid() || addr.Port() == 0 || addr.Addr().IsUnspecified() || unsuitable(addr.Addr()) != nil {
		return
	}
	for i := range g.peers {
		if g.peers[i].addr == addr {
			return
		}
	}
	g.met.tell(addr, time.Now())
}

// Vouch replaces the list of the members that are known to run by other means, as
// package election/heartbeat hears them. On a machine that is so busy that the
// answers to its probes come late, memberlist takes members for dead that are not.
// One that is vouched for is asked, and joined again, for half a minute before it is
// given up. Vouch never blocks.
func (g *Gossip) Vouch(nodes []string) {
	vouched := make(map[string]bool, len(nodes))
	for _, node := range nodes {
		vouched[node] = true
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.vouched = vouched
}

// isVouched reports whether the member is vouched for.
func (g *Gossip) isVouched(node string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.vouched[node]
}

// Endpoint returns where other members reach this one, which is what their Meet
// is to be told: the advertised address and the port. It is the zero AddrPort
// until Run knows it, which it does before it calls update.
func (g *Gossip) Endpoint() netip.AddrPort {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.endpoint
}

func (g *Gossip) setEndpoint(addr netip.AddrPort) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.endpoint = addr
}

// Cluster returns the cluster's name.
func (g *Gossip) Cluster() string { return g.cfg.Cluster }

// Derive returns a key of 32 bytes for another protocol between the members of
// this cluster, named by purpose. All members find the same one, and neither the
// cluster's key nor that of another purpose follows from it. It is nil if the
// cluster has no key. With a Passphrase the first call takes some ten
// milliseconds.
func (g *Gossip) Derive(purpose string) []byte {
	secret := g.key()
	if len(secret) == 0 {
		return nil
	}
	// RFC 5869. Part of the protocol.
	info := "github.com/l2vip/l2vip gossip 1 for " + purpose
	key, err := hkdf.Key(sha256.New, secret, []byte(g.cfg.Cluster), info, sha256.Size)
	if err != nil {
		panic(err) // never at this length; nil would mean that there is no key
	}
	return key
}

// Sync exchanges everything with a live member, and returns when update was
// called with what came of it. It returns nil also if no other member is live,
// and an error if there are some and none answers, or if ctx ends before, or
// [ErrNotJoined].
//
// Meanwhile each of Config.Peers, and of those that [Gossip.Meet] told of, that is
// missing gets one chance to be joined: so the halves of a partition that has just
// healed know each other. Sync waits for that as long as for the answer to a probe,
// 0.3 × ProbeInterval, and it is no error if nobody is there.
func (g *Gossip) Sync(ctx context.Context) error {
	g.mu.Lock()
	e := g.engine
	g.mu.Unlock()
	if e == nil {
		return ErrNotJoined
	}
	return e.sync(ctx)
}

// Detection returns the shortest time after which the other members may declare
// this one dead, counted from when it was last able to answer: one ProbeInterval
// for the probe that fails and three for the suspicion,
//
//	(1 + 3) × ProbeInterval × 1
//
// where the last factor grows with the cluster, to log10 of the number of
// members from the eleventh on. It holds if the network loses nothing; a member
// that loses datagrams for long may be suspected while it runs.
func (g *Gossip) Detection() time.Duration {
	return (1 + suspicionMult) * g.cfg.ProbeInterval
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

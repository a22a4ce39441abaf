package gossip

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/l2vip/l2vip/election"
	"github.com/l2vip/l2vip/internal/testnet/memnet"
)

// node is an engine that runs, and what it has said so far.
type node struct {
	*Gossip
	name    string
	local   election.Local
	learned chan netip.AddrPort // local.Learned
	stop    context.CancelFunc
	done    chan error

	mu      sync.Mutex
	own     *election.Offer // published last
	told    election.Membership
	reports int
	watch   func(election.Membership)
}

// start runs an engine until the test ends or its stop is called.
func start(t *testing.T, name string, cfg Config, options ...func(*node)) *node {
	t.Helper()
	g, err := New(cfg)
	require.NoError(t, err)
	ctx, stop := context.WithCancel(context.Background())
	n := &node{Gossip: g, name: name, stop: stop, done: make(chan error, 1), learned: make(chan netip.AddrPort, 8)}
	n.local = election.Local{Name: name, Learned: n.learned}
	for _, option := range options {
		option(n)
	}
	go func() { n.done <- g.Run(ctx, n.local, n.report) }()
	t.Cleanup(func() { n.stop() })
	return n
}

// at sets the wall clock of a node to that many seconds after the epoch of
// 1970, for ever.
func at(seconds int64) func(*node) {
	return func(n *node) { n.clock = func() time.Time { return time.Unix(seconds, 0) } }
}

// in makes a node a member of a cluster.
func in(cluster string) func(*node) {
	return func(n *node) { n.local.Cluster = cluster }
}

// keyed gives a node's cluster a secret.
func keyed(secret string) func(*node) {
	keys := keysOf(secret)
	return func(n *node) { n.local.Keys = func(string) *election.Keys { return keys } }
}

// keysOf returns the keys that follow from secrets.
func keysOf(secrets ...string) *election.Keys {
	var keys [][election.KeySize]byte
	for _, secret := range secrets {
		keys = append(keys, sha256.Sum256([]byte(secret)))
	}
	return election.NewKeys(keys...)
}

// offering publishes an offer before the engine runs.
func offering(o election.Offer) func(*node) {
	return func(n *node) { n.Publish(o) }
}

// watching calls fn with every report.
func watching(fn func(election.Membership)) func(*node) {
	return func(n *node) { n.watch = fn }
}

// Publish publishes an offer, and keeps it to say it again.
func (n *node) Publish(o election.Offer) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.own = &o
	n.Gossip.Publish(o)
}

// report keeps what the engine says, and publishes again as a Runner does.
func (n *node) report(m election.Membership) {
	if n.watch != nil {
		n.watch(m)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.told = m
	n.reports++
	if n.own != nil {
		n.Gossip.Publish(*n.own)
	}
}

// leave stops the engine and waits until it has gone.
func (n *node) leave(t *testing.T) {
	t.Helper()
	n.stop()
	require.NoError(t, <-n.done)
}

// latest returns the offers of the last report, and how many reports there were.
func (n *node) latest() ([]election.Offer, int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.told.Offers, n.reports
}

// endpoint returns where others reach the node, once it has said so.
func (n *node) endpoint() netip.AddrPort {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.told.Endpoint
}

// sees returns the node's latest offer of another, if that is live.
func (n *node) sees(name string) (election.Offer, bool) {
	offers, _ := n.latest()
	for _, o := range offers {
		if o.Node == name {
			return o, true
		}
	}
	return election.Offer{}, false
}

// saw returns a condition: n has that offer of the other's; see offer.
func (n *node) saw(name string, revision uint64) func() bool {
	return func() bool {
		o, ok := n.sees(name)
		return ok && o.Config == revision
	}
}

// misses returns a condition: n does not see the other.
func (n *node) misses(name string) func() bool {
	return func() bool {
		_, ok := n.sees(name)
		return !ok
	}
}

// complete returns a condition: all have the offers of all, of the revision.
func complete(nodes []*node, revision uint64) func() bool {
	return func() bool {
		for _, n := range nodes {
			offers, reports := n.latest()
			if reports == 0 || len(offers) != len(nodes)-1 {
				return false
			}
			for _, o := range offers {
				if o.Config != revision {
					return false
				}
			}
		}
		return true
	}
}

// within waits until cond holds, and returns how long that took.
func within(t *testing.T, limit time.Duration, cond func() bool, what ...any) time.Duration {
	t.Helper()
	began := time.Now()
	for !cond() {
		if time.Since(began) > limit {
			require.FailNow(t, "not within "+limit.String(), what...)
		}
		time.Sleep(time.Millisecond)
	}
	return time.Since(began)
}

// patience bounds waits in real time: only a test that fails needs it.
const patience = 20 * time.Second

// offer returns a small offer.
func offer(revision uint64) election.Offer {
	return election.Offer{
		Config:  revision,
		Labels:  map[string]string{"role": "front"},
		Entries: []election.Entry{{Addr: netip.MustParseAddr("192.168.122.100"), Service: "web", Term: revision}},
	}
}

// largeOffer returns an offer with that many entries.
func largeOffer(revision uint64, entries int) election.Offer {
	o := election.Offer{Config: revision}
	addr := netip.MustParseAddr("10.0.0.0")
	for i := range entries {
		addr = addr.Next()
		o.Entries = append(o.Entries, election.Entry{Addr: addr, Service: fmt.Sprintf("service-%d", i), Term: revision})
	}
	return o
}

// sim is a cluster on a network in memory.
type sim struct {
	*memnet.Network
	t     *testing.T
	peers []string
}

// newSim returns a network; the first that many nodes are the peers of all.
func newSim(t *testing.T, peers int) *sim {
	s := &sim{Network: memnet.NewNetwork(memnet.NetworkConfig{}), t: t}
	for i := range peers {
		s.peers = append(s.peers, simAddr(i).String())
	}
	return s
}

func simAddr(i int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, 0, byte(i / 200), byte(1 + i%200)})
}

func simEndpoint(i int) netip.AddrPort { return netip.AddrPortFrom(simAddr(i), defaultPort) }

// node starts the engine of host i, named after it.
func (s *sim) node(i int, options ...func(*node)) *node {
	s.t.Helper()
	return s.named(i, fmt.Sprintf("node-%d", i), options...)
}

func (s *sim) named(i int, name string, options ...func(*node)) *node {
	s.t.Helper()
	cfg := Config{Peers: s.peers, Network: s.Host(simAddr(i))}
	return start(s.t, name, cfg, append([]func(*node){offering(offer(1))}, options...)...)
}

// stranger starts a member at host i that has no peers.
func (s *sim) stranger(i int, options ...func(*node)) *node {
	s.t.Helper()
	cfg := Config{Network: s.Host(simAddr(i)), Advertise: simAddr(i)}
	return start(s.t, fmt.Sprintf("node-%d", i), cfg, append([]func(*node){offering(offer(1))}, options...)...)
}

// cluster starts that many nodes and waits until they know each other.
func (s *sim) cluster(size int) []*node {
	s.t.Helper()
	var nodes []*node
	for i := range size {
		nodes = append(nodes, s.node(i))
	}
	within(s.t, 10*time.Second, complete(nodes, 1))
	return nodes
}

// end stops the nodes, as a bubble ends only when everything in it has.
func end(nodes ...*node) {
	for _, n := range nodes {
		n.stop()
	}
	for _, n := range nodes {
		<-n.done
	}
}

package l2vip_test

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/l2vip/l2vip"
	"github.com/l2vip/l2vip/election"
	"github.com/l2vip/l2vip/election/gossip"
	"github.com/l2vip/l2vip/health"
	"github.com/l2vip/l2vip/internal/testnet/memnet"
)

// cluster is whole Runners with real gossip on a network in memory, for tests in
// a synctest bubble: hours pass in an instant, and nothing is left to chance.
type cluster struct {
	*testing.T
	network *memnet.Network
	segment *segment
	nodes   []*node
	rest    sync.WaitGroup // what is left of processes that were killed
}

// node is a Runner in a cluster.
type node struct {
	*l2vip.Runner
	name    string
	host    *memnet.Host
	station *station
	app     *health.Switch
	stop    func() error // cancels Run and returns what it returned
	gate    *gate
	frozen  bool
}

// gate is a Membership that can hold the Runner up: a process that is stopped.
type gate struct {
	*gossip.Gossip
	open atomic.Pointer[chan struct{}] // closed if it is open
}

func (g *gate) Publish(o election.Offer) {
	<-*g.open.Load()
	g.Gossip.Publish(o)
}

// shut makes the gate hold the Runner up until open is closed.
func (g *gate) shut() (open chan struct{}) {
	open = make(chan struct{})
	g.open.Store(&open)
	return open
}

// freeze stops a node's process. The others don't hear from it, and what it would
// have received is lost.
func (c *cluster) freeze(n *node) {
	n.frozen = true
	n.gate.shut()
	n.station.set(func(st *station) { st.stopped = true })
	c.wire()
}

// resume lets a process that was stopped go on.
func (c *cluster) resume(n *node) {
	n.frozen = false
	n.station.set(func(st *station) { st.stopped = false })
	c.wire()
	close(*n.gate.open.Load())
}

// newCluster starts n nodes, each changed by what configure does to its
// configuration, which announces vip. It waits until one holds it.
func newCluster(t *testing.T, n int, configure func(i int, c *l2vip.Config)) *cluster {
	c := &cluster{T: t, network: memnet.NewNetwork(memnet.NetworkConfig{}), segment: newSegment()}
	for i := range n {
		c.nodes = append(c.nodes, &node{name: fmt.Sprintf("front-%d", i), host: c.network.Host(nodeAddr(i))})
		c.start(i, configure)
	}
	t.Cleanup(func() {
		for _, n := range c.nodes {
			require.NoError(t, n.stop())
		}
		c.rest.Wait()
	})
	c.settle()
	return c
}

// start starts the i-th node, for the first time or anew.
func (c *cluster) start(i int, configure func(i int, c *l2vip.Config)) {
	n := c.nodes[i]
	peers := make([]string, len(c.nodes))
	for j := range peers {
		peers[j] = nodeAddr(j).String()
	}
	g, err := gossip.New(gossip.Config{Peers: append(peers, nodeAddr(0).String()), Advertise: nodeAddr(i), Network: n.host})
	require.NoError(c, err)
	n.gate = &gate{Gossip: g}
	close(n.gate.shut())
	n.station = c.segment.station(n.name)
	n.app = new(health.Switch)
	n.app.Set(health.State{Ready: true})
	config := l2vip.Config{
		Name: n.name, Interfaces: []string{"eth0"}, Membership: n.gate, Announcer: n.station,
		Services: []l2vip.Service{{Name: "web", Addresses: []netip.Addr{vip}, Health: n.app}},
	}
	if configure != nil {
		configure(i, &config)
	}
	n.Runner, err = l2vip.New(config)
	require.NoError(c, err)

	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- n.Run(ctx) }()
	n.stop = sync.OnceValue(func() error {
		cancel()
		return <-ended
	})
	<-n.Ready()
}

// kill ends a node's process: what it held open is gone, nobody is told.
func (c *cluster) kill(n *node) {
	n.station.set(func(st *station) { st.dead = true })
	n.host.Crash()
	stop := n.stop
	n.stop = func() error { return nil }
	c.rest.Go(func() { _ = stop() }) // it has nothing left to work with
}

// settle lets enough time pass for everything to have been said.
func (c *cluster) settle() {
	time.Sleep(3 * time.Second)
	synctest.Wait()
}

// holder returns the one node that answers for vip; every node must agree.
func (c *cluster) holder() *node {
	c.Helper()
	names := c.segment.answering(vip)
	require.Len(c, names, 1, "exactly one node answers:\n%s", c.explain())
	for _, n := range c.nodes {
		if n.name == names[0] {
			require.Equal(c, n.name, c.segment.last(vip), "the holder has the last word on the wire")
			return n
		}
	}
	require.Fail(c, "a stranger answers", names[0])
	return nil
}

func (c *cluster) explain() string {
	var b strings.Builder
	for _, n := range c.nodes {
		fmt.Fprintf(&b, "%s: %s", n.name, n.Status().Explain(vip))
	}
	return b.String()
}

// gap returns for how long at a stretch nobody answered, and for how long more
// than one did, while event happens and d passes.
func (c *cluster) gap(d time.Duration, event func()) (none, several time.Duration) {
	const step = time.Millisecond
	over := make(chan struct{})
	go func() {
		defer close(over)
		event()
	}()
	var run time.Duration
	for range d / step {
		switch len(c.segment.answering(vip)) {
		case 0:
			run += step
			none = max(none, run)
		case 1:
			run = 0
		default:
			run = 0
			several += step
		}
		time.Sleep(step)
	}
	<-over
	synctest.Wait()
	return none, several
}

// cut lets a node's switch port forward nothing: it goes on, but nobody hears it.
func (c *cluster) cut(n *node) {
	n.station.set(func(st *station) { st.side = c.alone(n) })
	c.wire()
}

// alone returns the side that only n is ever on.
func (c *cluster) alone(n *node) int { return slices.Index(c.nodes, n) + 1 }

// unplug cuts a node, which sees that its link has no carrier.
func (c *cluster) unplug(n *node) {
	c.cut(n)
	n.station.set(func(st *station) { st.down = true })
}

// heal plugs every node in again.
func (c *cluster) heal() {
	for _, n := range c.nodes {
		n.station.set(func(st *station) { st.side, st.down = 0, false })
	}
	c.wire()
}

// wire lets the members reach each other where the stations do.
func (c *cluster) wire() {
	sides := make(map[int][]netip.Addr)
	for _, n := range c.nodes {
		side := n.side()
		if n.frozen {
			side = c.alone(n)
		}
		sides[side] = append(sides[side], n.host.Addr())
	}
	c.network.Partition(slices.Collect(maps.Values(sides))...)
}

// side returns the side that the node is on.
func (n *node) side() (side int) {
	n.station.set(func(st *station) { side = st.side })
	return side
}

// bubble runs a test of a cluster in a synctest bubble.
func bubble(t *testing.T, test func(*testing.T)) {
	t.Helper()
	synctest.Test(t, test)
}

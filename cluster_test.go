package l2vip_test

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/l2vip/l2vip"
	"github.com/l2vip/l2vip/election"
	"github.com/l2vip/l2vip/election/gossip"
	"github.com/l2vip/l2vip/election/segment"
	"github.com/l2vip/l2vip/health"
	"github.com/l2vip/l2vip/internal/testnet/memnet"
	"github.com/l2vip/l2vip/internal/testnet/memnet/segmentnet"
)

var clusterLog = flag.Bool("cluster.log", false, "let all nodes of clusters log to standard error")

// engines is how the members of a cluster know each other.
type engines uint8

const (
	segmentAlone engines = iota
	segmentAndGossip
	gossipAlone
)

func (e engines) String() string {
	return [...]string{"segment alone", "segment and gossip", "gossip alone"}[e]
}

// layout is what a cluster is made of, besides its nodes. The zero value is a segment
// with clients.
type layout struct {
	engines   engines
	networks  int // that the nodes are plugged into; if zero, one
	noClients bool
}

// cluster is whole Runners on networks in memory, for tests in a synctest bubble:
// hours pass in an instant, and nothing is left to chance.
type cluster struct {
	*testing.T
	layout
	lan     *lan
	network *memnet.Network // of the membership engines
	blocked bool            // which reach each other nowhere
	nodes   []*node
	rest    sync.WaitGroup // what is left of processes that were killed
}

// node is a Runner in a cluster.
type node struct {
	*l2vip.Runner
	name    string
	host    *memnet.Host
	machine *memnet.Station
	process *memnet.Process
	station *station
	app     *health.Switch
	stop    func() error // cancels Run and returns what it returned
	frozen  bool
}

// gatedMembership is a membership engine that can hold the Runner up.
type gatedMembership struct {
	l2vip.Membership
	gate *gate
}

func (g gatedMembership) Publish(o election.Offer) {
	g.gate.pass()
	g.Membership.Publish(o)
}

// hang keeps the loop of a node from running; the thread that beats goes on.
func (c *cluster) hang(n *node) { n.station.gate.shut() }

// unhang ends that.
func (c *cluster) unhang(n *node) { n.station.gate.release() }

// freeze stops a node's process. The others don't hear from it, and what it would
// have received waits in its sockets, or is lost.
func (c *cluster) freeze(n *node) {
	c.hang(n)
	n.frozen = true
	n.process.Stop()
	c.wire()
}

// resume lets a process that was stopped go on.
func (c *cluster) resume(n *node) {
	n.frozen = false
	n.process.Continue()
	c.wire()
	c.unhang(n)
	n.station.wake()
}

// newCluster starts n nodes on a segment with clients, each changed by what configure
// does to its configuration, which announces vip. It waits until one holds it.
func newCluster(t *testing.T, n int, configure func(i int, c *l2vip.Config)) *cluster {
	return newClusterOf(t, layout{}, n, configure)
}

func newClusterOf(t *testing.T, of layout, n int, configure func(i int, c *l2vip.Config)) *cluster {
	c := &cluster{T: t, layout: of, network: memnet.NewNetwork(memnet.NetworkConfig{}), lan: newLAN(max(1, of.networks))}
	if of.noClients {
		c.lan.noClients()
	}
	for i := range n {
		c.add(fmt.Sprintf("front-%d", i))
	}
	for i := range n {
		c.start(i, configure)
	}
	t.Cleanup(func() {
		for _, n := range c.nodes {
			n.process.Continue()
			c.unhang(n)
			require.NoError(t, n.stop())
		}
		c.rest.Wait()
	})
	for _, n := range c.nodes {
		<-n.Ready()
	}
	c.settle()
	return c
}

// add plugs in a machine for another node.
func (c *cluster) add(name string) *node {
	i := len(c.nodes)
	n := &node{name: name, host: c.network.Host(nodeAddr(i)), machine: c.lan.machine(name, 10+i), stop: func() error { return nil }}
	c.nodes = append(c.nodes, n)
	return n
}

// start starts the i-th node, for the first time or anew.
func (c *cluster) start(i int, configure func(i int, c *l2vip.Config)) {
	n := c.nodes[i]
	n.process = n.machine.Start()
	n.station = c.lan.station(n.name, n.machine, n.process)
	n.app = new(health.Switch)
	n.app.Set(health.State{Ready: true})
	config := l2vip.Config{
		Name: n.name, Interfaces: []string{"eth0"}, Announcer: n.station,
		Services: []l2vip.Service{{Name: "web", Addresses: []netip.Addr{vip}, Health: n.app}},
	}
	var log *slog.Logger
	if *clusterLog {
		log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug})).With("node", n.name)
		config.Logger = log
	}
	if configure != nil {
		configure(i, &config)
	}
	if config.Membership == nil && c.engines != segmentAlone {
		config.Membership = c.gossip(i)
	}
	if config.Membership != nil && config.Membership != l2vip.Alone {
		config.Membership = gatedMembership{config.Membership, &n.station.gate}
	}
	switch {
	case config.Segment != nil:
	case c.engines == gossipAlone || config.Membership == l2vip.Alone:
		config.Segment = l2vip.NoSegment
	default:
		config.Segment = gatedSegment{c.segment(n, config.Profile, log), n.station}
	}
	var err error
	n.Runner, err = l2vip.New(config)
	require.NoError(c, err)
	c.run(n)
}

// run runs the Runner of a node.
func (c *cluster) run(n *node) {
	ctx, cancel := context.WithCancel(context.Background())
	ended, process := make(chan error, 1), n.process
	go func() {
		err := n.Run(ctx)
		process.Kill()
		ended <- err
	}()
	n.stop = sync.OnceValue(func() error {
		cancel()
		return <-ended
	})
}

// gossip returns a membership engine for the i-th node.
func (c *cluster) gossip(i int) l2vip.Membership {
	peers := []string{nodeAddr(0).String()}
	for j := range c.nodes {
		peers = append(peers, nodeAddr(j).String())
	}
	g, err := gossip.New(gossip.Config{Peers: peers, Advertise: nodeAddr(i), Network: c.nodes[i].host})
	require.NoError(c, err)
	c.nodes[i].process.Listen(netip.AddrPortFrom(nodeAddr(i), 7946))
	return g
}

// segment returns what beats for a node.
func (c *cluster) segment(n *node, p l2vip.Profile, log *slog.Logger) *segment.Segment {
	if p.Beat == 0 {
		p.Beat = l2vip.DefaultProfile().Beat
	}
	if p.Misses == 0 {
		p.Misses = l2vip.DefaultProfile().Misses
	}
	sg, err := segment.New(segment.Config{Interval: p.Beat, Misses: p.Misses, Ethernet: segmentnet.New(n.process), Logger: log})
	require.NoError(c, err)
	return sg
}

// kill ends a node's process: what it held open is gone, and no other is told.
func (c *cluster) kill(n *node) {
	n.process.Kill()
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
	names := c.lan.answering(vip)
	require.Len(c, names, 1, "exactly one node answers:\n%s", c.explain())
	for _, n := range c.nodes {
		if n.name == names[0] {
			require.Equal(c, n.name, c.lan.last(vip), "the holder has the last word on the wire:\n%v", c.lan.announced[vip])
			return n
		}
	}
	require.Fail(c, "a stranger answers", names[0])
	return nil
}

func (c *cluster) explain() string {
	var b strings.Builder
	for _, n := range c.nodes {
		s := n.Status()
		fmt.Fprintf(&b, "%s: %s", n.name, s.Explain(vip))
		for _, a := range s.Addresses {
			fmt.Fprintf(&b, "     %v: %s, %v, %s\n", a.Addr, a.Phase, a.Reason, a.Detail)
		}
		for _, l := range s.Segment.Links {
			fmt.Fprintf(&b, "     link %d: isolated %t, unheard %t\n", l.Index, l.Isolated, l.Unheard)
		}
		for _, p := range s.Segment.Peers {
			fmt.Fprintf(&b, "     %s: revision %d, fenced %t, holds nothing %t", p.Node, p.Revision, p.Fenced, p.HoldsNothing)
			for _, r := range p.Rows {
				fmt.Fprintf(&b, "; link %d %v, leased %t, isolated %t, unheard %t", r.Link, r.State, r.Leased, r.Isolated, r.Unheard)
			}
			b.WriteByte('\n')
		}
	}
	return b.String()
}

// gap returns for how long at a stretch no node answered, and for how long more
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
		switch len(c.lan.answering(vip)) {
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

// links returns the links of a node, one for each network.
func (n *node) links() []*memnet.Link { return n.station.links }

// put puts a node on a side of a partition, on all networks.
func (c *cluster) put(n *node, side int) {
	for _, l := range n.links() {
		l.SetSide(side)
	}
	c.wire()
}

// cut lets a node's switch port forward nothing: it goes on, but no other hears it.
func (c *cluster) cut(n *node) { c.put(n, c.alone(n)) }

// alone returns the side that only n is ever on.
func (c *cluster) alone(n *node) int { return slices.Index(c.nodes, n) + 1 }

// carrier gives a node's links a carrier or takes it away.
func (c *cluster) carrier(n *node, on bool) {
	for _, l := range n.links() {
		l.SetDown(!on)
	}
	n.station.wake()
	c.wire()
}

// unplug cuts a node, which sees that its links have no carrier.
func (c *cluster) unplug(n *node) {
	c.put(n, c.alone(n))
	c.carrier(n, false)
}

// plug ends what cut and unplug have done.
func (c *cluster) plug(n *node) {
	c.put(n, 0)
	c.carrier(n, true)
}

// deafen lets a node hear nothing on the segment, or lets it hear again; what it says
// is heard.
func (c *cluster) deafen(n *node, on bool) {
	for _, l := range n.links() {
		l.SetDeaf(on)
	}
}

// silence lets nothing that a node says on the segment be heard, or ends that; it
// hears.
func (c *cluster) silence(n *node, on bool) {
	for _, l := range n.links() {
		l.SetMute(on)
	}
}

// separate cuts two nodes from each other, or ends that. Others hear both.
func (c *cluster) separate(a, b *node, on bool) {
	for _, sw := range c.lan.switches {
		sw.SetCut(a.machine, b.machine, on)
		sw.SetCut(b.machine, a.machine, on)
	}
}

// block keeps the membership engines from reaching each other, or ends that.
func (c *cluster) block(on bool) {
	c.blocked = on
	c.wire()
}

// heal plugs every node in again, and lets it hear and be heard.
func (c *cluster) heal() {
	for i, n := range c.nodes {
		c.plug(n)
		c.deafen(n, false)
		c.silence(n, false)
		for _, other := range c.nodes[:i] {
			c.separate(n, other, false)
		}
	}
}

// wire lets the membership engines reach each other where the stations do.
func (c *cluster) wire() {
	sides := make(map[int][]netip.Addr)
	for _, n := range c.nodes {
		side := n.side()
		if n.frozen || c.blocked {
			side = c.alone(n)
		}
		sides[side] = append(sides[side], n.host.Addr())
	}
	c.network.Partition(slices.Collect(maps.Values(sides))...)
}

// side returns the side that the node is on.
func (n *node) side() int { return n.machine.Link(2).Side() }

// bubble runs a test of a cluster in a synctest bubble.
func bubble(t *testing.T, test func(*testing.T)) {
	t.Helper()
	synctest.Test(t, test)
}

// each runs a test for clusters of all kinds.
func each(t *testing.T, test func(t *testing.T, of layout)) {
	for _, e := range []engines{segmentAlone, segmentAndGossip, gossipAlone} {
		t.Run(e.String(), func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T) { test(t, layout{engines: e}) })
		})
	}
}

// others returns all nodes but n.
func (c *cluster) others(n *node) (others []*node) {
	for _, other := range c.nodes {
		if other != n {
			others = append(others, other)
		}
	}
	return others
}

// follower returns a node that does not hold vip.
func (c *cluster) follower() *node { return c.others(c.holder())[0] }

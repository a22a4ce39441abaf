package gossip

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/l2vip/l2vip/election"
)

// loopback returns addresses that are not in use.
func loopback(t *testing.T, count int) []netip.Addr {
	t.Helper()
	ln, err := net.Listen("tcp", "127.1.2.3:0")
	require.NoError(t, err, "all of 127.0.0.0/8 must be on the loopback interface")
	require.NoError(t, ln.Close())
	subnet := [4]byte{127, byte(1 + rand.IntN(250)), byte(rand.IntN(250)), 0}
	var addrs []netip.Addr
	for i := range count {
		subnet[3] = byte(1 + i)
		addrs = append(addrs, netip.AddrFrom4(subnet))
	}
	return addrs
}

// realCluster starts engines on the real network, each at an address of its own.
func realCluster(t *testing.T, addrs []netip.Addr, options ...func(*node)) []*node {
	t.Helper()
	var cfg Config
	for _, addr := range addrs {
		cfg.Peers = append(cfg.Peers, addr.String())
	}
	var nodes []*node
	for i, addr := range addrs {
		cfg.Address = addr
		nodes = append(nodes, start(t, fmt.Sprintf("node-%d", i), cfg, append(options, offering(offer(1)))...))
	}
	return nodes
}

func TestThreeEngines(t *testing.T) {
	nodes := realCluster(t, loopback(t, 3))
	within(t, patience, complete(nodes, 1))

	o, _ := nodes[0].sees("node-1")
	want := offer(1)
	want.Node = "node-1"
	require.Equal(t, want, o)

	nodes[1].Publish(offer(2))
	within(t, patience, nodes[0].saw("node-1", 2))
	within(t, patience, nodes[2].saw("node-1", 2))
	require.NoError(t, nodes[0].Sync(t.Context()))

	nodes[1].Publish(largeOffer(3, 10_000))
	within(t, patience, nodes[0].saw("node-1", 3))
	within(t, patience, nodes[2].saw("node-1", 3))
	o, _ = nodes[2].sees("node-1")
	require.Equal(t, largeOffer(3, 10_000).Entries, o.Entries)

	nodes[1].leave(t)
	within(t, patience, nodes[0].misses("node-1"))
	within(t, patience, nodes[2].misses("node-1"))
	require.Error(t, nodes[1].Run(t.Context(), election.Local{Name: "again"}, nil))

	end(nodes[0], nodes[2])
	require.Zero(t, nodes[0].Stats().Dropped.Malformed)
}

func TestEncryption(t *testing.T) {
	addrs := loopback(t, 4)
	peers := make([]string, len(addrs))
	for i, addr := range addrs {
		peers[i] = addr.String()
	}
	a := start(t, "a", Config{Peers: peers, Address: addrs[0]}, keyed("k"), offering(offer(1)))
	b := start(t, "b", Config{Peers: peers, Address: addrs[1]}, keyed("k"), offering(offer(1)))
	within(t, patience, complete([]*node{a, b}, 1))
	b.Publish(largeOffer(2, 10_000))
	within(t, patience, a.saw("b", 2))
	b.Publish(offer(3))
	within(t, patience, a.saw("b", 3))

	wrong := start(t, "wrong", Config{Peers: peers, Address: addrs[2]}, keyed("x"))
	plain := start(t, "plain", Config{Peers: peers, Address: addrs[3]})
	for _, n := range []*node{wrong, plain} {
		within(t, patience, func() bool { _, reports := n.latest(); return reports > 0 && n.Stats().Dropped.Key > 0 })
		offers, _ := n.latest()
		require.Empty(t, offers)
	}
	require.NotZero(t, a.Stats().Dropped.Key)
	require.Equal(t, 1, a.Stats().Members)
	end(a, b, wrong, plain)
}

func TestOpeningSocketsFails(t *testing.T) {
	addr := loopback(t, 1)[0]
	taken, err := net.Listen("tcp", netip.AddrPortFrom(addr, defaultPort).String())
	require.NoError(t, err)
	defer func() { _ = taken.Close() }()
	g, err := New(Config{Address: addr})
	require.NoError(t, err)
	err = g.Run(t.Context(), election.Local{Name: "node"}, func(election.Membership) {})
	require.ErrorContains(t, err, addr.String()+":7946")
	require.ErrorContains(t, err, "TCP")
	require.Error(t, g.Run(t.Context(), election.Local{Name: "node"}, nil))

	g, err = New(Config{Address: addr})
	require.NoError(t, err)
	require.Error(t, g.Run(t.Context(), election.Local{}, nil))
}

func TestAdvertise(t *testing.T) {
	for name, c := range map[string]struct {
		cfg  Config
		want string
	}{
		"as told":           {Config{Advertise: netip.MustParseAddr("192.0.2.7"), Address: netip.MustParseAddr("127.0.0.1")}, "192.0.2.7"},
		"where it listens":  {Config{Address: netip.MustParseAddr("127.0.0.9")}, "127.0.0.9"},
		"towards the peers": {Config{Address: netip.MustParseAddr("0.0.0.0"), Peers: []string{"127.0.0.1"}}, "127.0.0.1"},
	} {
		peers, err := c.cfg.settle()
		require.NoError(t, err, name)
		addr, err := c.cfg.advertise(t.Context(), peers)
		require.NoError(t, err, name)
		require.Equal(t, c.want, addr.String(), name)
	}
}

// A name of this host itself leads to a loopback address, and what leads nowhere yet is
// waited for, and told once.
func TestAdvertiseIsWaitedFor(t *testing.T) {
	var log lines
	routes := &routing{}
	cfg := Config{Network: routes, Peers: []string{"own-name", "192.168.122.12"}}
	peers, err := cfg.settle()
	require.NoError(t, err)
	synctest.Test(t, func(t *testing.T) {
		found := make(chan netip.Addr)
		go func() {
			addr, _ := cfg.awaitAdvertise(t.Context(), peers, slog.New(slog.NewTextHandler(&log, nil)))
			found <- addr
		}()
		time.Sleep(time.Minute)
		routes.set("own-name:7946", "127.0.0.1")
		time.Sleep(time.Minute)
		routes.set("192.168.122.12:7946", "fe80::1")
		time.Sleep(time.Minute)
		routes.set("192.168.122.12:7946", "192.168.122.11")
		require.Equal(t, "192.168.122.11", (<-found).String())
		require.Equal(t, 1, log.count("waiting for an address"))
	})
}

// routing is a network on which nothing is sent, that knows which address leads where.
type routing struct {
	Network
	mu sync.Mutex
	to map[string]string
}

func (r *routing) set(target, source string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.to == nil {
		r.to = make(map[string]string)
	}
	r.to[target] = source
}

func (r *routing) DialContext(_ context.Context, _, target string) (net.Conn, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if source, ok := r.to[target]; ok {
		return routed{addr: netip.AddrPortFrom(netip.MustParseAddr(source), 1)}, nil
	}
	return nil, errors.New("no route")
}

// routed is a socket of it.
type routed struct {
	net.Conn
	addr netip.AddrPort
}

func (r routed) LocalAddr() net.Addr { return net.UDPAddrFromAddrPort(r.addr) }
func (routed) Close() error          { return nil }

// lines is a handler's writer.
type lines struct {
	mu  sync.Mutex
	buf strings.Builder
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *lines) count(text string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.buf.String(), text)
}

func TestNameConflictIsRefused(t *testing.T) {
	addrs := loopback(t, 2)
	var out lines
	cfg := Config{
		Peers:   []string{addrs[0].String(), addrs[1].String()},
		Address: addrs[0],
		Logger:  slog.New(slog.NewTextHandler(&out, nil)),
	}
	refused := make(chan string, 1000)
	first := start(t, "same", cfg, func(n *node) { n.local.Refused = func(from, why string) { refused <- from + ": " + why } })
	within(t, patience, func() bool { return first.endpoint().IsValid() })
	cfg.Logger, cfg.Address = nil, addrs[1]
	second := start(t, "same", cfg)
	within(t, patience, func() bool { return first.Stats().Conflicts > 3 })
	end(first, second)
	require.Contains(t, <-refused, `: the name of another member, "same"`)
	require.Zero(t, out.count("Conflicting"))
}

func TestOwnAddressUnderAnotherName(t *testing.T) {
	// Listening everywhere, with a peer that is this very member: it is alone.
	ln, err := net.Listen("tcp", ":0")
	require.NoError(t, err)
	port := ln.Addr().(*net.TCPAddr).Port
	require.NoError(t, ln.Close())
	n := start(t, "alone", Config{Peers: []string{"localhost", "127.0.0.1"}, Advertise: netip.MustParseAddr("192.0.2.1"), Port: port})
	began := time.Now()
	within(t, patience, func() bool { return n.endpoint().IsValid() })
	t.Logf("known to be alone after %v", time.Since(began))
	offers, _ := n.latest()
	require.Empty(t, offers)
	require.Zero(t, n.Stats().Joins)
	end(n)
}

package heartbeat_test

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/l2vip/l2vip/election/heartbeat"
	"github.com/l2vip/l2vip/internal/testnet"
)

const (
	patience       = 20 * time.Second
	membershipPort = 7946
)

// member is a detector in a node.
type member struct {
	*heartbeat.Detector
	node   *testnet.Node
	cancel context.CancelFunc
	done   chan error

	mu    sync.Mutex
	peers []heartbeat.Peer
	news  chan struct{}
}

func start(t testing.TB, node *testnet.Node, c heartbeat.Config, holds bool) *member {
	t.Helper()
	d, err := heartbeat.New(c)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	m := &member{Detector: d, node: node, cancel: cancel, done: make(chan error, 1), news: make(chan struct{}, 1)}
	m.hold(holds)
	go func() { m.done <- node.Do(func() error { return d.Run(ctx, node.Name, m.report) }) }()
	t.Cleanup(func() { require.NoError(t, m.stop()) })
	return m
}

func (m *member) hold(holds bool) {
	m.Set(heartbeat.State{
		Links: []heartbeat.Link{{Index: m.node.Index, HardwareAddr: [6]byte(m.node.HardwareAddr), Addr: m.node.Addrs[0]}},
		Holds: holds, Membership: netip.AddrPortFrom(m.node.Addrs[0], membershipPort).String(), Lease: patience,
	})
}

func (m *member) report(peers []heartbeat.Peer) {
	m.mu.Lock()
	m.peers = peers
	m.mu.Unlock()
	select {
	case m.news <- struct{}{}:
	default:
	}
}

func (m *member) stop() error {
	m.cancel()
	err := <-m.done
	m.done <- err
	return err
}

// await waits until the picture is as cond wants it.
func (m *member) await(t testing.TB, cond func(map[string]heartbeat.Peer) bool) {
	t.Helper()
	timeout := time.After(patience)
	for {
		m.mu.Lock()
		picture := make(map[string]heartbeat.Peer)
		for _, p := range m.peers {
			picture[p.Node] = p
		}
		m.mu.Unlock()
		if cond(picture) {
			return
		}
		select {
		case <-m.news:
		case <-timeout:
			require.FailNow(t, "it never came to that", "%s sees %+v, %+v", m.node.Name, picture, m.Stats())
		}
	}
}

func newMembers(t testing.TB, n int, c heartbeat.Config) (*testnet.Node, []*member) {
	t.Helper()
	testnet.Require(t)
	lab, err := testnet.NewLab()
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, lab.Close()) })
	client, err := lab.AddNode("client", netip.MustParsePrefix("192.168.122.50/24"))
	require.NoError(t, err)
	var all []*member
	for i := range n {
		addr := netip.AddrFrom4([4]byte{192, 168, 122, byte(10 + i)})
		node, err := lab.AddNode([]string{"a", "b", "c"}[i], netip.PrefixFrom(addr, 24))
		require.NoError(t, err)
		all = append(all, start(t, node, c, i == 0))
	}
	for i, m := range all {
		m.await(t, func(p map[string]heartbeat.Peer) bool { return len(p) == n-1 && (i == 0 || p["a"].Holds) })
	}
	return client, all
}

func TestWireASilentHolderIsDeadAndComesBack(t *testing.T) {
	_, all := newMembers(t, 3, heartbeat.Config{Key: []byte("sixteen bytes or more")})
	require.NoError(t, all[0].node.Block())
	for _, m := range all[1:] {
		m.await(t, func(p map[string]heartbeat.Peer) bool { return p["a"].Dead })
	}
	require.NoError(t, all[0].node.Unblock())
	for _, m := range all[1:] {
		m.await(t, func(p map[string]heartbeat.Peer) bool { return !p["a"].Dead && p["a"].Holds })
	}
	require.Zero(t, all[0].Stats().Deaths, "it was cut off, and accuses nobody")
}

// A holder whose beats end while its kernel goes on has ended if nobody listens
// where its membership was, and else its process may be stopped or starved.
func TestWireAKernelTellsThatAProcessHasEnded(t *testing.T) {
	_, all := newMembers(t, 3, heartbeat.Config{})
	var listener *net.UDPConn
	require.NoError(t, all[0].node.Do(func() (err error) {
		listener, err = net.ListenUDP("udp4", &net.UDPAddr{Port: membershipPort})
		return err
	}))
	all[0].Set(heartbeat.State{}) // no more links: nothing is sent
	for _, m := range all[1:] {
		m.await(t, func(p map[string]heartbeat.Peer) bool { return p["a"].Stalled && !p["a"].Gone && p["a"].Leased })
	}
	require.NoError(t, listener.Close())
	for _, m := range all[1:] {
		m.await(t, func(p map[string]heartbeat.Peer) bool { return p["a"].Gone && !p["a"].Leased })
		require.Zero(t, m.Stats().Deaths)
	}
	all[0].hold(true)
	for _, m := range all[1:] {
		m.await(t, func(p map[string]heartbeat.Peer) bool { return !p["a"].Gone && p["a"].Leased })
	}
}

func BenchmarkDetection(b *testing.B) {
	_, all := newMembers(b, 3, heartbeat.Config{})
	var sum time.Duration
	for b.Loop() {
		time.Sleep(50 * time.Millisecond)
		began := time.Now()
		require.NoError(b, all[0].node.Block())
		all[1].await(b, func(p map[string]heartbeat.Peer) bool { return p["a"].Dead })
		sum += time.Since(began)
		require.NoError(b, all[0].node.Unblock())
		all[1].await(b, func(p map[string]heartbeat.Peer) bool { return !p["a"].Dead && p["a"].Holds })
	}
	b.ReportMetric(float64(sum.Microseconds())/float64(b.N)/1000, "ms/detection")
}

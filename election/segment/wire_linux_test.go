package segment_test

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/l2vip/l2vip/election/segment"
	"github.com/l2vip/l2vip/internal/testnet"
)

// wireMember is a Segment in a node.
type wireMember struct {
	*watcher
	node *testnet.Node
	addr netip.Addr
}

func startInNode(t testing.TB, node *testnet.Node, addr netip.Addr, key []byte, holds bool) *wireMember {
	t.Helper()
	m := &wireMember{node: node, addr: addr}
	m.watcher = newWatcher(t, segment.Config{}, node.Name, key, func(run func() error) error { return node.Do(run) })
	m.hold(holds)
	m.start(t)
	return m
}

func (m *wireMember) hold(holds bool) {
	m.set(segment.State{
		Links: []segment.Link{{Index: m.node.Index, HardwareAddr: [6]byte(m.node.HardwareAddr), Addr: m.addr}},
		Lease: longest,
	}, 3, holds)
}

func newWire(t testing.TB, n int, key []byte, v6 bool) []*wireMember {
	t.Helper()
	testnet.Require(t)
	lab, err := testnet.NewLab()
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, lab.Close()) })
	prefix := func(i int) netip.Prefix {
		if v6 {
			return netip.MustParsePrefix(fmt.Sprintf("2001:db8::%d/64", i))
		}
		return netip.MustParsePrefix(fmt.Sprintf("192.168.122.%d/24", i))
	}
	_, err = lab.AddNode("client", prefix(50))
	require.NoError(t, err)
	var all []*wireMember
	for i := range n {
		node, err := lab.AddNode([]string{"a", "b", "c"}[i], prefix(10+i))
		require.NoError(t, err)
		all = append(all, startInNode(t, node, prefix(10+i).Addr(), key, i == 0))
	}
	for _, m := range all {
		m.await(t, func(r segment.Report) bool {
			known := len(r.Peers) == n-1
			for _, p := range r.Peers {
				known = known && p.HoldsAsOffered && p.HoldsNothing == (p.Node != "a") && len(p.Offer.Entries) == 3 && !p.Rows[0].Unheard
			}
			return known
		})
	}
	return all
}

func state(r segment.Report, name string) segment.PeerState {
	for _, p := range r.Peers {
		if p.Node == name && len(p.Rows) == 1 {
			return p.Rows[0].State
		}
	}
	return segment.Left
}

func TestWireAHolderThatIsCutOffIsUnreachableAndReturns(t *testing.T) {
	for _, v6 := range []bool{false, true} {
		all := newWire(t, 3, []byte("sixteen bytes or more"), v6)
		require.NoError(t, all[0].node.Block())
		for _, m := range all[1:] {
			m.await(t, func(r segment.Report) bool { return state(r, "a") == segment.Unreachable && !r.Links[0].Isolated })
		}
		all[0].await(t, func(r segment.Report) bool { return r.Links[0].Isolated })
		require.NoError(t, all[0].node.Unblock())
		for _, m := range all {
			m.await(t, func(r segment.Report) bool {
				up := true
				for _, p := range r.Peers {
					up = up && p.Rows[0].State == segment.Up && !p.Rows[0].Unheard && !p.Rows[0].Isolated
				}
				return up && !r.Links[0].Isolated && !r.Links[0].Unheard
			})
		}
	}
}

// A holder whose beats end while its kernel goes on has ended if its port is closed, and
// else its process may be stopped or starved.
func TestWireAKernelTellsThatAProcessHasEnded(t *testing.T) {
	all := newWire(t, 3, nil, false)
	all[0].Set(segment.State{}) // no more links: nothing is sent
	for _, m := range all[1:] {
		m.await(t, func(r segment.Report) bool { return state(r, "a") == segment.Stalled && r.Peers[0].Rows[0].Leased })
	}
	all[0].cancel() // it has no link to say on that it leaves
	for _, m := range all[1:] {
		m.await(t, func(r segment.Report) bool { return state(r, "a") == segment.Ended })
		require.Zero(t, m.Stats().Unreachable)
	}
}

func TestWireALargeOfferArrives(t *testing.T) {
	all := newWire(t, 3, []byte("sixteen bytes or more"), false)
	all[0].set(all[0].said, 10_000, true)
	for _, m := range all[1:] {
		m.await(t, func(r segment.Report) bool {
			return r.Peers[0].HoldsAsOffered && len(r.Peers[0].Offer.Entries) == 10_000
		})
	}
}

func TestWireLeaving(t *testing.T) {
	all := newWire(t, 2, nil, false)
	require.NoError(t, all[0].stop())
	all[1].await(t, func(r segment.Report) bool { return state(r, "a") == segment.Left && !r.Links[0].Isolated })
}

func BenchmarkDetection(b *testing.B) {
	all := newWire(b, 3, nil, false)
	var sum time.Duration
	for b.Loop() {
		time.Sleep(50 * time.Millisecond)
		began := time.Now()
		require.NoError(b, all[0].node.Block())
		all[1].await(b, func(r segment.Report) bool { return state(r, "a") == segment.Unreachable })
		sum += time.Since(began)
		require.NoError(b, all[0].node.Unblock())
		all[1].await(b, func(r segment.Report) bool { return state(r, "a") == segment.Up })
	}
	b.ReportMetric(float64(sum.Microseconds())/float64(b.N)/1000, "ms/detection")
}

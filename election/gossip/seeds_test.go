package gossip

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/l2vip/l2vip/internal/testnet/memnet"
)

// learning delivers to a node before it runs that host i has a member.
func learning(i int) func(*node) {
	return func(n *node) { n.learned <- simEndpoint(i) }
}

// addresses returns the node's learned seeds, those first that were delivered last.
func (n *node) addresses() []netip.AddrPort { return learnedOf(n.engine.seeds) }

func learnedOf(s *seeds) (addrs []netip.AddrPort) {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := slices.SortedStableFunc(slices.Values(s.all), func(a, b *seed) int { return b.seen.Compare(a.seen) })
	for _, d := range all {
		if d.learned {
			addrs = append(addrs, d.addr)
		}
	}
	return addrs
}

func TestLearnedPeersAreJoined(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, 0)
		a := s.stranger(0)
		within(t, time.Millisecond, func() bool { return a.endpoint().IsValid() }, "no peer to wait for")
		a.learned <- simEndpoint(1)
		time.Sleep(10 * time.Second)

		// A member that was said to be there comes at last.
		b := s.stranger(1)
		within(t, dialTimeout+retryJitter, complete([]*node{a, b}, 1))

		// One is enough to find all others, at once; they hear of it by gossip.
		c := s.stranger(2)
		synctest.Wait()
		c.learned <- simEndpoint(1)
		within(t, 10*time.Millisecond, func() bool { return c.saw("node-0", 1)() && c.saw("node-1", 1)() })
		within(t, 100*time.Millisecond, complete([]*node{a, b, c}, 1))

		// Before Run is soon enough.
		d := s.stranger(3, learning(0))
		within(t, 10*time.Millisecond, d.saw("node-0", 1))
		within(t, 100*time.Millisecond, complete([]*node{a, b, c, d}, 1))

		// A member that restarts is found again by the one that had learned of it.
		s.Host(simAddr(1)).Crash()
		<-b.done
		within(t, time.Second, a.misses("node-1"))
		time.Sleep(time.Second) // else it hears of its death, refutes that, and is joined only by the next push/pull
		b = s.stranger(1)
		within(t, dialTimeout+retryJitter, complete([]*node{a, b, c, d}, 1))
		end(a, b, c, d)
	})
}

func TestUselessAddressesAreIgnored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, 2)
		n := s.node(0)
		for _, addr := range []string{
			"0.0.0.0:7946", "224.0.0.1:7946", "[fe80::1%eth0]:7946", "10.0.0.9:0",
			simEndpoint(1).String(), "[::ffff:10.0.0.2]:7946", // a peer
		} {
			n.learned <- netip.MustParseAddrPort(addr)
		}
		n.learned <- netip.AddrPort{}
		synctest.Wait()
		require.Empty(t, n.addresses())

		n.learned <- simEndpoint(0)
		time.Sleep(time.Second)
		require.Empty(t, n.addresses(), "its own")
		close(n.learned)
		end(n)
	})
}

// dials counts the streams of a host that were opened.
type dials struct {
	*memnet.Host
	count atomic.Int64
}

func (d *dials) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	d.count.Add(1)
	return d.Host.DialContext(ctx, network, address)
}

func TestLiveMemberCostsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, 0)
		counted := &dials{Host: s.Host(simAddr(0))}
		a := start(t, "node-0", Config{Network: counted, Advertise: simAddr(0)}, offering(offer(1)), learning(1))
		b := s.stranger(1)
		within(t, time.Second, complete([]*node{a, b}, 1))
		before := counted.count.Load()
		for range 60 {
			a.learned <- simEndpoint(1)
			time.Sleep(time.Second)
		}
		require.LessOrEqual(t, counted.count.Load()-before, int64(60*time.Second/pushPull), "memberlist's own")
		require.Len(t, a.addresses(), 1)
		end(a, b)
	})
}

func TestLearnedSeedsThatAreNeverThereAreForgotten(t *testing.T) {
	e := quietEngine(t) // host 0 is live
	s, now := e.seeds, time.Now()
	for i := range 3 {
		s.add(simEndpoint(i), now)
	}
	addresses := func(due []*seed) (addrs []netip.AddrPort) {
		for _, d := range due {
			addrs = append(addrs, d.addr)
		}
		return addrs
	}
	free := func() {
		for _, d := range s.all {
			d.trying = false
		}
		s.trying = 0
	}
	due, _ := s.due(now)
	require.ElementsMatch(t, []netip.AddrPort{simEndpoint(1), simEndpoint(2)}, addresses(due))
	due, _ = s.due(now.Add(time.Second))
	require.Empty(t, due, "both are being tried")
	free()

	s.add(simEndpoint(2), now.Add(learnedMemory))
	s.due(now.Add(learnedMemory + 1))
	require.ElementsMatch(t, []netip.AddrPort{simEndpoint(0), simEndpoint(2)}, learnedOf(s),
		"one is live, the other was told again")

	free()
	e.table.leave(e.table.alive("other"), now)
	s.due(now.Add(2*learnedMemory + 2))
	require.Empty(t, learnedOf(s))
}

func TestLearnedPeersAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, 0)
		counted := &dials{Host: s.Host(simAddr(0))}
		a := start(t, "node-0", Config{Network: counted, Advertise: simAddr(0)}, offering(offer(1)))
		for i := range 3 * maxLearned {
			a.learned <- simEndpoint(10 + i)
			time.Sleep(time.Microsecond)
		}
		addrs := a.addresses()
		require.Len(t, addrs, maxLearned)
		require.Equal(t, simEndpoint(10+3*maxLearned-1), addrs[0])
		require.Equal(t, simEndpoint(10+2*maxLearned), addrs[maxLearned-1], "the newest stay")

		// All are tried in turn, a few at a time.
		time.Sleep(10 * time.Second)
		attempts := counted.count.Load()
		require.LessOrEqual(t, attempts, int64(fanout*(10*time.Second/dialTimeout+2)))
		a.engine.seeds.mu.Lock()
		for _, d := range a.engine.seeds.all {
			require.Less(t, time.Since(d.tried), 5*time.Second, d.text)
		}
		a.engine.seeds.mu.Unlock()

		// They do not hold up a member that comes and is there.
		b := s.stranger(1)
		synctest.Wait()
		a.learned <- simEndpoint(1)
		within(t, dialTimeout+10*time.Millisecond, complete([]*node{a, b}, 1))
		end(a, b)
	})
}

func TestLearnedPeersOnTheRealNetwork(t *testing.T) {
	addrs := loopback(t, 2)
	a := start(t, "a", Config{Address: addrs[0]}, keyed("k"), offering(offer(1)))
	b := start(t, "b", Config{Address: addrs[1]}, keyed("k"), offering(offer(1)))
	within(t, patience, func() bool { return a.endpoint().IsValid() && b.endpoint().IsValid() })
	require.Equal(t, netip.AddrPortFrom(addrs[1], defaultPort), b.endpoint())
	a.learned <- a.endpoint()
	a.learned <- b.endpoint()
	within(t, patience, complete([]*node{a, b}, 1))
	require.NoError(t, a.Sync(t.Context()))
	end(a, b)
}

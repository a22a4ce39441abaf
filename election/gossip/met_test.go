package gossip

import (
	"context"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/l2vip/l2vip/internal/testnet/memnet"
)

// meeting makes a node meet host i before it runs.
func meeting(i int) func(*node) {
	return func(n *node) { n.Meet(simEndpoint(i)) }
}

func TestMeet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, 0)
		a := s.stranger(0)
		within(t, time.Millisecond, func() bool { _, n := a.latest(); return n > 0 }, "nobody to wait for")
		a.Meet(simEndpoint(1))
		time.Sleep(10 * time.Second)

		// Somebody who was said to be there comes at last.
		b := s.stranger(1)
		within(t, dialTimeout+retryJitter, complete([]*node{a, b}, 1))

		// One is enough to find all others, at once; they hear of it by gossip.
		c := s.stranger(2)
		synctest.Wait()
		c.Meet(simEndpoint(1))
		within(t, 10*time.Millisecond, func() bool { return c.saw("node-0", 1)() && c.saw("node-1", 1)() })
		within(t, 100*time.Millisecond, complete([]*node{a, b, c}, 1))

		// Before Run is soon enough.
		d := s.stranger(3, meeting(0))
		within(t, 10*time.Millisecond, d.saw("node-0", 1))
		within(t, 100*time.Millisecond, complete([]*node{a, b, c, d}, 1))

		// Who restarts is found again by who met it.
		s.Host(simAddr(1)).Crash()
		<-b.done
		within(t, time.Second, a.misses("node-1"))
		b = s.stranger(1)
		within(t, dialTimeout+retryJitter, complete([]*node{a, b, c, d}, 1))
		end(a, b, c, d)
		a.Meet(simEndpoint(7))
	})
}

func TestMeetIgnores(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, 2)
		n := s.node(0)
		for _, addr := range []string{
			"0.0.0.0:7946", "224.0.0.1:7946", "[fe80::1%eth0]:7946", "10.0.0.9:0",
			simEndpoint(1).String(), "[::ffff:10.0.0.2]:7946", // a peer
		} {
			n.Meet(netip.MustParseAddrPort(addr))
		}
		n.Meet(netip.AddrPort{})
		require.Empty(t, n.met.addresses())

		n.Meet(simEndpoint(0))
		time.Sleep(time.Second)
		require.Empty(t, n.met.addresses(), "its own")
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
		a := start(t, "node-0", Config{Network: counted, Advertise: simAddr(0)}, offering(offer(1)), meeting(1))
		b := s.stranger(1)
		within(t, time.Second, complete([]*node{a, b}, 1))
		before := counted.count.Load()
		for range 60 {
			a.Meet(simEndpoint(1))
			time.Sleep(time.Second)
		}
		require.LessOrEqual(t, counted.count.Load()-before, int64(60*time.Second/pushPull), "memberlist's own")
		require.Len(t, a.met.addresses(), 1)
		end(a, b)
	})
}

func TestWhoIsNeverThereIsForgotten(t *testing.T) {
	e := quietEngine(t) // host 0 is live
	e.trans = new(transport)
	m, now := &e.gossip.met, time.Now()
	for i := range 3 {
		m.tell(simEndpoint(i), now)
	}
	addrs, pause := e.due(now)
	require.ElementsMatch(t, []netip.AddrPort{simEndpoint(1), simEndpoint(2)}, addrs)
	require.Equal(t, retryPause, pause)
	addrs, _ = e.due(now.Add(time.Second))
	require.Empty(t, addrs, "both are being tried")
	clear(m.trying)

	m.tell(simEndpoint(2), now.Add(metMemory))
	e.due(now.Add(metMemory + 1))
	require.ElementsMatch(t, []netip.AddrPort{simEndpoint(0), simEndpoint(2)}, m.addresses(),
		"one is live, the other was told again")

	clear(m.trying)
	e.table.leave("other", now)
	e.due(now.Add(2*metMemory + 2))
	require.Empty(t, m.addresses())
}

func TestMetAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, 0)
		counted := &dials{Host: s.Host(simAddr(0))}
		a := start(t, "node-0", Config{Network: counted, Advertise: simAddr(0)}, offering(offer(1)))
		for i := range 3 * maxMet {
			a.Meet(simEndpoint(10 + i))
			time.Sleep(time.Microsecond)
		}
		met := a.met.addresses()
		require.Len(t, met, maxMet)
		require.Equal(t, simEndpoint(10+3*maxMet-1), met[0])
		require.Equal(t, simEndpoint(10+2*maxMet), met[maxMet-1], "the newest stay")

		// All are tried in turn, a few at a time.
		time.Sleep(10 * time.Second)
		attempts := counted.count.Load()
		require.LessOrEqual(t, attempts, int64(metFanout*(10*time.Second/dialTimeout+2)))
		a.met.mu.Lock()
		for addr, p := range a.met.places {
			require.Less(t, time.Since(p.tried), 5*time.Second, addr)
		}
		a.met.mu.Unlock()

		// They do not hold up who comes and is there.
		b := s.stranger(1)
		synctest.Wait()
		a.Meet(simEndpoint(1))
		within(t, dialTimeout+10*time.Millisecond, complete([]*node{a, b}, 1))
		end(a, b)
	})
}

func TestMembersMeetOnTheRealNetwork(t *testing.T) {
	addrs := loopback(t, 2)
	cfg := Config{Passphrase: "correct horse battery staple", Address: addrs[0]}
	a := start(t, "a", cfg, offering(offer(1)))
	cfg.Address = addrs[1]
	b := start(t, "b", cfg, offering(offer(1)))
	within(t, patience, func() bool { return a.Endpoint().IsValid() && b.Endpoint().IsValid() })
	require.Equal(t, netip.AddrPortFrom(addrs[1], defaultPort), b.Endpoint())
	require.Equal(t, a.Derive("heartbeat"), b.Derive("heartbeat"))
	a.Meet(a.Endpoint())
	a.Meet(b.Endpoint())
	within(t, patience, complete([]*node{a, b}, 1))
	require.NoError(t, a.Sync(t.Context()))
	end(a, b)
}

package testnet_test

import (
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/l2vip/l2vip/internal/testnet"
)

// solicited is the group to which neighbors of an address are asked for it.
func solicited(addr string) netip.Addr {
	group := netip.MustParseAddr("ff02::1:ff00:0").As16()
	a := netip.MustParseAddr(addr).As16()
	copy(group[13:], a[13:])
	return netip.AddrFrom16(group)
}

// reaches requires that what is sent to a group arrives at the first attempt.
func reaches(t *testing.T, from multicaster, group netip.Addr, to *testnet.Node) {
	t.Helper()
	e := openEar(t, to)
	defer e.Close()
	e.hears(t, from.say(t, group), nil)
}

// misses tells whether what is sent to a group is missing at a node to which
// what is sent later to all nodes comes through.
func misses(t *testing.T, from multicaster, group netip.Addr, at *testnet.Node) bool {
	t.Helper()
	e := openEar(t, at)
	defer e.Close()
	mark := from.say(t, group)
	return !e.hears(t, from.say(t, allNodes), mark)
}

// join joins a group with a socket.
func join(t *testing.T, n *testnet.Node, group netip.Addr) net.PacketConn {
	t.Helper()
	var c *net.UDPConn
	require.NoError(t, n.Do(func() (err error) {
		ifi := &net.Interface{Index: n.Index, Name: n.Interface}
		c, err = net.ListenMulticastUDP("udp6", ifi, &net.UDPAddr{IP: group.AsSlice(), Port: 5353})
		return err
	}))
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func TestSnoop(t *testing.T) {
	lab := newLab(t)
	a, b, c := addNode(t, lab, "a"), addNode(t, lab, "b"), addNode(t, lab, "c")
	from := newMulticaster(t, c)
	early, late := solicited("2001:db8::1234"), solicited("2001:db8::5678")

	socket := join(t, a, early)
	reaches(t, from, early, b) // everything goes everywhere
	start := time.Now()
	require.NoError(t, lab.Snoop())
	t.Logf("snoops after %v", time.Since(start))
	require.NoError(t, lab.Snoop())
	reaches(t, from, early, a)
	require.True(t, misses(t, from, early, b))
	require.True(t, misses(t, from, late, a))
	require.True(t, misses(t, from, late, b))

	// Nobody waits for the report of a group that a program joins.
	second := join(t, b, late)
	require.Eventually(t, func() bool { return !misses(t, from, late, b) }, soon, time.Millisecond)
	require.True(t, misses(t, from, late, a))

	require.NoError(t, socket.Close())
	start = time.Now()
	require.Eventually(t, func() bool { return misses(t, from, early, a) }, soon, time.Millisecond)
	t.Logf("left after %v", time.Since(start))
	reaches(t, from, late, b)
	require.NoError(t, second.Close())
	require.Eventually(t, func() bool { return misses(t, from, late, b) }, soon, time.Millisecond)
}

// What the lab's methods bring back is heard of when they return.
func TestSnoopingSwitchKnowsWhoIsThere(t *testing.T) {
	lab := newLab(t)
	from := newMulticaster(t, addNode(t, lab, "from"))
	other := addNode(t, lab, "other", "2001:db8::77/64")
	a := addNode(t, lab, "a", "2001:db8::a:1/64")
	require.NoError(t, lab.Snoop())
	b := addNode(t, lab, "b", "2001:db8::b:1/64")
	toA, toB := solicited("2001:db8::a:1"), solicited("2001:db8::b:1")
	there := func() {
		t.Helper()
		reaches(t, from, toA, a)
		reaches(t, from, toB, b)
		require.True(t, misses(t, from, toA, other))
		require.True(t, misses(t, from, toA, b))
	}
	there()
	for _, change := range []struct {
		name       string
		away, back func() error
	}{
		{"unplug", a.Unplug, a.Plug},
		{"block", a.Block, a.Unblock},
		{"split", func() error { return lab.Split(a, b) }, lab.Join},
		{"blocked over a split", func() error {
			return firstError(lab.Split(b), a.Block(), lab.Split(a))
		}, func() error { return firstError(a.Unblock(), lab.Join()) }},
	} {
		t.Run(change.name, func(t *testing.T) {
			require.NoError(t, change.away())
			start := time.Now()
			require.NoError(t, change.back())
			t.Logf("back after %v", time.Since(start))
			there()
		})
	}
	require.NoError(t, lab.Split(b))
	reaches(t, from, toA, a)
	require.NoError(t, lab.Split(a, b))
	within := newMulticaster(t, b)
	reaches(t, within, toA, a)
	require.True(t, misses(t, within, solicited("2001:db8::77"), a))
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func TestNeighborsFindEachOtherWhileTheSwitchSnoops(t *testing.T) {
	lab := newLab(t)
	require.NoError(t, lab.Snoop())
	a, b := addNode(t, lab, "a", "192.0.2.1/24", "2001:db8::1/64"), addNode(t, lab, "b", "192.0.2.2/24", "2001:db8::2/64")
	for i := range a.Addrs {
		pa, pb := nodePacket(t, a, a.Addrs[i]), nodePacket(t, b, b.Addrs[i])
		require.True(t, passes(t, pa, pb, soon))
		require.True(t, passes(t, pb, pa, soon))
	}
	require.NoError(t, lab.Close())
	require.ErrorIs(t, lab.Snoop(), os.ErrClosed)
}

package announce_test

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"

	"github.com/l2vip/l2vip/announce"
)

// problem returns a condition on the facts: what is wrong with vip.
func problem(p announce.Problem) func(announce.Facts) bool {
	return func(f announce.Facts) bool { return len(f.Addresses) > 0 && about(f, vip).Problem == p }
}

// announcedAgain waits for an announcement of vip that is not a repeat: refreshes
// are an hour apart in these tests, and the repeats are over.
func announcedAgain(t *testing.T, b *bench) {
	t.Helper()
	b.client.next(t, func(h heard) bool { return h.isGratuitous(vip) }, nil)
}

// settle waits until the repeats of vip's claim are over, so that what is
// announced afterwards has another reason.
func settle(t *testing.T, b *bench, s *speaker) {
	t.Helper()
	for n := 0; n < 12; n++ {
		b.client.next(t, func(h heard) bool { return h.isGratuitous(vip) }, nil)
	}
	eventually(t, func() bool { return s.Stats().Announced == 12 }, "the frames to be counted")
}

// Down and up, carrier lost and back, another hardware address: each is a fact,
// and neighbours are told again.
func TestLinkChanges(t *testing.T) {
	b := newBench(t)
	s := start(t, b.node, announce.Config{Refresh: time.Hour}, answering(vip)...)
	settle(t, b, s)

	t.Run("down and up", func(t *testing.T) {
		onLink(t, b.node, "eth0", netlink.LinkSetDown)
		f := s.await(t, problem(announce.LinkDown))
		require.Equal(t, "eth0: down", about(f, vip).Detail)
		require.Equal(t, "down", f.Links[0].Problem)
		require.Empty(t, about(f, vip).Links)
		onLink(t, b.node, "eth0", netlink.LinkSetUp)
		announcedAgain(t, b)
		f = s.await(t, problem(announce.NoProblem))
		require.Equal(t, []string{"eth0"}, about(f, vip).Links)
		b.client.ask(t, vip)
	})
	t.Run("carrier", func(t *testing.T) {
		before := s.Stats().Announced
		require.NoError(t, b.node.Unplug())
		f := s.await(t, problem(announce.LinkDown))
		require.Equal(t, "eth0: no carrier", about(f, vip).Detail)
		require.NoError(t, b.node.Plug())
		s.await(t, problem(announce.NoProblem))
		eventually(t, func() bool { return s.Stats().Announced > before }, "an announcement")
		b.client.ask(t, vip)
	})
	t.Run("hardware address", func(t *testing.T) {
		hw := net.HardwareAddr{2, 0, 0, 0, 0x77, 1}
		onLink(t, b.node, "eth0", func(l netlink.Link) error { return netlink.LinkSetHardwareAddr(l, hw) })
		b.client.speaker = hw
		announcedAgain(t, b)
		require.Equal(t, hw, b.client.ask(t, vip).SenderHardwareAddr)
		f := s.await(t, func(f announce.Facts) bool { return f.Links[0].HardwareAddr.String() == hw.String() })
		require.Equal(t, b.node.Index, f.Links[0].Index)
	})
	t.Run("rename", func(t *testing.T) {
		rename := func(from, to string) {
			onLink(t, b.node, from, func(l netlink.Link) error { return netlink.LinkSetName(l, to) })
		}
		rename("eth0", "lan0")
		f := s.await(t, problem(announce.NoInterface))
		require.Equal(t, "eth0: no such interface", about(f, vip).Detail)
		rename("lan0", "eth0")
		announcedAgain(t, b)
		s.await(t, problem(announce.NoProblem))
		b.client.ask(t, vip)
	})
}

// veth adds a pair of interfaces to a node: name and its peer.
func veth(t testing.TB, b *bench, name, peer string) {
	t.Helper()
	within(t, b.node, func() error {
		attrs := netlink.NewLinkAttrs()
		attrs.Name = name
		return netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: peer})
	})
}

func up(t testing.TB, b *bench, names ...string) {
	t.Helper()
	for _, name := range names {
		onLink(t, b.node, name, netlink.LinkSetUp)
	}
}

// An interface that appears is used, one that goes is a fact, one that comes back
// under the same name is another one. The others don't notice.
func TestInterfaceComesAndGoes(t *testing.T) {
	b := newBench(t)
	s := start(t, b.node, announce.Config{},
		announce.Assignment{Addr: vip, Interfaces: []string{"lan0"}, Mode: announce.Answer},
		announce.Assignment{Addr: marker, Interfaces: []string{"eth0", "lan0"}, Mode: announce.Answer},
	)
	f := s.await(t, problem(announce.NoInterface))
	require.Equal(t, "lan0: no such interface", about(f, vip).Detail)
	require.Equal(t, []announce.Link{{Name: "lan0", Problem: "no such interface"}}, f.Links[1:])
	index := 0
	for range 3 {
		veth(t, b, "lan0", "peer0")
		s.await(t, problem(announce.LinkDown))
		before := s.Stats().Announced
		up(t, b, "lan0", "peer0")
		f := s.await(t, problem(announce.NoProblem))
		require.Equal(t, []string{"eth0", "lan0"}, about(f, marker).Links)
		require.NotEqual(t, index, f.Links[1].Index)
		index = f.Links[1].Index
		eventually(t, func() bool { return s.Stats().Announced > before }, "an announcement")
		b.client.ask(t, marker)
		onLink(t, b.node, "lan0", netlink.LinkDel)
		f = s.await(t, problem(announce.NoInterface))
		require.Equal(t, announce.NoProblem, about(f, marker).Problem)
		b.client.ask(t, marker)
	}
}

// Delete and recreate faster than anyone looks.
func TestInterfaceIsReplacedAtOnce(t *testing.T) {
	b := newBench(t)
	veth(t, b, "lan0", "peer0")
	up(t, b, "lan0", "peer0")
	s := start(t, b.node, announce.Config{}, announce.Assignment{Addr: vip, Interfaces: []string{"lan0"}, Mode: announce.Answer})
	first := s.await(t, problem(announce.NoProblem)).Links[0].Index
	onLink(t, b.node, "lan0", netlink.LinkDel)
	veth(t, b, "lan0", "peer0")
	up(t, b, "lan0", "peer0")
	s.await(t, func(f announce.Facts) bool {
		return f.Links[0].Index != first && about(f, vip).Problem == announce.NoProblem
	})
}

// Without names an address belongs on the interfaces with a subnet for it, and
// follows the subnet.
func TestBySubnet(t *testing.T) {
	b := newBench(t)
	veth(t, b, "lan0", "peer0")
	up(t, b, "lan0", "peer0")
	far := netip.MustParseAddr("10.1.2.3")
	s := start(t, b.node, announce.Config{Refresh: time.Hour},
		announce.Assignment{Addr: vip, Mode: announce.Answer},
		announce.Assignment{Addr: far, Mode: announce.Answer},
	)
	f := s.await(t, problem(announce.NoProblem))
	require.Equal(t, []string{"eth0"}, about(f, vip).Links)
	require.Len(t, f.Links, 1)
	require.Equal(t, announce.NoInterface, about(f, far).Problem)
	require.Equal(t, "no interface has a subnet that contains it", about(f, far).Detail)
	require.Contains(t, f.Links[0].Prefixes, netip.MustParsePrefix("192.168.122.10/24"))

	onLink(t, b.node, "lan0", func(l netlink.Link) error { return netlink.AddrAdd(l, addrOn("10.1.2.1/24")) })
	f = s.await(t, func(f announce.Facts) bool { return about(f, far).Problem == announce.NoProblem })
	require.Equal(t, []string{"lan0"}, about(f, far).Links)
	onLink(t, b.node, "lan0", func(l netlink.Link) error { return netlink.AddrDel(l, addrOn("10.1.2.1/24")) })
	s.await(t, func(f announce.Facts) bool { return about(f, far).Problem == announce.NoInterface })

	// An interface in use already that gains the subnet announces it.
	b.client.speaker = b.node.HardwareAddr
	onLink(t, b.node, "eth0", func(l netlink.Link) error { return netlink.AddrAdd(l, addrOn("10.1.2.1/24")) })
	b.client.next(t, func(h heard) bool { return h.isGratuitous(far) }, nil)
	b.client.ask(t, far)
}

// What is no Ethernet is told, not taken for absent.
func TestNoEthernet(t *testing.T) {
	b := newBench(t)
	s := start(t, b.node, announce.Config{}, announce.Assignment{Addr: vip, Interfaces: []string{"lo"}, Mode: announce.Answer})
	require.Equal(t, "lo: no Ethernet", about(s.await(t, problem(announce.NoInterface)), vip).Detail)
}

// An address that moves to another interface in use is announced there.
func TestAssignmentMovesToAnotherInterface(t *testing.T) {
	b := newBench(t)
	veth(t, b, "lan0", "peer0")
	up(t, b, "lan0", "peer0")
	on := func(name string) []announce.Assignment {
		return []announce.Assignment{
			{Addr: vip, Interfaces: []string{name}, Mode: announce.Answer},
			{Addr: marker, Interfaces: []string{"eth0", "lan0"}, Mode: announce.Answer},
		}
	}
	s := start(t, b.node, announce.Config{}, on("lan0")...)
	s.ready(t, 2)
	b.client.silent(t, vip)
	b.client.refused(t, vip)
	require.NoError(t, s.Set(on("eth0")))
	b.client.next(t, func(h heard) bool { return h.isGratuitous(vip) }, nil)
	b.client.ask(t, vip)
}

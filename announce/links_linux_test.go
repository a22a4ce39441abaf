package announce_test

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mdlayher/arp"
	"github.com/mdlayher/ethernet"
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
	t.Parallel()
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

// An interface that is renamed, and whose names the assignment stands for, is the
// same one to neighbors: each request is answered meanwhile, and nothing is
// announced anew.
func TestRenameWithinAPattern(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	list := answering(vip)
	list[0].Interfaces = []string{"eth*"}
	s := start(t, b.node, announce.Config{Refresh: time.Hour, RivalProbe: time.Hour}, list...)
	settle(t, b, s)
	from := "eth0"
	for _, to := range []string{"eth1", "eth22", "eth0"} {
		onLink(t, b.node, from, func(l netlink.Link) error { return netlink.LinkSetName(l, to) })
		from = to
		for range 20 {
			b.client.ask(t, vip)
		}
		f := s.await(t, func(f announce.Facts) bool { return about(f, vip).Links[0] == to })
		require.Equal(t, to, f.Links[0].Name)
		b.client.ask(t, vip)
	}
	require.EqualValues(t, 12, s.Stats().Announced)
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

// The first and the last address of an interface's own subnet are nobody's.
func TestNetworkAndBroadcastAddresses(t *testing.T) {
	b := newBench(t)
	broadcast, network := netip.MustParseAddr("192.168.122.255"), netip.MustParseAddr("192.168.122.0")
	for _, interfaces := range [][]string{nil, {"eth0"}} {
		s := start(t, b.node, announce.Config{},
			announce.Assignment{Addr: network, Interfaces: interfaces, Mode: announce.Answer},
			announce.Assignment{Addr: vip, Interfaces: interfaces, Mode: announce.Answer},
			announce.Assignment{Addr: marker, Interfaces: []string{"eth0"}, Mode: announce.Answer},
			announce.Assignment{Addr: broadcast, Interfaces: interfaces, Mode: announce.Answer})
		f := s.await(t, func(f announce.Facts) bool { return len(f.Addresses) == 4 })
		require.Equal(t, announce.NoProblem, about(f, vip).Problem)
		require.Equal(t, announce.NoInterface, about(f, broadcast).Problem)
		require.Equal(t, "eth0: the broadcast address of 192.168.122.0/24", about(f, broadcast).Detail)
		require.Equal(t, "eth0: the network address of 192.168.122.0/24", about(f, network).Detail)
		b.client.ask(t, vip)
		b.client.refused(t, broadcast)
		require.NoError(t, s.stop())
	}

	// Within a larger subnet they are addresses like others.
	onLink(t, b.node, "eth0", func(l netlink.Link) error { return netlink.AddrDel(l, addrOn("192.168.122.10/24")) })
	onLink(t, b.node, "eth0", func(l netlink.Link) error { return netlink.AddrAdd(l, addrOn("192.168.122.10/16")) })
	s := start(t, b.node, announce.Config{}, answering(broadcast)...)
	s.ready(t, 1)
	b.client.ask(t, broadcast)
}

// Of two interfaces in one subnet one answers: that with the lower index, or the other
// while that is down. Both are used for what is on one of them alone.
func TestTwoInterfacesInOneSubnet(t *testing.T) {
	b := newBench(t)
	veth(t, b, "lan0", "peer0")
	up(t, b, "lan0", "peer0")
	onLink(t, b.node, "lan0", func(l netlink.Link) error { return netlink.AddrAdd(l, addrOn("192.168.122.9/24")) })
	for _, interfaces := range [][]string{nil, {"eth0", "lan0"}, {"eth*", "lan*"}} {
		s := start(t, b.node, announce.Config{}, announce.Assignment{Addr: vip, Interfaces: interfaces, Mode: announce.Answer})
		f := s.await(t, problem(announce.NoProblem))
		require.Equal(t, []string{"eth0"}, about(f, vip).Links)
		onLink(t, b.node, "eth0", netlink.LinkSetDown)
		s.await(t, func(f announce.Facts) bool { return slices.Equal(about(f, vip).Links, []string{"lan0"}) })
		onLink(t, b.node, "eth0", netlink.LinkSetUp)
		s.await(t, func(f announce.Facts) bool { return slices.Equal(about(f, vip).Links, []string{"eth0"}) })
		b.client.ask(t, vip)
		require.NoError(t, s.stop())
	}
	s := start(t, b.node, announce.Config{}, announce.Assignment{Addr: vip, Interfaces: []string{"lan0"}, Mode: announce.Answer})
	require.Equal(t, []string{"lan0"}, about(s.await(t, problem(announce.NoProblem)), vip).Links, "it was asked for")
	require.NoError(t, s.stop())
	far := netip.MustParseAddr("10.1.2.3")
	onLink(t, b.node, "lan0", func(l netlink.Link) error { return netlink.AddrAdd(l, addrOn("10.1.2.1/24")) })
	s = start(t, b.node, announce.Config{}, answering(far, vip)...)
	s.ready(t, 2)
}

// An address that somebody else puts on an interface of this host is told, with a subnet
// or without, in both families, for as long as it is there; what this program binds
// itself is not.
func TestConfiguredByOthers(t *testing.T) {
	for _, bind := range []announce.Bind{announce.Loopback, announce.Interface} {
		t.Run(bind.String(), func(t *testing.T) {
			b, _ := newBench6(t)
			s := start(t, b.node, announce.Config{Bind: bind}, answering(vip, vip6)...)
			s.ready(t, 2)
			for _, prefix := range []string{vip.String() + "/32", vip.String() + "/24", vip6.String() + "/128", vip6.String() + "/64"} {
				addr := netip.MustParsePrefix(prefix).Addr()
				if bind == announce.Interface && strings.HasSuffix(prefix, "32") || bind == announce.Interface && addr.Is6() {
					continue // that is what is bound there
				}
				onLink(t, b.node, "eth0", func(l netlink.Link) error { return netlink.AddrAdd(l, addrOn(prefix)) })
				f := s.await(t, func(f announce.Facts) bool { return about(f, addr).Configured == "eth0" })
				for _, a := range f.Addresses {
					require.Equal(t, a.Addr == addr, a.Configured != "", "%v", a)
				}
				onLink(t, b.node, "eth0", func(l netlink.Link) error { return netlink.AddrDel(l, addrOn(prefix)) })
				s.await(t, func(f announce.Facts) bool { return about(f, addr).Configured == "" })
			}
		})
	}
}

// IPv6 subnets count as well, but for the one that every interface has.
func TestBySubnet6(t *testing.T) {
	b, _ := newBench6(t)
	far := netip.MustParseAddr("2001:db8:1::1")
	s := start(t, b.node, announce.Config{}, announce.Assignment{Addr: vip6}, announce.Assignment{Addr: far})
	f := s.await(t, func(f announce.Facts) bool { return len(f.Addresses) == 2 })
	require.Equal(t, []string{"eth0"}, about(f, vip6).Links)
	require.Equal(t, announce.NoInterface, about(f, far).Problem)
	require.ElementsMatch(t, []netip.Prefix{netip.PrefixFrom(own6, 64), netip.MustParsePrefix("192.168.122.10/24")}, f.Links[0].Prefixes)
	onLink(t, b.node, "eth0", func(l netlink.Link) error { return netlink.AddrAdd(l, addrOn("2001:db8:1::2/64")) })
	s.ready(t, 2)
	onLink(t, b.node, "eth0", func(l netlink.Link) error { return netlink.AddrDel(l, addrOn(own6.String()+"/64")) })
	f = s.await(t, func(f announce.Facts) bool { return about(f, vip6).Problem == announce.NoInterface })
	require.Equal(t, announce.NoProblem, about(f, far).Problem)

	linkLocal := start(t, b.node, announce.Config{Bind: announce.None}, announce.Assignment{Addr: linkVIP6, Interfaces: []string{"eth0"}})
	linkLocal.ready(t, 1)
}

// What can't be used is told, with the reason, and not taken for absent. What is
// only like it can be used.
func TestUnusableInterfaces(t *testing.T) {
	b := newBench(t)
	problems := map[string]string{"lo": "no Ethernet", "noarp0": "no ARP", "mac0": "", "eth0": ""}
	err := b.node.Do(func() error {
		tun := &netlink.Tuntap{LinkAttrs: netlink.NewLinkAttrs(), Mode: netlink.TUNTAP_MODE_TUN}
		tun.Name = "tun0"
		return netlink.LinkAdd(tun)
	})
	if errors.Is(err, os.ErrPermission) {
		t.Log("no point-to-point interface: ordinary users may not open /dev/net/tun")
	} else {
		require.NoError(t, err)
		up(t, b, "tun0")
		problems["tun0"] = "point-to-point"
	}
	onLink(t, b.node, "eth0", func(l netlink.Link) error {
		mac := &netlink.Macvlan{LinkAttrs: netlink.NewLinkAttrs(), Mode: netlink.MACVLAN_MODE_BRIDGE}
		mac.Name, mac.ParentIndex = "mac0", l.Attrs().Index
		return netlink.LinkAdd(mac)
	})
	up(t, b, "mac0")
	veth(t, b, "noarp0", "peer0")
	up(t, b, "noarp0", "peer0")
	onLink(t, b.node, "noarp0", netlink.LinkSetARPOff)
	for name, why := range problems {
		t.Run(name, func(t *testing.T) {
			s := start(t, b.node, announce.Config{}, announce.Assignment{Addr: vip, Interfaces: []string{name}})
			f := s.await(t, func(f announce.Facts) bool { return len(f.Addresses) == 1 })
			require.Equal(t, why, f.Links[0].Problem)
			if why == "" {
				require.Equal(t, []string{name}, about(f, vip).Links)
			} else {
				require.Equal(t, name+": "+why, about(f, vip).Detail)
				require.Equal(t, announce.NoInterface, about(f, vip).Problem)
			}
		})
	}
}

// A pattern stands for the interfaces that there are, and those that come.
func TestPatterns(t *testing.T) {
	b := newBench(t)
	on := func(addr netip.Addr, patterns ...string) announce.Assignment {
		return announce.Assignment{Addr: addr, Interfaces: patterns, Mode: announce.Answer}
	}
	s := start(t, b.node, announce.Config{}, on(vip, "*"), on(vip2, "lan*"), on(marker, "eth*"))
	f := s.await(t, func(f announce.Facts) bool { return len(f.Addresses) == 3 })
	require.Equal(t, []string{"eth0"}, about(f, vip).Links)
	require.Equal(t, "lan*: no such interface", about(f, vip2).Detail)
	require.Equal(t, []string{"eth0", "lo"}, []string{f.Links[0].Name, f.Links[1].Name})
	require.Equal(t, "no Ethernet", f.Links[1].Problem)
	b.client.ask(t, vip)
	b.client.refused(t, vip2)
	veth(t, b, "lan0", "lan1")
	up(t, b, "lan0", "lan1")
	f = s.await(t, func(f announce.Facts) bool { return len(about(f, vip2).Links) == 2 && len(about(f, vip).Links) == 3 })
	require.Equal(t, []string{"lan0", "lan1"}, about(f, vip2).Links)
	require.Equal(t, []string{"eth0", "lan0", "lan1"}, about(f, vip).Links)
	require.Equal(t, []string{"eth0"}, about(f, marker).Links)
	onLink(t, b.node, "eth0", func(l netlink.Link) error { return netlink.LinkSetName(l, "lan2") })
	f = s.await(t, func(f announce.Facts) bool { return len(about(f, vip2).Links) == 3 })
	require.Equal(t, "eth*: no such interface", about(f, marker).Detail)
	b.client.ask(t, vip2)
}

// bridge adds a bridge to the node.
func bridge(t testing.TB, b *bench, name string) {
	t.Helper()
	within(t, b.node, func() error {
		bridge := &netlink.Bridge{LinkAttrs: netlink.NewLinkAttrs()}
		bridge.Name = name
		return netlink.LinkAdd(bridge)
	})
	up(t, b, name)
}

// setMaster makes eth0 a port of the interface, and free makes it none.
func setMaster(t testing.TB, b *bench, name string) {
	t.Helper()
	onLink(t, b.node, "eth0", func(l netlink.Link) error {
		master, err := netlink.LinkByName(name)
		if err != nil {
			return err
		}
		return netlink.LinkSetMaster(l, master)
	})
}

func free(t testing.TB, b *bench) {
	t.Helper()
	onLink(t, b.node, "eth0", netlink.LinkSetNoMaster)
}

// An interface that becomes a port of a bridge falls silent, though others of the
// host answer still; one that is a port no more announces again, also if it was
// one only for a moment.
func TestPortOfABridge(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	bridge(t, b, "br0")
	s := start(t, b.node, announce.Config{Refresh: time.Hour, RivalProbe: time.Hour}, answering(vip)...)
	settle(t, b, s)
	setMaster(t, b, "br0")
	free(t, b)
	announcedAgain(t, b)
	for range 3 {
		setMaster(t, b, "br0")
		f := s.await(t, problem(announce.NoInterface))
		require.Equal(t, "eth0: port of br0", about(f, vip).Detail)
		require.Equal(t, "port of br0", f.Links[0].Problem)

		// The bridge's own address is answered, which shows that vip's is not.
		onLink(t, b.node, "br0", func(l netlink.Link) error {
			b.client.speaker = l.Attrs().HardwareAddr
			return netlink.AddrReplace(l, addrOn(marker.String()+"/24"))
		})
		b.client.refused(t, vip)
		b.client.silent(t, vip)
		onLink(t, b.node, "br0", func(l netlink.Link) error { return netlink.AddrDel(l, addrOn(marker.String()+"/24")) })

		b.client.speaker = b.node.HardwareAddr
		free(t, b)
		announcedAgain(t, b)
		s.await(t, problem(announce.NoProblem))
		b.client.ask(t, vip)
	}
	for range 10 {
		setMaster(t, b, "br0")
		free(t, b)
		// What is asked while it is on its way need not be answered.
		eventually(t, func() bool {
			q := b.client.request(vip)
			b.client.send(t, q)
			_, err := b.client.read(time.Now().Add(20*time.Millisecond), func(h heard) bool { return h.isReply(q) }, nil)
			return err == nil
		}, "an answer")
	}
}

// When a host gets a bridge, and the interface's subnet moves to it, so does an
// address without named interfaces.
func TestSubnetMovesToABridge(t *testing.T) {
	b := newBench(t)
	bridge(t, b, "br0")
	s := start(t, b.node, announce.Config{}, announce.Assignment{Addr: vip, Mode: announce.Answer})
	require.Equal(t, []string{"eth0"}, about(s.await(t, problem(announce.NoProblem)), vip).Links)
	setMaster(t, b, "br0")
	s.await(t, problem(announce.NoInterface))
	onLink(t, b.node, "eth0", func(l netlink.Link) error { return netlink.AddrDel(l, addrOn("192.168.122.10/24")) })
	onLink(t, b.node, "br0", func(l netlink.Link) error {
		b.client.speaker = l.Attrs().HardwareAddr
		return netlink.AddrAdd(l, addrOn("192.168.122.10/24"))
	})
	f := s.await(t, problem(announce.NoProblem))
	require.Equal(t, []string{"br0"}, about(f, vip).Links)
	require.Equal(t, b.client.speaker, b.client.ask(t, vip).SenderHardwareAddr)
}

// An interface without ARP is left alone until it has ARP again.
func TestARPOff(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	s := start(t, b.node, announce.Config{Refresh: time.Hour, RivalProbe: time.Hour}, answering(vip)...)
	settle(t, b, s)
	onLink(t, b.node, "eth0", netlink.LinkSetARPOff)
	require.Equal(t, "eth0: no ARP", about(s.await(t, problem(announce.NoInterface)), vip).Detail)
	onLink(t, b.node, "eth0", netlink.LinkSetARPOn)
	announcedAgain(t, b)
	s.await(t, problem(announce.NoProblem))
	b.client.ask(t, vip)
}

// While the hardware address changes again and again every answer and every
// announcement is from the address that the interface has: the one in the frame
// is the one in the packet, and one that is over never comes back.
func TestNoWrongAnswerMeanwhile(t *testing.T) {
	b := newBench(t)
	s := start(t, b.node, announce.Config{}, answering(vip)...)
	s.ready(t, 1)
	recorder := newStation(t, b.client.node)
	hw := b.node.HardwareAddr
	order := []string{hw.String()}
	for i := range 10 {
		hw = net.HardwareAddr{2, 0, 0, 0, 0x77, byte(i)}
		order = append(order, hw.String())
		onLink(t, b.node, "eth0", func(l netlink.Link) error { return netlink.LinkSetHardwareAddr(l, hw) })
		for range 5 { // some of them while the change is on its way
			b.client.send(t, b.client.request(vip))
		}
		b.client.speaker = hw
		b.client.next(t, func(h heard) bool { return h.isGratuitous(vip) }, nil)
		require.Equal(t, hw, b.client.ask(t, vip).SenderHardwareAddr)
	}
	seen := 0
	for _, h := range recorded(t, recorder, b.client.ask(t, vip)) {
		require.Equal(t, h.src, h.SenderHardwareAddr)
		for seen < len(order) && order[seen] != h.src.String() {
			seen++
		}
		require.Less(t, seen, len(order), "%v came back, or is not the interface's", h.src)
	}
	require.Equal(t, len(order)-1, seen)
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

// recorded returns what a station that only listens has received about vip from
// anybody, up to a packet that another one of the node has received.
func recorded(t *testing.T, recorder *station, last heard) (all []heard) {
	t.Helper()
	require.NoError(t, recorder.conn.SetReadDeadline(time.Now().Add(patience)))
	buf := make([]byte, 2048)
	for {
		n, _, err := recorder.conn.ReadFrom(buf)
		require.NoError(t, err)
		var frame ethernet.Frame
		p := new(arp.Packet)
		if frame.UnmarshalBinary(buf[:n]) != nil || frame.EtherType != ethernet.EtherTypeARP || p.UnmarshalBinary(slices.Clone(frame.Payload)) != nil {
			continue
		}
		h := heard{p, slices.Clone(frame.Destination), slices.Clone(frame.Source), time.Now()}
		if h.SenderIP == vip {
			all = append(all, h)
		}
		if h.Operation == last.Operation && h.SenderIP == last.SenderIP && h.TargetIP == last.TargetIP && h.src.String() == last.src.String() {
			return all
		}
	}
}

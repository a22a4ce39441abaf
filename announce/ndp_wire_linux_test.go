package announce_test

import (
	"net"
	"net/netip"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/mdlayher/ethernet"
	"github.com/mdlayher/ndp"
	"github.com/mdlayher/packet"
	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"

	"github.com/l2vip/l2vip/announce"
	"github.com/l2vip/l2vip/internal/testnet"
)

// nonce is an option of RFC 3971 section 5.3.2, as kernels send it (RFC 7527).
var nonce = []byte{14, 1, 1, 2, 3, 4, 5, 6}

// Solicitations that are answered (RFC 4861 section 7.2.4), exactly once each, with
// every field of the answer.
func TestNDPAnswers(t *testing.T) {
	b, client := newNDPBench(t)
	other := net.HardwareAddr{2, 0xaa, 0, 0, 0, 1}
	for _, router := range []bool{false, true} {
		s := start(t, b.node, announce.Config{Router: router}, answering(vip6, marker6)...)
		s.ready(t, 2)
		for _, test := range []struct {
			name   string
			change func(d *datagram)
			to     net.HardwareAddr
		}{
			{name: "multicast", change: func(*datagram) {}},
			{name: "no source option", change: func(d *datagram) { d.options = nil }},
			{name: "unicast to the hardware address", change: func(d *datagram) { d.dst = b.node.HardwareAddr }},
			// Neighbor unreachability detection (RFC 4861 section 7.3.1). No
			// interface has the address.
			{name: "unicast to the address itself", change: func(d *datagram) { d.dst, d.dest = b.node.HardwareAddr, vip6 }},
			{name: "unicast, no source option", change: func(d *datagram) { d.dst, d.dest, d.options = b.node.HardwareAddr, vip6, nil }},
			{name: "unicast to another address of the host", change: func(d *datagram) { d.dst, d.dest = b.node.HardwareAddr, own6 }},
			{name: "a nonce before", change: func(d *datagram) { d.options = slices.Concat(nonce, d.options) }},
			{name: "a nonce and no source option", change: func(d *datagram) { d.options = nonce }},
			{name: "unknown options", change: func(d *datagram) {
				d.options = slices.Concat([]byte{253, 2}, make([]byte, 14), d.options, []byte{0, 1}, make([]byte, 6))
			}},
			{name: "an option that means nothing here", change: func(d *datagram) { d.options = append(targetOption(ethernet.Broadcast), d.options...) }},
			{name: "reserved bits", change: func(d *datagram) { d.flags = 0xff }},
			{name: "link-local source", change: func(d *datagram) { d.source = client.node.LinkLocal }},
			{name: "source off the subnet", change: func(d *datagram) { d.source = far6 }},
			{name: "priority tag", change: func(d *datagram) { d.vlan = &ethernet.VLAN{Priority: 5} }},
			{name: "padded", change: func(d *datagram) { d.padding = 22 }},
			{name: "source option of another station", change: func(d *datagram) { d.options = sourceOption(other) }, to: other},
			{name: "frame of another station", change: func(d *datagram) { d.src = other }},
			{name: "frame of another station, no source option", change: func(d *datagram) { d.src, d.options = other, nil }, to: other},
		} {
			t.Run(test.name, func(t *testing.T) {
				d := client.solicit(vip6)
				test.change(&d)
				client.send(t, d)
				got := client.next(t, func(h heard6) bool { return h.answers(d) }, nil)
				to := test.to
				if to == nil {
					to = client.node.HardwareAddr
				}
				requireAdvertisement(t, got, vip6, b.node.HardwareAddr, to, d.source,
					ndp.NeighborAdvertisement{Router: router, Solicited: true, Override: true})
				for _, h := range client.heardUntilMarker(t) {
					require.False(t, h.answers(d), "a second answer")
				}
			})
		}
		stats := s.Stats()
		require.Equal(t, stats.Requests, stats.Replies)
		require.Zero(t, stats.SendErrors)
		require.Zero(t, stats.Sightings)
		require.NoError(t, s.stop())
	}
}

// Duplicate address detection is answered to all nodes, not solicited, so that who
// has no address yet hears it (RFC 4861 section 7.2.4).
func TestNDPAnswersDetection(t *testing.T) {
	t.Parallel()
	b, client := newNDPBench(t)
	s := start(t, b.node, quiet, answering(vip6, marker6)...)
	client.quieten(t, s, 2) // an announcement is the same frame
	for name, change := range map[string]func(d *datagram){
		"plain":           func(*datagram) {},
		"a nonce":         func(d *datagram) { d.options = nonce },
		"another's group": func(d *datagram) { d.dest, _ = groupOf(vip6.Next()) },
		"unicast frame":   func(d *datagram) { d.dst = b.node.HardwareAddr },
		"priority tag":    func(d *datagram) { d.vlan = &ethernet.VLAN{Priority: 7} },
	} {
		t.Run(name, func(t *testing.T) {
			d := client.detect(vip6)
			change(&d)
			client.send(t, d)
			got := client.next(t, func(h heard6) bool { return h.advertises(vip6) }, nil)
			requireAdvertisement(t, got, vip6, b.node.HardwareAddr, allNodesHW, allNodes, ndp.NeighborAdvertisement{Override: true})
			require.Empty(t, client.heardUntilMarker(t), "a second answer")
		})
	}
	require.Zero(t, s.Stats().Sightings, "who asks first claims nothing")
}

// What must not be answered nor believed (RFC 4861 sections 7.1.1 and 7.1.2): it is
// dropped for the reason that is counted, and changes nothing.
func TestNDPNeverAnswers(t *testing.T) {
	t.Parallel()
	b, client := newNDPBench(t)
	at := func(n int) netip.Addr {
		addr := vip6
		for range n {
			addr = addr.Next()
		}
		return addr
	}
	cabled := b.cable(t, client)
	both := answering(vip6, marker6)
	for i := range both {
		both[i].Interfaces = append(both[i].Interfaces, "cable0")
	}
	s := start(t, b.node, quiet, append(both,
		announce.Assignment{Addr: at(1), Interfaces: []string{"eth0"}, Mode: announce.Standby},
		announce.Assignment{Addr: at(2), Interfaces: []string{"eth0"}, Mode: announce.Probe},
		announce.Assignment{Addr: at(3), Interfaces: []string{"eth1"}, Mode: announce.Answer},
	)...)
	s.await(t, func(f announce.Facts) bool { return about(f, at(2)).Probe == announce.Clear })
	cabled.quieten(t, s, 4)
	client.heardUntilMarker(t)

	const filtered = announce.Drop(255) // by the kernel, or by no fault of the frame
	type test struct {
		name   string
		change func(d *datagram)
		why    announce.Drop
	}
	check := func(t *testing.T, d datagram, why announce.Drop) {
		before := s.Stats()
		client.send(t, d)
		require.Empty(t, client.heardUntilMarker(t))
		if why != filtered {
			eventually(t, func() bool { return s.Stats().Dropped[why] > before.Dropped[why] }, "to be counted as "+why.String())
		}
		after := s.Stats()
		for i := range after.Dropped {
			if i := announce.Drop(i); i != announce.DropOther && i != why { // kernels speak NDP, too
				require.Equal(t, before.Dropped[i], after.Dropped[i], "%v", i)
			}
		}
		if why != filtered && why != announce.DropOther {
			require.Equal(t, before.Dropped[why]+1, after.Dropped[why])
		}
		require.Equal(t, before.Requests+2, after.Requests, "the markers")
		require.Zero(t, after.Sightings)
	}
	// Both messages have to be right in this.
	common := []test{
		{"hop limit 254", func(d *datagram) { d.hopLimit = 254 }, announce.DropHopLimit},
		{"hop limit 0", func(d *datagram) { d.hopLimit = 0 }, announce.DropHopLimit},
		{"code 1", func(d *datagram) { d.code = 1 }, announce.DropCode},
		{"checksum", func(d *datagram) { d.wrong = 1 }, announce.DropChecksum},
		{"short message", func(d *datagram) { d.message = 20 }, announce.DropShort},
		{"longer than the frame", func(d *datagram) { d.length = 33 }, announce.DropShort},
		{"cut in the target", func(d *datagram) { d.cut = 14 + 40 + 20 }, announce.DropShort},
		{"cut in the option", func(d *datagram) { d.cut = 14 + 40 + 28 }, announce.DropShort},
		{"nothing but headers", func(d *datagram) { d.cut = 14 + 40 }, filtered},
		{"multicast target", func(d *datagram) { d.target, _ = groupOf(vip6) }, announce.DropTarget},
		{"option of length 0", func(d *datagram) { d.options = append(d.options, 253, 0, 0, 0, 0, 0, 0, 0) }, announce.DropOption},
		{"length 0 in the link-layer option", func(d *datagram) { d.options[1] = 0 }, announce.DropOption},
		{"option beyond the packet", func(d *datagram) { d.options = append(d.options, 253, 2, 0, 0, 0, 0, 0, 0) }, announce.DropOption},
		{"half an option", func(d *datagram) { d.options = append(d.options, 253) }, announce.DropOption},
		{"link-layer option of length 2", func(d *datagram) { d.options = append(d.options, make([]byte, 8)...); d.options[1] = 2 }, announce.DropOption},
		{"group in the link-layer option", func(d *datagram) { copy(d.options[2:], allNodesHW) }, announce.DropOption},
		{"broadcast in the link-layer option", func(d *datagram) { copy(d.options[2:], ethernet.Broadcast) }, announce.DropOption},
		{"zero in the link-layer option", func(d *datagram) { clear(d.options[2:]) }, announce.DropOption},
		{"multicast source", func(d *datagram) { d.source = allNodes }, announce.DropSender},
		{"loopback source", func(d *datagram) { d.source = netip.IPv6Loopback() }, announce.DropSender},
		{"IP version 4", func(d *datagram) { d.version = 4 }, announce.DropForeign},
		{"another next header", func(d *datagram) { d.next = unix.IPPROTO_UDP }, filtered},
		{"a hop-by-hop header", func(d *datagram) {
			d.next, d.extension = unix.IPPROTO_HOPOPTS, []byte{58, 0, 1, 4, 0, 0, 0, 0}
		}, filtered},
		{"a router's message", func(d *datagram) { d.kind = ipv6.ICMPTypeRouterAdvertisement }, filtered},
		{"an echo request", func(d *datagram) { d.kind = ipv6.ICMPTypeEchoRequest }, filtered},
		{"a VLAN", func(d *datagram) { d.vlan = &ethernet.VLAN{ID: 7} }, filtered},
		{"a VLAN, unicast", func(d *datagram) { d.vlan, d.dst = &ethernet.VLAN{ID: 4094, Priority: 3}, b.node.HardwareAddr }, filtered},
		{"to another station", func(d *datagram) { d.dst = net.HardwareAddr{2, 0xaa, 0, 0, 0, 9} }, filtered},
	}
	for _, test := range append([]test{
		{"unspecified source, source option", func(d *datagram) { d.source = unspecified }, announce.DropUnspecified},
		{"unspecified source, to all nodes", func(d *datagram) {
			d.source, d.options, d.dst, d.dest = unspecified, nil, allNodesHW, allNodes
		}, announce.DropUnspecified},
		{"unspecified source, to the address", func(d *datagram) {
			d.source, d.options, d.dst, d.dest = unspecified, nil, b.node.HardwareAddr, vip6
		}, announce.DropUnspecified},
		{"another address", func(d *datagram) { d.target = at(9) }, announce.DropOther},
		{"another address of the group", func(d *datagram) {
			d.target = netip.MustParseAddr("2001:db8::1:0:100")
		}, announce.DropOther},
		{"standby", func(d *datagram) { d.target = at(1) }, announce.DropOther},
		{"probing", func(d *datagram) { d.target = at(2) }, announce.DropOther},
		{"on another interface", func(d *datagram) { d.target = at(3) }, announce.DropOther},
		{"unspecified target", func(d *datagram) { d.target = unspecified }, announce.DropOther},
	}, common...) {
		t.Run(test.name, func(t *testing.T) {
			d := client.solicit(vip6)
			test.change(&d)
			check(t, d, test.why)
		})
		// The same as the question of a station that has the address: no claim.
		if test.why == announce.DropOther {
			continue
		}
		t.Run("claim: "+test.name, func(t *testing.T) {
			d := client.solicit(marker6)
			d.source = vip6
			test.change(&d)
			check(t, d, test.why)
		})
	}
	for _, test := range append([]test{
		{"solicited, to all nodes", func(d *datagram) { d.flags = 0x60 }, announce.DropSolicited},
		{"unspecified source", func(d *datagram) { d.source = unspecified }, announce.DropSender},
		{"another address", func(d *datagram) { d.source, d.target = at(9), at(9) }, announce.DropOther},
		{"a router, another address", func(d *datagram) { d.flags, d.source, d.target = 0xa0, at(9), at(9) }, announce.DropOther},
		{"standby", func(d *datagram) { d.source, d.target = at(1), at(1) }, announce.DropOther},
	}, common...) {
		t.Run("advertisement: "+test.name, func(t *testing.T) {
			d := client.claim(vip6)
			test.change(&d)
			check(t, d, test.why)
		})
	}
	t.Run("from a group", func(t *testing.T) { // which no bridge forwards
		for _, d := range []datagram{cabled.solicit(vip6), cabled.detect(vip6), cabled.claim(vip6)} {
			d.src, d.options = allNodesHW, nil
			before := s.Stats().Dropped[announce.DropSender]
			cabled.send(t, d)
			require.Empty(t, cabled.heardUntilMarker(t))
			eventually(t, func() bool { return s.Stats().Dropped[announce.DropSender] == before+1 }, "to be counted")
		}
		require.Zero(t, s.Stats().Sightings)
	})
	t.Run("after the lease", func(t *testing.T) {
		client.ask(t, vip6) // it is well
		s.Renew(-time.Second)
		before := s.Stats()
		for i, d := range []datagram{client.solicit(vip6), client.detect(vip6)} {
			client.send(t, d)
			eventually(t, func() bool {
				return s.Stats().Dropped[announce.DropLease] == before.Dropped[announce.DropLease]+uint64(i)+1
			}, "to be counted")
		}
		require.Equal(t, before.Replies, s.Stats().Replies)
		s.Renew(time.Hour)
		d := client.solicit(vip6)
		client.send(t, d)
		client.next(t, func(h heard6) bool { return h.answers(d) }, func(h heard6) {
			require.False(t, h.advertises(vip6), "late")
		})
	})
	for _, f := range s.reports() {
		for _, a := range f.Addresses {
			require.Nil(t, a.Rival)
		}
	}
}

// cable joins the speaker's node and the asker's by a cable of their own, cable0 on
// both sides, and returns what asks there.
func (b *bench) cable(t testing.TB, a *asker) *asker {
	t.Helper()
	var far *os.File
	within(t, b.node, func() (err error) {
		far, err = os.Open("/proc/thread-self/ns/net")
		return err
	})
	defer far.Close()
	attrs := netlink.NewLinkAttrs()
	attrs.Name = "cable0"
	within(t, a.node, func() error {
		return netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: "cable0", PeerNamespace: netlink.NsFd(int(far.Fd()))})
	})
	near := &asker{station: &station{}}
	onLink(t, b.node, "cable0", func(l netlink.Link) error {
		near.speaker = l.Attrs().HardwareAddr
		return netlink.LinkSetUp(l)
	})
	onLink(t, a.node, "cable0", func(l netlink.Link) error {
		near.node = &testnet.Node{Name: a.node.Name, Index: l.Attrs().Index, HardwareAddr: l.Attrs().HardwareAddr}
		if err := netlink.LinkSetUp(l); err != nil {
			return err
		}
		ifi := &net.Interface{Index: near.node.Index, HardwareAddr: near.node.HardwareAddr}
		conn, err := packet.Listen(ifi, packet.Raw, unix.ETH_P_ALL, nil)
		near.conn = conn
		return err
	})
	t.Cleanup(func() { near.conn.Close() })
	return near
}

// Unsolicited advertisements (RFC 4861 section 7.2.6): at once, repeated, again at
// a new claim, and once more for a defense.
func TestNDPAnnounces(t *testing.T) {
	t.Parallel()
	b, client := newNDPBench(t)
	announced := func(n int, flags ndp.NeighborAdvertisement) {
		t.Helper()
		for range n {
			h := client.next(t, func(h heard6) bool { return h.announces(vip6) }, nil)
			requireAdvertisement(t, h, vip6, b.node.HardwareAddr, allNodesHW, allNodes, flags)
		}
	}
	config := quiet
	config.Router = true
	s := start(t, b.node, config, answering(vip6)...)
	announced(1, ndp.NeighborAdvertisement{Router: true, Override: true})
	require.NoError(t, s.stop())

	client = newAsker(t, client.node, client.speaker)
	s = start(t, b.node, quiet, answering(vip6)...)
	host := ndp.NeighborAdvertisement{Override: true}
	announced(2, host)
	list := answering(vip6)
	list[0].Claim = 2
	require.NoError(t, s.Set(list))
	announced(6, host)
	before := s.Stats().Announced
	list[0].Defense = 1
	require.NoError(t, s.Set(append(list, answering(marker6)...)))
	announced(1, host)
	// By the end of the other address's repeats, those of the defense would have
	// come.
	eventually(t, func() bool { return s.Stats().Announced >= before+1+6 }, "the other's repeats")
	require.Empty(t, client.heardUntilMarker(t))
	require.Equal(t, before+1+6, s.Stats().Announced)
	require.Zero(t, s.Stats().SendErrors)
}

// Of many addresses the first announcement of each comes before the second of any.
func TestNDPAnnouncesAllBeforeRepeats(t *testing.T) {
	b, client := newNDPBench(t)
	count := 3000
	if !client.hearsAll {
		count = 100
	}
	var addrs []netip.Addr
	for addr := netip.MustParseAddr("2001:db8:1::"); len(addrs) < count; {
		addr = addr.Next()
		addrs = append(addrs, addr)
	}
	config := quiet
	config.Bind = announce.None
	start(t, b.node, config, answering(addrs...)...)
	seen := make(map[netip.Addr]bool)
	for len(seen) < count {
		h := client.next(t, func(h heard6) bool { return h.advertise != nil && h.dest == allNodes }, nil)
		require.False(t, seen[h.advertise.TargetAddress], "%v a second time, after %d of %d", h.advertise.TargetAddress, len(seen), count)
		seen[h.advertise.TargetAddress] = true
	}
	for _, addr := range addrs {
		require.True(t, seen[addr])
	}
}

// The probe is that of RFC 4862 section 5.4.2: three of them, after the group was
// joined, and nobody learns anything from them.
func TestNDPProbeIsClear(t *testing.T) {
	b, client := newNDPBench(t)
	s := start(t, b.node, announce.Config{})
	for claim := uint64(1); claim <= 2; claim++ {
		list := assigned(announce.Probe, vip6)
		list[0].Claim = claim
		require.NoError(t, s.Set(list))
		for i := range 3 {
			h := client.next(t, func(h heard6) bool { return h.probes(vip6) || h.advertises(vip6) }, nil)
			if i == 0 {
				require.True(t, joined(t, b.node, vip6), "the group, before the first probe")
			}
			requireProbe(t, h, vip6, b.node.HardwareAddr)
		}
		s.await(t, func(f announce.Facts) bool {
			a := about(f, vip6)
			return a.Claim == claim && a.Probe == announce.Clear
		})
		require.EqualValues(t, 3*claim, s.Stats().Probes)
	}
	require.Zero(t, s.Stats().Announced)
}

// Who has the address, and who is about to, are conflicts.
func TestNDPProbeMeets(t *testing.T) {
	b, client := newNDPBench(t)
	for name, reply := range map[string]datagram{
		"an advertisement": client.claim(vip6),
		"a solicited advertisement": func() datagram {
			d := client.claim(vip6)
			d.dst, d.dest, d.flags = b.node.HardwareAddr, own6, 0x60
			return d
		}(),
		"an advertisement without an option": func() datagram {
			d := client.claim(vip6)
			d.options = nil
			return d
		}(),
		"duplicate address detection": client.detect(vip6),
		"detection with a nonce": func() datagram {
			d := client.detect(vip6)
			d.options = nonce
			return d
		}(),
		"a question from the address": func() datagram {
			d := client.solicit(vip6.Next())
			d.source = vip6
			return d
		}(),
	} {
		t.Run(name, func(t *testing.T) {
			client := newAsker(t, client.node, b.node.HardwareAddr) // has heard nothing yet
			s := start(t, b.node, announce.Config{}, assigned(announce.Probe, vip6)...)
			client.next(t, func(h heard6) bool { return h.probes(vip6) }, nil)
			client.send(t, reply)
			f := s.await(t, func(f announce.Facts) bool { return about(f, vip6).Probe != announce.Unknown })
			require.Equal(t, announce.Conflict, about(f, vip6).Probe)
			require.Equal(t, client.node.HardwareAddr, about(f, vip6).Rival)
			require.NoError(t, s.stop())
			require.Zero(t, s.Stats().Announced+s.Stats().Replies)
		})
	}
}

// A host whose kernel has the address answers the probe.
func TestNDPProbeMeetsAKernel(t *testing.T) {
	b, _ := newNDPBench(t)
	stranger := b.addNode(t, "stranger", vip6.String()+"/64")
	s := start(t, b.node, announce.Config{}, assigned(announce.Probe, vip6)...)
	f := s.await(t, func(f announce.Facts) bool { return about(f, vip6).Probe != announce.Unknown })
	require.Equal(t, announce.Conflict, about(f, vip6).Probe)
	require.Equal(t, stranger.HardwareAddr, about(f, vip6).Rival)
}

// A speaker that holds the address answers the probe of another one, and does not
// take it for a rival.
func TestNDPProbeMeetsTheHolder(t *testing.T) {
	b, _ := newNDPBench(t)
	holder := start(t, b.node, announce.Config{}, answering(vip6)...)
	holder.ready(t, 1)
	node := b.addNode(t, "second", "2001:db8::11/64")
	prober := start(t, node, announce.Config{}, assigned(announce.Probe, vip6)...)
	f := prober.await(t, func(f announce.Facts) bool { return about(f, vip6).Probe != announce.Unknown })
	require.Equal(t, announce.Conflict, about(f, vip6).Probe)
	require.Equal(t, b.node.HardwareAddr, about(f, vip6).Rival)
	require.Zero(t, holder.Stats().Sightings)
}

// Two that probe at the same time hear each other, and both leave the address (RFC
// 4862 section 5.4.3). Which of them begins, and how late the other comes, is not
// in the test's hand, so it is tried until they meet.
func TestNDPProbeMeetsAnotherProbe(t *testing.T) {
	b, _ := newNDPBench(t)
	node := b.addNode(t, "second", "2001:db8::11/64")
	both := []*speaker{start(t, b.node, announce.Config{}), start(t, node, announce.Config{})}
	claim := uint64(0)
	eventually(t, func() bool {
		claim++
		for _, s := range both {
			list := assigned(announce.Probe, vip6)
			list[0].Claim = claim
			require.NoError(t, s.Set(list))
		}
		conflicts := 0
		for i, s := range both {
			f := s.await(t, func(f announce.Facts) bool {
				a := about(f, vip6)
				return a.Claim == claim && a.Probe != announce.Unknown
			})
			if a := about(f, vip6); a.Probe == announce.Conflict {
				require.Equal(t, []net.HardwareAddr{node.HardwareAddr, b.node.HardwareAddr}[i], a.Rival)
				conflicts++
			}
		}
		return conflicts == 2
	}, "both to see a conflict")
}

// What comes from a hardware address of this host means nothing: a frame that a
// switch sends back (RFC 4862 section 5.4.3).
func TestNDPProbeMeetsItself(t *testing.T) {
	b, client := newNDPBench(t)
	d := client.detect(vip6)
	d.src = b.node.HardwareAddr
	s := start(t, b.node, announce.Config{})
	stop := repeat(t, client, 5*time.Millisecond, func(int) datagram { return d })
	require.NoError(t, s.Set(assigned(announce.Probe, vip6)))
	s.await(t, func(f announce.Facts) bool { return about(f, vip6).Probe == announce.Clear })
	stop()
	for _, f := range s.reports() {
		require.Nil(t, about(f, vip6).Rival)
	}
}

package announce_test

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"

	"github.com/l2vip/l2vip/announce"
	"github.com/l2vip/l2vip/internal/testnet"
)

// toExclude is the record of an MLD report by which a node joins a group (RFC 3810
// section 5.2.12); what is told when a querier asks has another type.
const toExclude = 4

// joins returns the groups that a frame joins, if it is a report of MLD version 2
// (RFC 3810 section 5.2) that switches believe.
func joins(t testing.TB, b []byte) (groups []netip.Addr) {
	t.Helper()
	const ip, hop, report = 14, 14 + 40, 14 + 40 + 8 // the hop-by-hop header is of 8 bytes
	if len(b) < report+8 || binary.BigEndian.Uint16(b[12:]) != 0x86dd || b[ip+6] != 0 || b[hop] != 58 || b[hop+1] != 0 || b[report] != 143 {
		return nil
	}
	require.EqualValues(t, 1, b[ip+7], "hop limit")
	require.Equal(t, netip.MustParseAddr("ff02::16"), netip.AddrFrom16([16]byte(b[ip+24:])))
	require.Equal(t, []byte{5, 2, 0, 0}, b[hop+2:hop+6], "router alert")
	records := b[report+8:]
	for range binary.BigEndian.Uint16(b[report+6:]) {
		if records[0] == toExclude {
			groups = append(groups, netip.AddrFrom16([16]byte(records[4:])))
		}
		records = records[20+16*int(binary.BigEndian.Uint16(records[2:]))+4*int(records[1]):]
	}
	return groups
}

// reported waits until the speaker has reported that it joins the groups of all the
// addresses.
func (a *asker) reported(t testing.TB, addrs ...netip.Addr) {
	t.Helper()
	missing := make(map[netip.Addr]bool)
	for _, addr := range addrs {
		group, _ := groupOf(addr)
		missing[group] = true
	}
	require.NoError(t, a.conn.SetReadDeadline(time.Now().Add(patience)))
	buf := make([]byte, 9216)
	for len(missing) > 0 {
		n, _, err := a.conn.ReadFrom(buf)
		require.NoError(t, err, "%d groups were not reported", len(missing))
		if string(buf[6:12]) != string(a.speaker) {
			continue
		}
		for _, group := range joins(t, buf[:n]) {
			delete(missing, group)
		}
	}
}

// finds asks until an answer comes, as neighbors do: a switch forgets a group when
// a busy machine reports it late.
func (a *asker) finds(t testing.TB, addr netip.Addr) {
	t.Helper()
	eventually(t, func() bool {
		d := a.solicit(addr)
		a.send(t, d)
		_, err := a.read(time.Now().Add(100*time.Millisecond), func(h heard6) bool { return h.answers(d) }, nil)
		return err == nil
	}, "an answer")
}

// resolves checks that the client's kernel finds the address, which it has
// forgotten, at a speaker.
func (a *asker) resolves(t testing.TB, addr netip.Addr, at *testnet.Node) {
	t.Helper()
	conn, err := a.node.DialContext(t.Context(), "udp6", netip.AddrPortFrom(addr, 9).String())
	require.NoError(t, err)
	defer conn.Close()
	onLink(t, a.node, "eth0", func(l netlink.Link) error {
		_ = netlink.NeighDel(&netlink.Neigh{LinkIndex: l.Attrs().Index, Family: netlink.FAMILY_V6, IP: addr.AsSlice()})
		return nil
	})
	eventually(t, func() bool {
		_, _ = conn.Write([]byte("x"))
		return entryOf(t, a.node, addr).hw == at.HardwareAddr.String()
	}, "the client's kernel to find it")
}

// snoop makes the switch snoop once the nodes are in the groups of the addresses,
// so that it knows of them.
func snoop(t testing.TB, b *bench, addrs []netip.Addr, nodes ...*testnet.Node) {
	t.Helper()
	for _, node := range nodes {
		eventually(t, func() bool {
			in := groups(t, node)
			return !slices.ContainsFunc(addrs, func(addr netip.Addr) bool {
				group, _ := groupOf(addr)
				return !slices.Contains(in, group)
			})
		}, "the groups to be joined")
	}
	require.NoError(t, b.lab.Snoop())
}

// hears reports whether the question of another node arrives before what that then
// says to all nodes.
func (a *asker) hears(t testing.TB, client *asker, d datagram) bool {
	t.Helper()
	client.send(t, d)
	end := client.claim(client.node.Addrs[0])
	end.flags = 0
	client.send(t, end)
	heard := false
	a.speaker = client.node.HardwareAddr
	a.next(t, func(h heard6) bool { return h.announces(client.node.Addrs[0]) }, func(h heard6) {
		heard = heard || h.solicits != nil && h.solicits.TargetAddress == d.target && h.source == d.source
	})
	return heard
}

// A switch that snoops forwards a solicitation to those who have joined the group:
// to the speaker that answers, and to one on standby, which answers the first one
// after its takeover.
func TestNDPSnooping(t *testing.T) {
	b, client := newNDPBench(t)
	second := b.addNode(t, "second", "2001:db8::11/64")
	bystander := newAsker(t, b.addNode(t, "bystander", "2001:db8::12/64"), nil)
	addrs := []netip.Addr{vip6, marker6}
	holder := start(t, b.node, announce.Config{}, answering(addrs...)...)
	client.reported(t, addrs...)
	successor := newAsker(t, client.node, second.HardwareAddr)
	standby := start(t, second, announce.Config{}, assigned(announce.Standby, addrs...)...)
	successor.reported(t, addrs...)
	snoop(t, b, addrs, b.node, second)

	require.False(t, bystander.hears(t, client, client.solicit(vip6)), "the switch doesn't snoop")
	client.ask(t, vip6)
	client.resolves(t, vip6, b.node)

	require.NoError(t, holder.Set(assigned(announce.Standby, addrs...)))
	require.NoError(t, standby.Set(answering(addrs...)))
	successor.ask(t, vip6) // once
	client.resolves(t, vip6, second)
	require.NoError(t, holder.stop())
	eventually(t, func() bool { return !joined(t, b.node, vip6) }, "the groups to be left")
	successor.ask(t, vip6)
}

// The groups are joined again, and reported, whenever the link or the interface
// comes back.
func TestNDPSnoopingLinks(t *testing.T) {
	b, client := newNDPBench(t)
	addrs := []netip.Addr{vip6, marker6}
	s := start(t, b.node, announce.Config{}, answering(addrs...)...)
	snoop(t, b, addrs, b.node)
	client.ask(t, vip6)
	fresh := func() (reports *asker) { return newAsker(t, client.node, b.node.HardwareAddr) }
	back := func(t *testing.T, reports *asker) {
		t.Helper()
		reports.reported(t, addrs...)
		client.finds(t, vip6)
		client.resolves(t, vip6, b.node)
	}
	usable := func(want bool) {
		t.Helper()
		s.await(t, func(f announce.Facts) bool { return (about(f, vip6).Problem == announce.NoProblem) == want })
	}
	for range 2 {
		t.Run("carrier", func(t *testing.T) {
			require.NoError(t, b.node.Unplug())
			usable(false)
			reports := fresh()
			require.NoError(t, b.node.Plug())
			back(t, reports)
		})
		t.Run("down and up", func(t *testing.T) {
			onLink(t, b.node, "eth0", netlink.LinkSetDown)
			usable(false)
			reports := fresh()
			onLink(t, b.node, "eth0", netlink.LinkSetUp)
			back(t, reports)
		})
		t.Run("a moment down", func(t *testing.T) {
			reports := fresh()
			onLink(t, b.node, "eth0", func(l netlink.Link) error {
				if err := netlink.LinkSetDown(l); err != nil {
					return err
				}
				return netlink.LinkSetUp(l)
			})
			back(t, reports)
		})
		t.Run("deleted and created", func(t *testing.T) {
			onLink(t, b.node, "eth0", netlink.LinkDel)
			s.await(t, func(f announce.Facts) bool { return about(f, vip6).Problem == announce.NoInterface })
			reports := fresh()
			node, err := b.node.AddInterface("eth0", netip.PrefixFrom(own6, 64))
			require.NoError(t, err)
			b.node, client.speaker, reports.speaker = node, node.HardwareAddr, node.HardwareAddr
			back(t, reports)
		})
	}
}

// Addresses whose last 24 bits are the same share a group: it is joined once, and
// left with the last of them.
func TestNDPSnoopingSharedGroups(t *testing.T) {
	b, client := newNDPBench(t)
	twin := netip.MustParseAddr("2001:db8::aa00:100")
	group, _ := groupOf(vip6)
	same, _ := groupOf(twin)
	require.Equal(t, group, same)
	s := start(t, b.node, announce.Config{}, answering(vip6, twin, marker6)...)
	snoop(t, b, []netip.Addr{vip6, twin, marker6}, b.node)
	client.ask(t, vip6)
	client.ask(t, twin)
	for range 3 {
		require.NoError(t, s.Set(answering(twin, marker6)))
		s.ready(t, 2)
		require.True(t, joined(t, b.node, twin))
		client.ask(t, twin)
		require.NoError(t, s.Set(answering(vip6, marker6)))
		s.await(t, func(f announce.Facts) bool { return about(f, vip6).Addr.IsValid() && !about(f, twin).Addr.IsValid() })
		require.True(t, joined(t, b.node, vip6))
		client.ask(t, vip6)
	}
	require.NoError(t, s.Set(answering(marker6)))
	eventually(t, func() bool { return !joined(t, b.node, vip6) }, "the group to be left")
	require.True(t, joined(t, b.node, marker6))
	client.ask(t, marker6)
}

// Ten thousand groups on one interface are joined, reported, known to the switch,
// and each address answers.
func TestNDPSnoopingManyAddresses(t *testing.T) {
	t.Parallel()
	b, client := newNDPBench(t)
	count := 10000
	if !client.hearsAll {
		count = 500
	}
	var addrs []netip.Addr
	// None shares a group with an address of the host, which was reported before.
	for addr := netip.MustParseAddr("2001:db8::1:0"); len(addrs) < count; addr = addr.Next() {
		addrs = append(addrs, addr)
	}
	config := quiet
	config.Bind = announce.None
	start(t, b.node, config, answering(addrs...)...)
	client.reported(t, addrs...)
	snoop(t, b, addrs[count-1:], b.node)
	in := make(map[netip.Addr]bool)
	for _, group := range groups(t, b.node) {
		in[group] = true
	}
	for _, addr := range addrs {
		group, _ := groupOf(addr)
		require.True(t, in[group], addr)
	}
	for _, addr := range addrs {
		client.finds(t, addr)
	}
}

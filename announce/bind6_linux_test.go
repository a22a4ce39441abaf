package announce_test

import (
	"context"
	"math"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/l2vip/l2vip/announce"
	"github.com/l2vip/l2vip/internal/testnet"
)

var (
	vip6     = netip.MustParseAddr("2001:db8::100")
	own6     = netip.MustParseAddr("2001:db8::10")
	far6     = netip.MustParseAddr("2001:db8:ffff::1") // behind a router
	linkVIP6 = netip.MustParseAddr("fe80::100")
)

// newBench6 returns a lab whose node has IPv6 addresses too, and the node of a
// client.
func newBench6(t testing.TB) (*bench, *testnet.Node) {
	t.Helper()
	b := newBench(t)
	onLink(t, b.node, "eth0", func(l netlink.Link) error { return netlink.AddrAdd(l, addrOn(own6.String()+"/64")) })
	return b, b.addNode(t, "client6", "2001:db8::50/64")
}

// bound6 returns the single IPv6 addresses on the interface, other than ::1.
func bound6(t testing.TB, node *testnet.Node, ifname string) map[netip.Addr]netlink.Addr {
	t.Helper()
	all := make(map[netip.Addr]netlink.Addr)
	onLink(t, node, ifname, func(l netlink.Link) error {
		list, err := netlink.AddrList(l, netlink.FAMILY_V6)
		for _, a := range list {
			if addr, _ := netip.AddrFromSlice(a.IP); !addr.IsLoopback() && a.Mask.String() == net.CIDRMask(128, 128).String() {
				all[addr] = a
			}
		}
		return err
	})
	return all
}

func isBound6(t testing.TB, node *testnet.Node, ifname string, addr netip.Addr) bool {
	t.Helper()
	_, ok := bound6(t, node, ifname)[addr]
	return ok
}

// sysctl6 sets a setting below net.ipv6.
func sysctl6(t testing.TB, node *testnet.Node, name, value string) {
	t.Helper()
	within(t, node, func() error { return os.WriteFile("/proc/sys/net/ipv6/"+name, []byte(value), 0) })
}

// sourceFor returns the address that the node's kernel would send from.
func sourceFor(t testing.TB, node *testnet.Node, dst netip.Addr) netip.Addr {
	t.Helper()
	conn, err := node.DialContext(t.Context(), "udp6", netip.AddrPortFrom(dst, 9).String())
	require.NoError(t, err)
	defer conn.Close()
	return conn.LocalAddr().(*net.UDPAddr).AddrPort().Addr()
}

// neighbor tells the node where an address is.
func neighbor(t testing.TB, node *testnet.Node, addr netip.Addr, state int, hw net.HardwareAddr) {
	t.Helper()
	onLink(t, node, "eth0", func(l netlink.Link) error {
		return netlink.NeighSet(&netlink.Neigh{
			LinkIndex: l.Attrs().Index, Family: netlink.FAMILY_V6, State: state, IP: addr.AsSlice(), HardwareAddr: hw,
		})
	})
}

// An IPv6 address on lo: without duplicate address detection, without a route,
// deprecated, for ever, and marked; no setting of ARP is needed. The kernel takes
// traffic for it, but neither answers a solicitation for it nor sends from it.
func TestBindLoopback6(t *testing.T) {
	b, client := newBench6(t)
	s := start(t, b.node, announce.Config{}, assigned(announce.Standby, vip6)...)
	s.ready(t, 1)
	a := bound6(t, b.node, "lo")[vip6]
	require.NotNil(t, a.IPNet)
	require.Equal(t, unix.IFA_F_NODAD|unix.IFA_F_NOPREFIXROUTE|unix.IFA_F_DEPRECATED|unix.IFA_F_PERMANENT, a.Flags)
	require.Zero(t, a.PreferedLft)
	require.Equal(t, uint32(math.MaxUint32), uint32(a.ValidLft))
	require.Equal(t, "0", sysctl(t, b.node, "arp_ignore"))

	// Traffic for it is taken.
	neighbor(t, client, vip6, unix.NUD_PERMANENT, b.node.HardwareAddr)
	listener, err := b.node.Listen(t.Context(), "tcp6", netip.AddrPortFrom(vip6, 0).String())
	require.NoError(t, err)
	defer listener.Close()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	conn, err := client.DialContext(ctx, "tcp6", listener.Addr().String())
	require.NoError(t, err)
	require.NoError(t, conn.Close())

	// Nobody answers for it: neither a group's solicitation nor one for the
	// neighbor alone.
	sysctl6(t, client, "neigh/eth0/retrans_time_ms", "50")
	sysctl6(t, client, "neigh/eth0/delay_first_probe_time", "0")
	for name, begin := range map[string]int{"multicast": unix.NUD_FAILED, "unicast": unix.NUD_STALE} {
		neighbor(t, client, vip6, begin, b.node.HardwareAddr)
		udp, err := client.DialContext(t.Context(), "udp6", netip.AddrPortFrom(vip6, 9).String())
		require.NoError(t, err)
		_, err = udp.Write([]byte("x"))
		require.NoError(t, err, name)
		left := false // it has asked
		eventually(t, func() bool {
			state := neighborState(t, client, vip6)
			require.Zero(t, state&unix.NUD_REACHABLE, name)
			left = left || state&(unix.NUD_INCOMPLETE|unix.NUD_PROBE) != 0
			return left && state == unix.NUD_FAILED
		}, name+": nobody answers")
		require.NoError(t, udp.Close())
	}

	// It is no source.
	onLink(t, b.node, "eth0", func(l netlink.Link) error {
		return netlink.RouteAdd(&netlink.Route{LinkIndex: l.Attrs().Index, Gw: client.LinkLocal.AsSlice(), Dst: &net.IPNet{IP: net.IPv6zero, Mask: net.CIDRMask(0, 128)}})
	})
	require.Equal(t, own6, sourceFor(t, b.node, netip.MustParseAddr("2001:db8::50")))
	require.Equal(t, own6, sourceFor(t, b.node, far6))
	require.Equal(t, own6, sourceFor(t, b.node, netip.MustParseAddr("2001:db8::101")), "though vip6 is closer")

	require.NoError(t, s.stop())
	require.Empty(t, bound6(t, b.node, "lo"))
}

func neighborState(t testing.TB, node *testnet.Node, addr netip.Addr) (state int) {
	t.Helper()
	onLink(t, node, "eth0", func(l netlink.Link) error {
		list, err := netlink.NeighList(l.Attrs().Index, netlink.FAMILY_V6)
		for _, n := range list {
			if n.IP.Equal(addr.AsSlice()) {
				state = n.State
			}
		}
		return err
	})
	return state
}

// Both families are marked alike, so that the addresses of a killed process are
// found: those wanted stay on without a gap, the others are removed, and what
// others have bound is left alone.
func TestLeftovers6(t *testing.T) {
	b, _ := newBench6(t)
	foreign := netip.MustParseAddr("2001:db8::77")
	onLink(t, b.node, "lo", func(l netlink.Link) error { return netlink.AddrAdd(l, addrOn(foreign.String()+"/128")) })
	child, _ := startChild(t, b.node, "speaker6", nil)
	require.NoError(t, child.Process.Kill())
	_ = child.Wait()
	require.Len(t, bound6(t, b.node, "lo"), 3)
	require.True(t, isBound(t, b.node, "lo", vip))

	gone := make(chan netlink.AddrUpdate, 64)
	stop := make(chan struct{})
	within(t, b.node, func() error { return netlink.AddrSubscribe(gone, stop) })
	s := start(t, b.node, announce.Config{}, assigned(announce.Standby, vip6)...)
	s.ready(t, 1)
	other := vip6.Next()
	eventually(t, func() bool { return !isBound6(t, b.node, "lo", other) && !isBound(t, b.node, "lo", vip) }, "what is not asked for is removed")
	require.NoError(t, s.stop())
	require.Len(t, bound6(t, b.node, "lo"), 1)
	require.True(t, isBound6(t, b.node, "lo", foreign))
	var removed []string
	for range 3 {
		select {
		case update := <-gone:
			require.False(t, update.NewAddr, "what is wanted still was never taken off")
			removed = append(removed, update.LinkAddress.IP.String())
		case <-time.After(patience):
			require.FailNow(t, "removals are missing", removed)
		}
	}
	close(stop)
	for update := range gone {
		require.Fail(t, "more than that happened", update)
	}
	require.ElementsMatch(t, []string{other.String(), vip.String(), vip6.String()}, removed)
	require.Equal(t, vip6.String(), removed[2])
}

// runSpeaker6 binds addresses of both families until it is killed.
func runSpeaker6() int {
	return speak(assigned(announce.Standby, vip, vip6, vip6.Next()))
}

// Two announcers in one namespace know each other's IPv6 addresses.
func TestTwoAnnouncers6(t *testing.T) {
	b, _ := newBench6(t)
	one := start(t, b.node, announce.Config{}, assigned(announce.Standby, vip6)...)
	one.ready(t, 1)
	two := start(t, b.node, announce.Config{}, assigned(announce.Standby, vip6, vip6.Next())...)
	two.ready(t, 2)
	require.NoError(t, two.Set([]announce.Assignment{}))
	eventually(t, func() bool { return !isBound6(t, b.node, "lo", vip6.Next()) }, "what nobody wants is gone")
	require.True(t, isBound6(t, b.node, "lo", vip6))
	require.NoError(t, two.Set(assigned(announce.Standby, vip6)))
	two.ready(t, 1)
	require.NoError(t, one.stop())
	eventually(t, func() bool { return isBound6(t, b.node, "lo", vip6) }, "bound by the other")
}

// With IPv6 disabled on lo the address is not bound, and why is said; IPv4 is not
// harmed, and all is well when it is enabled again.
func TestDisabledIPv6(t *testing.T) {
	b, _ := newBench6(t)
	sysctl6(t, b.node, "conf/lo/disable_ipv6", "1")
	s := start(t, b.node, announce.Config{}, assigned(announce.Standby, vip, vip6)...)
	disabled := func(f announce.Facts) bool { return about(f, vip6).Problem == announce.NotBound }
	for range 2 {
		f := s.await(t, disabled)
		require.Contains(t, about(f, vip6).Detail, "set net.ipv6.conf.lo.disable_ipv6=0")
		require.Equal(t, announce.NoProblem, about(f, vip).Problem)
		sysctl6(t, b.node, "conf/lo/disable_ipv6", "0")
		s.ready(t, 2)
		require.True(t, isBound6(t, b.node, "lo", vip6))
		sysctl6(t, b.node, "conf/lo/disable_ipv6", "1") // takes all addresses off
		s.await(t, func(f announce.Facts) bool {
			return disabled(f) && about(f, vip6).Detail != "somebody took it off the interface"
		})
	}
}

// What somebody takes off is bound again.
func TestRemoval6(t *testing.T) {
	b, _ := newBench6(t)
	s := start(t, b.node, announce.Config{}, assigned(announce.Standby, vip6)...)
	s.ready(t, 1)
	before := len(s.reports())
	onLink(t, b.node, "lo", func(l netlink.Link) error { return netlink.AddrDel(l, addrOn(vip6.String()+"/128")) })
	s.await(t, func(announce.Facts) bool { return len(s.reports()) >= before+2 })
	require.Equal(t, announce.NotBound, about(s.reports()[before], vip6).Problem)
	s.ready(t, 1)
	require.True(t, isBound6(t, b.node, "lo", vip6))
}

// On the interface an IPv6 address has a short lifetime, which follows the lease,
// and no duplicate address detection. An address of link scope may be there, too.
func TestBindInterface6(t *testing.T) {
	t.Parallel()
	b, _ := newBench6(t)
	s := start(t, b.node, announce.Config{Bind: announce.Interface}, answering(vip6, linkVIP6)...)
	s.ready(t, 2)
	for _, addr := range []netip.Addr{vip6, linkVIP6} {
		eventually(t, func() bool { return isBound6(t, b.node, "eth0", addr) }, "bound")
		a := bound6(t, b.node, "eth0")[addr]
		require.Equal(t, unix.IFA_F_NODAD|unix.IFA_F_NOPREFIXROUTE|unix.IFA_F_DEPRECATED, a.Flags)
		require.LessOrEqual(t, a.ValidLft, 3)
		require.Positive(t, a.ValidLft)
	}
	updates, stop := make(chan netlink.AddrUpdate, 256), make(chan struct{})
	within(t, b.node, func() error { return netlink.AddrSubscribe(updates, stop) })
	for range 6 {
		require.True(t, (<-updates).NewAddr, "renewed before it expires")
	}
	s.Renew(-1)
	for removed := 0; removed < 2; {
		if !(<-updates).NewAddr {
			removed++
		}
	}
	close(stop)
	for range updates { //nolint:revive // until its reader has ended
	}
	s.Renew(patience)
	eventually(t, func() bool { return isBound6(t, b.node, "eth0", vip6) }, "bound again")
	require.NoError(t, s.Set(assigned(announce.Standby, vip6)))
	eventually(t, func() bool { return len(bound6(t, b.node, "eth0")) == 0 }, "taken back")
}

// An address that the interface has as one of a subnet is used as it is, though
// IPv6 takes both for the same.
func TestBindInterfaceLeavesForeignAddress6(t *testing.T) {
	b, _ := newBench6(t)
	s := start(t, b.node, announce.Config{Bind: announce.Interface}, answering(own6, vip6)...)
	s.ready(t, 2)
	eventually(t, func() bool { return isBound6(t, b.node, "eth0", vip6) }, "bound")
	require.NoError(t, s.Set([]announce.Assignment{}))
	eventually(t, func() bool { return !isBound6(t, b.node, "eth0", vip6) }, "taken back")
	onLink(t, b.node, "eth0", func(l netlink.Link) error {
		list, err := netlink.AddrList(l, netlink.FAMILY_V6)
		for _, a := range list {
			if a.IP.Equal(own6.AsSlice()) {
				require.Equal(t, uint32(math.MaxUint32), uint32(a.ValidLft))
				return err
			}
		}
		require.Fail(t, "the address is gone")
		return err
	})
}

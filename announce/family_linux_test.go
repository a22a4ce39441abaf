package announce_test

import (
	"encoding/binary"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/l2vip/l2vip/announce"
	"github.com/l2vip/l2vip/internal/testnet"
)

// family is IPv4 or IPv6, with the addresses of a bench.
type family struct {
	number          int // as netlink has it
	bits            int // of the subnet
	vip             netip.Addr
	speaker, client netip.Addr
	other           netip.Addr // of one more node
}

// eachFamily runs a test for IPv4 and for IPv6.
func eachFamily(t *testing.T, test func(t *testing.T, b *bench, f family)) {
	for name, f := range map[string]family{
		"IPv4": {
			netlink.FAMILY_V4, 24, vip,
			netip.MustParseAddr("192.168.122.10"), netip.MustParseAddr("192.168.122.50"), netip.MustParseAddr("192.168.122.11"),
		},
		"IPv6": {
			netlink.FAMILY_V6, 64, netip.MustParseAddr("2001:db8:122::100"),
			netip.MustParseAddr("2001:db8:122::10"), netip.MustParseAddr("2001:db8:122::50"), netip.MustParseAddr("2001:db8:122::11"),
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			if f.number == netlink.FAMILY_V6 {
				f.give(t, b.node, f.speaker)
				f.give(t, b.client.node, f.client)
			}
			test(t, b, f)
		})
	}
}

// give gives a node one more address of the subnet, without a word on the wire.
func (f *family) give(t testing.TB, node *testnet.Node, addr netip.Addr) {
	t.Helper()
	onLink(t, node, "eth0", func(l netlink.Link) error {
		a := &netlink.Addr{IPNet: &net.IPNet{IP: addr.AsSlice(), Mask: net.CIDRMask(f.bits, addr.BitLen())}}
		if addr.Is6() {
			a.Flags = unix.IFA_F_NODAD
		}
		return netlink.AddrAdd(l, a)
	})
}

// entry returns what the node's kernel knows of a neighbor.
func (f *family) entry(t testing.TB, node *testnet.Node, addr netip.Addr) (entry netlink.Neigh) {
	t.Helper()
	within(t, node, func() error {
		list, err := netlink.NeighList(node.Index, f.number)
		for _, n := range list {
			if n.IP.Equal(addr.AsSlice()) {
				entry = n
			}
		}
		return err
	})
	return entry
}

// setEntry tells the node's kernel of a neighbor.
func (f *family) setEntry(t testing.TB, node *testnet.Node, addr netip.Addr, hw net.HardwareAddr) {
	t.Helper()
	within(t, node, func() error {
		return netlink.NeighSet(&netlink.Neigh{
			LinkIndex: node.Index, Family: f.number, IP: addr.AsSlice(), State: netlink.NUD_STALE, HardwareAddr: hw,
		})
	})
}

// tune sets how the node's kernel finds its neighbors.
func (f *family) tune(t testing.TB, node *testnet.Node, name, value string) {
	t.Helper()
	version := "ipv4"
	if f.number == netlink.FAMILY_V6 {
		version = "ipv6"
	}
	within(t, node, func() error {
		return os.WriteFile("/proc/sys/net/"+version+"/neigh/"+node.Interface+"/"+name, []byte(value), 0)
	})
}

// talk makes the node's kernel send datagrams to addr until cond holds. Nobody has
// to listen to them.
func talk(t testing.TB, node *testnet.Node, addr netip.Addr, cond func() bool, what string) {
	t.Helper()
	conn, err := node.DialContext(t.Context(), "udp", netip.AddrPortFrom(addr, 9).String())
	require.NoError(t, err)
	defer conn.Close()
	eventually(t, func() bool {
		_, _ = conn.Write([]byte("hello")) // an error is that of the one before
		return cond()
	}, what)
}

// asked is a request or a solicitation that was seen.
type asked struct {
	dst  net.HardwareAddr
	from netip.Addr
}

// nextQuestion returns the next request or solicitation for addr from a hardware
// address.
func (s *station) nextQuestion(t testing.TB, from net.HardwareAddr, addr netip.Addr) asked {
	t.Helper()
	require.NoError(t, s.conn.SetReadDeadline(time.Now().Add(patience)))
	buf := make([]byte, 2048)
	for {
		n, _, err := s.conn.ReadFrom(buf)
		require.NoError(t, err, "a question about %v", addr)
		if n < 42 || net.HardwareAddr(buf[6:12]).String() != from.String() {
			continue
		}
		q := asked{dst: append(net.HardwareAddr{}, buf[:6]...)}
		var about netip.Addr
		switch kind := binary.BigEndian.Uint16(buf[12:]); {
		case kind == unix.ETH_P_ARP && binary.BigEndian.Uint16(buf[20:]) == 1:
			q.from, about = netip.AddrFrom4([4]byte(buf[28:])), netip.AddrFrom4([4]byte(buf[38:]))
		case kind == unix.ETH_P_IPV6 && n >= 78 && buf[20] == unix.IPPROTO_ICMPV6 && buf[54] == 135:
			q.from, about = netip.AddrFrom16([16]byte(buf[22:])), netip.AddrFrom16([16]byte(buf[62:]))
		}
		if about == addr && q.from != addr {
			return q
		}
	}
}

// tool returns the path of a program that a test needs.
func tool(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		if os.Getenv("L2VIP_WIRE") == "require" {
			t.Fatal("needs " + name)
		}
		t.Skip("needs " + name)
	}
	return path
}

// rivalOf returns what is reported of another station that claims addr.
func rivalOf(f announce.Facts, addr netip.Addr) string { return about(f, addr).Rival.String() }

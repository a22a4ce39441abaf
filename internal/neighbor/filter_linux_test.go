package neighbor_test

import (
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/mdlayher/packet"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"

	"github.com/l2vip/l2vip/internal/neighbor"
	"github.com/l2vip/l2vip/internal/testnet"
)

func newNode(t *testing.T, lab *testnet.Lab, name, prefix string) *testnet.Node {
	t.Helper()
	node, err := lab.AddNode(name, netip.MustParsePrefix(prefix))
	require.NoError(t, err)
	return node
}

func newLab(t *testing.T) *testnet.Lab {
	t.Helper()
	testnet.Require(t)
	lab, err := testnet.NewLab()
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, lab.Close()) })
	return lab
}

func TestWireFilter(t *testing.T) {
	lab := newLab(t)
	here, there := newNode(t, lab, "here", "192.0.2.1/24"), newNode(t, lab, "there", "192.0.2.2/24")
	frames, err := there.Frames()
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, frames.Close()) })

	station := [6]byte{2, 0, 0, 0, 0, 99}
	to := func(hw net.HardwareAddr) func([]byte) []byte {
		return func(b []byte) []byte { copy(b, hw); return b }
	}
	tag := func(tci ...byte) func([]byte) []byte {
		return func(b []byte) []byte { return slices.Insert(b, 12, append([]byte{0x81, 0x00}, tci...)...) }
	}
	next := func(header byte, icmp ipv6.ICMPType) func([]byte) []byte {
		return func(b []byte) []byte { b[20], b[54] = header, byte(icmp); return b }
	}
	type change struct {
		name   string
		change func([]byte) []byte
		seen   bool
	}
	all := []change{
		{"a VLAN", tag(0, 7), false},
		{"a priority and a VLAN", tag(0x60, 7), false},
		{"a priority", tag(0x60, 0), true},
		{"for another station", to(net.HardwareAddr{2, 0, 0, 0, 0, 98}), false},
		{"for this host", to(here.HardwareAddr), true},
		{"as it is", to(nil), true},
	}
	for _, tc := range []struct {
		protocol int
		addr     string
		changes  []change
	}{
		{unix.ETH_P_ARP, "192.0.2.100", all},
		{unix.ETH_P_IPV6, "2001:db8::100", append([]change{
			{"an advertisement", next(58, ipv6.ICMPTypeNeighborAdvertisement), true},
			{"of a router", next(58, ipv6.ICMPTypeRouterAdvertisement), false},
			{"an echo", next(58, ipv6.ICMPTypeEchoRequest), false},
			{"of UDP", next(unix.IPPROTO_UDP, ipv6.ICMPTypeNeighborSolicitation), false},
		}, all...)},
	} {
		program, err := neighbor.Filter(tc.protocol)
		require.NoError(t, err)
		var conn *packet.Conn
		require.NoError(t, here.Do(func() (err error) {
			ifi := &net.Interface{Index: here.Index, Name: here.Interface, HardwareAddr: here.HardwareAddr}
			conn, err = packet.Listen(ifi, packet.Raw, tc.protocol, &packet.Config{Filter: program})
			return err
		}))
		t.Cleanup(func() { require.NoError(t, conn.Close()) })
		var want []string
		for i, c := range tc.changes {
			b, err := neighbor.Probe(netip.MustParseAddr(tc.addr), station)
			require.NoError(t, err)
			b[41] = byte(i) // tells the frames apart
			if b = c.change(b); c.seen {
				want = append(want, c.name)
			}
			_, err = frames.WriteTo(b, frames.LocalAddr())
			require.NoError(t, err)
		}
		var got []string
		require.NoError(t, conn.SetReadDeadline(time.Now().Add(20*time.Second)))
		for b := make([]byte, 200); !slices.Contains(got, "as it is"); {
			_, _, err := conn.ReadFrom(b)
			require.NoError(t, err, "saw only %q", got)
			if [6]byte(b[6:]) == station {
				got = append(got, tc.changes[b[41]].name)
			}
		}
		require.Equal(t, want, got)
	}
}

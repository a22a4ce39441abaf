package neighbor_test

import (
	"net"
	"net/netip"
	"testing"

	"github.com/mdlayher/arp"
	"github.com/mdlayher/ethernet"
	"github.com/mdlayher/ndp"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/ipv6"
	"pgregory.net/rapid"

	"github.com/l2vip/l2vip/internal/neighbor"
)

func drawBytes(t *rapid.T, n int, label string) []byte {
	return rapid.SliceOfN(rapid.Byte(), n, n).Draw(t, label)
}

// probed returns a probe, and the payload of the frame.
func probed(t *rapid.T, addr netip.Addr, to net.HardwareAddr, typ ethernet.EtherType) (own [6]byte, payload []byte) {
	own = [6]byte(drawBytes(t, 6, "own"))
	b, err := neighbor.Probe(addr, own)
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(b), 60)
	var frame ethernet.Frame
	require.NoError(t, frame.UnmarshalBinary(b))
	require.Equal(t, to, frame.Destination)
	require.Equal(t, net.HardwareAddr(own[:]), frame.Source)
	require.Equal(t, typ, frame.EtherType)
	return own, frame.Payload
}

// The probe of RFC 5227 section 2.1.1.
func TestProbeARP(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		addr := netip.AddrFrom4([4]byte(drawBytes(t, 4, "addr")))
		own, payload := probed(t, addr, ethernet.Broadcast, ethernet.EtherTypeARP)
		var got arp.Packet
		require.NoError(t, got.UnmarshalBinary(payload))
		want, err := arp.NewPacket(arp.OperationRequest, own[:], netip.IPv4Unspecified(), make([]byte, 6), addr)
		require.NoError(t, err)
		require.Equal(t, *want, got)
	})
}

// The solicitation of RFC 4862 section 5.4.2.
func TestProbeNDP(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		addr := netip.AddrFrom16([16]byte(append([]byte{0x20}, drawBytes(t, 15, "addr")...)))
		group, err := ndp.SolicitedNodeMulticast(addr)
		require.NoError(t, err)
		low := group.As16()
		_, packet := probed(t, addr, net.HardwareAddr{0x33, 0x33, low[12], low[13], low[14], low[15]}, ethernet.EtherTypeIPv6)
		header, err := ipv6.ParseHeader(packet)
		require.NoError(t, err)
		require.Equal(t, ipv6.Header{
			Version: 6, PayloadLen: 24, NextHeader: 58, HopLimit: 255,
			Src: net.IPv6unspecified, Dst: group.AsSlice(),
		}, *header)
		want, err := ndp.MarshalMessageChecksum(&ndp.NeighborSolicitation{TargetAddress: addr}, netip.IPv6Unspecified(), group)
		require.NoError(t, err)
		require.Equal(t, want, packet[ipv6.HeaderLen:])
	})
}

func TestNoProbe(t *testing.T) {
	for _, addr := range []netip.Addr{{}, netip.MustParseAddr("::ffff:192.0.2.1")} {
		_, err := neighbor.Probe(addr, [6]byte{2})
		require.Error(t, err, addr)
	}
}

package memnet_test

import (
	"net/netip"
	"testing"

	"github.com/mdlayher/arp"
	"github.com/mdlayher/ndp"
	"github.com/stretchr/testify/require"

	"github.com/l2vip/l2vip/internal/neighbor"
	"github.com/l2vip/l2vip/internal/testnet/memnet"
)

// asks reports whether a probe for an address is answered.
func asks(t *testing.T, from *node, addr netip.Addr) bool {
	t.Helper()
	frame, err := neighbor.Probe(addr, from.hw())
	require.NoError(t, err)
	require.NoError(t, second(from.Write(frame)))
	return len(from.frames()) > 0
}

func TestKernelAnswersARP(t *testing.T) {
	bubble(t, memnet.SwitchConfig{}, func(t *testing.T, s *memnet.Switch) {
		a, b, third := plug(t, s, 1), plug(t, s, 2), plug(t, s, 3)
		zero := netip.IPv4Unspecified()
		for _, tc := range []struct {
			name           string
			op             arp.Operation
			sender, target netip.Addr
			answered       bool
		}{
			{"a request", arp.OperationRequest, v4(1), v4(2), true},
			{"a probe", arp.OperationRequest, zero, v4(2), true},
			{"a request for another address", arp.OperationRequest, v4(1), v4(8), false},
			{"a reply", arp.OperationReply, v4(1), v4(2), false},
			{"an announcement of its address by another station", arp.OperationRequest, v4(2), v4(2), false},
		} {
			frame, err := neighbor.ARP(tc.op, a.hw(), tc.sender, [6]byte{}, tc.target)
			require.NoError(t, err)
			require.NoError(t, second(a.Write(frame)))
			got := a.frames()
			require.Len(t, third.frames(), 1, "%s: it hears the question only", tc.name)
			if !tc.answered {
				require.Empty(t, got, tc.name)
				continue
			}
			want, err := neighbor.ARP(arp.OperationReply, b.hw(), tc.target, a.hw(), tc.sender)
			require.NoError(t, err)
			hw := a.hw()
			copy(want, hw[:])
			require.Equal(t, [][]byte{want}, got, tc.name)
		}
		require.Empty(t, b.Process.Neighbors(3))
		require.False(t, asks(t, a, v4(8)))
		b.Link(2).SetAddrs(v4(8))
		require.True(t, asks(t, a, v4(8)))
		require.False(t, asks(t, a, v4(2)))
	})
}

func TestKernelAnswersNDP(t *testing.T) {
	bubble(t, memnet.SwitchConfig{}, func(t *testing.T, s *memnet.Switch) {
		a, b, third := plug(t, s, 1), plug(t, s, 2), plug(t, s, 3)
		hwA, hwB := a.hw(), b.hw()
		solicited, err := ndp.SolicitedNodeMulticast(v6(2))
		require.NoError(t, err)
		lla := []ndp.Option{&ndp.LinkLayerAddress{Direction: ndp.Source, Addr: hwA[:]}}
		tlla := []ndp.Option{&ndp.LinkLayerAddress{Direction: ndp.Target, Addr: hwB[:]}}
		for _, tc := range []struct {
			name         string
			source, dest netip.Addr
			options      []ndp.Option
			target       netip.Addr
			solicited    bool
			override     bool
			answer       []ndp.Option
			to           netip.Addr // invalid: no answer
		}{
			{name: "to the group", source: v6(1), dest: solicited, options: lla, target: v6(2), solicited: true, override: true, answer: tlla, to: v6(1)},
			{name: "to the group without an option", source: v6(1), dest: solicited, target: v6(2), solicited: true, override: true, answer: tlla, to: v6(1)},
			{name: "to the address", source: v6(1), dest: v6(2), options: lla, target: v6(2), solicited: true, to: v6(1)},
			{name: "duplicate address detection", source: netip.IPv6Unspecified(), dest: solicited, target: v6(2), override: true, answer: tlla, to: netip.IPv6LinkLocalAllNodes()},
			{name: "duplicate address detection to the address", source: netip.IPv6Unspecified(), dest: v6(2), target: v6(2)},
			{name: "for another address", source: v6(1), dest: solicited, target: v6(8)},
			{name: "from its own address", source: v6(2), dest: solicited, target: v6(2)},
		} {
			frame, err := neighbor.NDP(&ndp.NeighborSolicitation{TargetAddress: tc.target, Options: tc.options}, hwA, tc.source, tc.dest)
			require.NoError(t, err)
			copy(frame, hwB[:]) // whatever the address in the packet is
			require.NoError(t, second(a.Write(frame)))
			got := a.frames()
			if !tc.to.IsValid() {
				require.Empty(t, got, tc.name)
				continue
			}
			want, err := neighbor.NDP(&ndp.NeighborAdvertisement{
				Solicited: tc.solicited, Override: tc.override, TargetAddress: tc.target, Options: tc.answer,
			}, hwB, tc.target, tc.to)
			require.NoError(t, err)
			if !tc.to.IsMulticast() {
				copy(want, hwA[:])
			}
			require.Equal(t, [][]byte{want}, got, tc.name)
			require.Equal(t, tc.to.IsMulticast(), len(third.frames()) > 0, tc.name)
		}
		// An advertisement is no question, and a forwarded solicitation none either.
		require.False(t, asks(t, a, v6(8)))
		frame, err := neighbor.Probe(v6(2), hwA)
		require.NoError(t, err)
		frame[14+7]--
		require.NoError(t, second(a.Write(frame)))
		require.Empty(t, a.frames())
	})
}

// FuzzKernel sends frames to a kernel, which has to bear them all.
func FuzzKernel(f *testing.F) {
	for _, addr := range []netip.Addr{v4(1), v6(1)} {
		frame, err := neighbor.Probe(addr, [6]byte{2, 0, 0, 0, 0, 9})
		require.NoError(f, err)
		f.Add(frame)
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		if len(frame) > 0 {
			frame[0] |= 1
		}
		s := memnet.NewSwitch(memnet.SwitchConfig{})
		s.Station("kernel", v4(1), v6(1))
		port, err := s.Station("stranger").Start().Open(2)
		require.NoError(t, err)
		_, _ = port.Write(frame)
	})
}

package main

import (
	"net"
	"net/netip"
	"testing"

	"github.com/mdlayher/arp"
	"github.com/mdlayher/ethernet"
	"github.com/stretchr/testify/require"
)

func TestClaimant(t *testing.T) {
	vip, other := netip.MustParseAddr("192.168.122.100"), netip.MustParseAddr("192.168.122.50")
	mac, client := net.HardwareAddr{2, 0, 0, 0, 0, 1}, net.HardwareAddr{2, 0, 0, 0, 0, 5}
	frame := func(op arp.Operation, sender, target netip.Addr) []byte {
		inner := must(arp.NewPacket(op, mac, sender, client, target))
		outer := ethernet.Frame{
			Destination: client, Source: mac, EtherType: ethernet.EtherTypeARP, Payload: must(inner.MarshalBinary()),
		}
		return must(outer.MarshalBinary())
	}
	for name, tc := range map[string]struct {
		frame  []byte
		claims bool
	}{
		"reply":           {frame(arp.OperationReply, vip, other), true},
		"announcement":    {frame(arp.OperationRequest, vip, vip), true},
		"question for it": {frame(arp.OperationRequest, other, vip), false},
		"probe for it":    {frame(arp.OperationRequest, netip.IPv4Unspecified(), vip), false},
		"cut off":         {frame(arp.OperationReply, vip, other)[:30], false},
		"nothing":         {nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			sender, ok := claimant(tc.frame, vip)
			require.Equal(t, tc.claims, ok)
			if ok {
				require.Equal(t, mac, sender)
			}
		})
	}
}

package main

import (
	"net"
	"net/netip"
	"testing"

	"github.com/mdlayher/arp"
	"github.com/mdlayher/ethernet"
	"github.com/mdlayher/ndp"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/ipv6"
)

func TestClaimant(t *testing.T) {
	mac, client := net.HardwareAddr{2, 0, 0, 0, 0, 1}, net.HardwareAddr{2, 0, 0, 0, 0, 5}
	frame := func(etherType ethernet.EtherType, payload []byte) []byte {
		outer := ethernet.Frame{Destination: client, Source: mac, EtherType: etherType, Payload: payload}
		return must(outer.MarshalBinary())
	}

	vip, other := overIPv4.prefix(serviceEnd).Addr(), overIPv4.addr(user)
	arpFrame := func(op arp.Operation, sender, target netip.Addr) []byte {
		inner := must(arp.NewPacket(op, mac, sender, client, target))
		return frame(ethernet.EtherTypeARP, must(inner.MarshalBinary()))
	}
	vip6, other6 := overIPv6.prefix(serviceEnd).Addr(), overIPv6.addr(user)
	ndpFrame := func(message ndp.Message, source, target netip.Addr) []byte {
		payload := must(ndp.MarshalMessageChecksum(message, source, target))
		header := make([]byte, ipv6.HeaderLen, ipv6.HeaderLen+len(payload))
		header[0], header[5], header[6], header[7] = ipv6.Version<<4, byte(len(payload)), protoICMPv6, 255
		copy(header[8:], source.AsSlice())
		copy(header[24:], target.AsSlice())
		return frame(ethernet.EtherTypeIPv6, append(header, payload...))
	}
	allNodes, group := netip.MustParseAddr("ff02::1"), must(ndp.SolicitedNodeMulticast(vip6))
	answer := &ndp.NeighborAdvertisement{TargetAddress: vip6, Solicited: true, Override: true}
	announcement := &ndp.NeighborAdvertisement{TargetAddress: vip6, Override: true}
	question := &ndp.NeighborSolicitation{TargetAddress: vip6}
	tcp := ndpFrame(answer, vip6, other6)
	tcp[14+6] = 6

	for name, tc := range map[string]struct {
		frame  []byte
		vip    netip.Addr
		claims bool
	}{
		"ARP reply":           {arpFrame(arp.OperationReply, vip, other), vip, true},
		"ARP announcement":    {arpFrame(arp.OperationRequest, vip, vip), vip, true},
		"ARP question for it": {arpFrame(arp.OperationRequest, other, vip), vip, false},
		"ARP probe for it":    {arpFrame(arp.OperationRequest, netip.IPv4Unspecified(), vip), vip, false},
		"ARP cut off":         {arpFrame(arp.OperationReply, vip, other)[:30], vip, false},
		"NDP answer":          {ndpFrame(answer, vip6, other6), vip6, true},
		"NDP announcement":    {ndpFrame(announcement, vip6, allNodes), vip6, true},
		"NDP of another":      {ndpFrame(&ndp.NeighborAdvertisement{TargetAddress: other6}, other6, allNodes), vip6, false},
		"NDP question for it": {ndpFrame(question, other6, group), vip6, false},
		"NDP detection of it": {ndpFrame(question, netip.IPv6Unspecified(), group), vip6, false},
		"NDP cut off":         {ndpFrame(answer, vip6, other6)[:70], vip6, false},
		"IPv6 cut off":        {ndpFrame(answer, vip6, other6)[:40], vip6, false},
		"IPv6 but not ICMPv6": {tcp, vip6, false},
		"nothing":             {nil, vip, false},
	} {
		t.Run(name, func(t *testing.T) {
			sender, ok := claimant(tc.frame, tc.vip)
			require.Equal(t, tc.claims, ok)
			if ok {
				require.Equal(t, mac, sender)
			}
		})
	}
}

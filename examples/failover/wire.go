package main

import (
	"net"
	"net/netip"

	"github.com/mdlayher/arp"
	"github.com/mdlayher/ethernet"
	"github.com/mdlayher/ndp"
	"github.com/mdlayher/packet"
	"golang.org/x/net/ipv6"

	"github.com/l2vip/l2vip/internal/testnet"
)

// protoICMPv6 is the next header of an IPv6 packet that NDP is in.
const protoICMPv6 = 58

// watch listens at a node's port to the ARP or NDP of the network, and enters on
// the board who answers for vip or announces it, whatever the speakers say.
func (l *lab) watch(node *testnet.Node, vip netip.Addr) error {
	err := node.Do(func() error {
		port := &net.Interface{Index: node.Index, Name: node.Interface, HardwareAddr: node.HardwareAddr}
		conn, err := packet.Listen(port, packet.Raw, int(l.family.etherType), nil)
		if err == nil {
			l.wire = conn
		}
		return err
	})
	if err != nil {
		return err
	}
	l.Go(func() {
		buf := make([]byte, 1514)
		for {
			n, _, err := l.wire.ReadFrom(buf)
			if err != nil {
				return // closed
			}
			if sender, ok := claimant(buf[:n], vip); ok {
				l.board.Update(func() { l.board.answered[l.names[sender.String()]] = true })
			}
		}
	})
	return nil
}

// claimant returns who says in a frame that vip is at its hardware address: by an
// ARP packet, or by a neighbor advertisement.
func claimant(frame []byte, vip netip.Addr) (net.HardwareAddr, bool) {
	var outer ethernet.Frame
	if outer.UnmarshalBinary(frame) != nil {
		return nil, false
	}
	if outer.EtherType == ethernet.EtherTypeARP {
		var inner arp.Packet
		claims := inner.UnmarshalBinary(outer.Payload) == nil && inner.SenderIP == vip
		return inner.SenderHardwareAddr, claims
	}
	header, err := ipv6.ParseHeader(outer.Payload)
	if err != nil || header.NextHeader != protoICMPv6 {
		return nil, false
	}
	message, _ := ndp.ParseMessage(outer.Payload[ipv6.HeaderLen:]) // nil with an error
	advertisement, ok := message.(*ndp.NeighborAdvertisement)
	return outer.Source, ok && advertisement.TargetAddress == vip
}

package main

import (
	"net"
	"net/netip"

	"github.com/mdlayher/arp"
	"github.com/mdlayher/ethernet"
	"github.com/mdlayher/packet"

	"github.com/l2vip/l2vip/internal/testnet"
)

// watch listens at a node's port to the ARP of the network, and enters on the
// board who answers for vip or announces it, whatever the speakers say.
func (l *lab) watch(node *testnet.Node, vip netip.Addr) error {
	err := node.Do(func() error {
		port := &net.Interface{Index: node.Index, Name: node.Interface, HardwareAddr: node.HardwareAddr}
		conn, err := packet.Listen(port, packet.Raw, int(ethernet.EtherTypeARP), nil)
		if err == nil {
			l.wire = conn
		}
		return err
	})
	if err != nil {
		return err
	}
	l.running.Go(func() {
		buf := make([]byte, 1514)
		for {
			n, _, err := l.wire.ReadFrom(buf)
			if err != nil {
				return // closed
			}
			if sender, ok := claimant(buf[:n], vip); ok {
				l.board.update(func() { l.board.answered[l.names[sender.String()]] = true })
			}
		}
	})
	return nil
}

// claimant returns who says in a frame that vip is at its hardware address.
func claimant(frame []byte, vip netip.Addr) (net.HardwareAddr, bool) {
	var outer ethernet.Frame
	var inner arp.Packet
	if outer.UnmarshalBinary(frame) != nil || inner.UnmarshalBinary(outer.Payload) != nil || inner.SenderIP != vip {
		return nil, false
	}
	return inner.SenderHardwareAddr, true
}

package memnet

import (
	"net/netip"
	"slices"

	"github.com/mdlayher/arp"
	"github.com/mdlayher/ethernet"
	"github.com/mdlayher/ndp"

	"github.com/l2vip/l2vip/internal/neighbor"
)

const (
	ipv6Len     = 40 // of the header
	protoICMPv6 = 58
	hopLimit    = 255 // no router has forwarded it (RFC 4861 section 7.1)
)

// answer returns what the kernel sends when it receives a frame, as Linux does it;
// nil if nothing.
func (l *Link) answer(frame []byte) []byte {
	var f ethernet.Frame
	if f.UnmarshalBinary(frame) != nil {
		return nil
	}
	switch f.EtherType {
	case ethernet.EtherTypeARP:
		return l.answerARP(f.Payload)
	case ethernet.EtherTypeIPv6:
		return l.answerNDP([6]byte(f.Source), f.Payload)
	}
	return nil
}

// answerARP answers requests for an own address, probes included. One from an own
// address, as when another station announces it, is no question.
func (l *Link) answerARP(payload []byte) []byte {
	var request arp.Packet
	if request.UnmarshalBinary(payload) != nil || request.Operation != arp.OperationRequest || len(request.SenderHardwareAddr) != 6 ||
		!l.has(request.TargetIP) || l.has(request.SenderIP) {
		return nil
	}
	asker := [6]byte(request.SenderHardwareAddr)
	frame, err := neighbor.ARP(arp.OperationReply, l.hw, request.TargetIP, asker, request.SenderIP)
	if err != nil {
		return nil
	}
	copy(frame, asker[:])
	return frame
}

// answerNDP answers solicitations of an own address (RFC 4861 section 7.2.4): one
// of duplicate address detection to all nodes; one to a group with the override
// flag and the link-layer address, and one to the address itself with neither.
func (l *Link) answerNDP(from [6]byte, packet []byte) []byte {
	if len(packet) < ipv6Len || packet[6] != protoICMPv6 || packet[7] != hopLimit {
		return nil
	}
	source, dest := netip.AddrFrom16([16]byte(packet[8:])), netip.AddrFrom16([16]byte(packet[24:]))
	message, err := ndp.ParseMessage(packet[ipv6Len:])
	solicitation, ok := message.(*ndp.NeighborSolicitation)
	if err != nil || !ok || !l.has(solicitation.TargetAddress) || l.has(source) {
		return nil
	}
	to, hw := source, from
	for _, option := range solicitation.Options {
		if lla, ok := option.(*ndp.LinkLayerAddress); ok && lla.Direction == ndp.Source && len(lla.Addr) == 6 {
			hw = [6]byte(lla.Addr)
		}
	}
	duplicate := source.IsUnspecified()
	if duplicate {
		if !dest.IsMulticast() {
			return nil
		}
		to, hw = netip.IPv6LinkLocalAllNodes(), [6]byte{0x33, 0x33, 0, 0, 0, 1}
	}
	advertisement := &ndp.NeighborAdvertisement{Solicited: !duplicate, TargetAddress: solicitation.TargetAddress}
	if dest.IsMulticast() {
		advertisement.Override = true
		advertisement.Options = []ndp.Option{&ndp.LinkLayerAddress{Direction: ndp.Target, Addr: l.hw[:]}}
	}
	frame, err := neighbor.NDP(advertisement, l.hw, solicitation.TargetAddress, to)
	if err != nil {
		return nil
	}
	copy(frame, hw[:])
	return frame
}

// has reports whether an address is the kernel's own on the link.
func (l *Link) has(addr netip.Addr) bool { return slices.Contains(l.addrs, addr) }

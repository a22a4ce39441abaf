// Package neighbor has to do with the other stations on a link: frames of ARP and
// NDP for all of them, the filter for those that they send to this host, and which
// of them the kernel knows.
package neighbor

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"github.com/mdlayher/arp"
	"github.com/mdlayher/ethernet"
	"github.com/mdlayher/ndp"
	"golang.org/x/net/ipv6"
)

const (
	headerLen   = 14 // of Ethernet
	offICMP     = headerLen + ipv6.HeaderLen
	protoICMPv6 = 58
	hopLimit    = 255 // no router has forwarded it (RFC 4861 section 7.1)
)

// Probe returns the frame that asks whether any station uses addr, from which no
// station learns anything: the ARP probe of RFC 5227 section 2.1.1, whose sender
// address is 0.0.0.0, or the solicitation of duplicate address detection (RFC 4862
// section 5.4.2), whose source is the unspecified address.
func Probe(addr netip.Addr, own [6]byte) ([]byte, error) {
	if addr.Is4() {
		return ARP(arp.OperationRequest, own, netip.IPv4Unspecified(), [6]byte{}, addr)
	}
	group, err := ndp.SolicitedNodeMulticast(addr)
	if err != nil {
		return nil, err
	}
	return NDP(&ndp.NeighborSolicitation{TargetAddress: addr}, own, netip.IPv6Unspecified(), group)
}

// ARP returns a broadcast frame with an ARP packet, padded to the least size of an
// Ethernet frame.
func ARP(op arp.Operation, senderHW [6]byte, senderIP netip.Addr, targetHW [6]byte, targetIP netip.Addr) ([]byte, error) {
	packet, err := arp.NewPacket(op, senderHW[:], senderIP, targetHW[:], targetIP)
	if err != nil {
		return nil, fmt.Errorf("ARP packet for %v: %w", targetIP, err)
	}
	payload, err := packet.MarshalBinary()
	if err != nil {
		return nil, fmt.Errorf("ARP packet for %v: %w", targetIP, err)
	}
	frame := ethernet.Frame{
		Destination: ethernet.Broadcast,
		Source:      senderHW[:],
		EtherType:   ethernet.EtherTypeARP,
		Payload:     payload,
	}
	return frame.MarshalBinary()
}

// NDP returns a frame with a message for a group.
func NDP(message ndp.Message, own [6]byte, source, group netip.Addr) ([]byte, error) {
	payload, err := ndp.MarshalMessageChecksum(message, source, group)
	if err != nil {
		return nil, fmt.Errorf("%v from %v: %w", message.Type(), source, err)
	}
	frame := append(make([]byte, offICMP, offICMP+len(payload)), payload...)
	low := group.As16()
	// The Ethernet address of the group is that of RFC 2464 section 7.
	PutIPv6(frame, [6]byte{0x33, 0x33, low[12], low[13], low[14], low[15]}, own, source, group)
	return frame, nil
}

// PutIPv6 writes the headers of a frame that is filled by an ICMPv6 message.
func PutIPv6(frame []byte, hw, own [6]byte, source, dest netip.Addr) {
	from, to := source.As16(), dest.As16()
	copy(frame, hw[:])
	copy(frame[6:], own[:])
	binary.BigEndian.PutUint16(frame[12:], uint16(ethernet.EtherTypeIPv6))
	header := frame[headerLen:]
	binary.BigEndian.PutUint32(header, ipv6.Version<<28)
	binary.BigEndian.PutUint16(header[4:], uint16(len(header)-ipv6.HeaderLen))
	header[6], header[7] = protoICMPv6, hopLimit
	copy(header[8:], from[:])
	copy(header[24:], to[:])
}

package announce

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"

	"github.com/mdlayher/arp"
	"github.com/mdlayher/ethernet"
)

// The places of an ARP packet for IPv4 on Ethernet within a frame without a
// VLAN tag (RFC 826).
const (
	frameLen = 14 + 28 // Ethernet header and ARP packet, without padding

	offEtherType = 12
	offARP       = 14
	offOp        = 20
	offSenderHW  = 22
	offSenderIP  = 28
	offTargetHW  = 32
	offTargetIP  = 38

	opRequest = 1
	opReply   = 2
)

// arpHeader is what every ARP packet for IPv4 on Ethernet starts with: hardware
// type 1, protocol type 0x0800, lengths 6 and 4.
const arpHeader = uint64(1)<<32 | 0x0800<<16 | 0x0604

// hardwareAddr is an Ethernet address as a value.
type hardwareAddr [6]byte

func (a hardwareAddr) String() string { return net.HardwareAddr(a[:]).String() }

// packetARP is an ARP packet as a value, so that reading one allocates nothing.
type packetARP struct {
	op                 uint16
	senderHW, targetHW hardwareAddr
	senderIP, targetIP [4]byte
}

// parseARP reads the ARP packet in an Ethernet frame. It reports false for
// everything that is no well-formed request or reply for IPv4 on Ethernet, and
// for a sender with a group or zero hardware address, which no station has.
func parseARP(frame []byte) (p packetARP, ok bool) {
	if len(frame) < frameLen ||
		binary.BigEndian.Uint16(frame[offEtherType:]) != uint16(ethernet.EtherTypeARP) ||
		uint64(binary.BigEndian.Uint16(frame[offARP:]))<<32|uint64(binary.BigEndian.Uint32(frame[offARP+2:])) != arpHeader {
		return packetARP{}, false
	}
	p = packetARP{
		op:       binary.BigEndian.Uint16(frame[offOp:]),
		senderHW: hardwareAddr(frame[offSenderHW:offSenderIP]),
		senderIP: [4]byte(frame[offSenderIP:offTargetHW]),
		targetHW: hardwareAddr(frame[offTargetHW:offTargetIP]),
		targetIP: [4]byte(frame[offTargetIP:frameLen]),
	}
	if p.op != opRequest && p.op != opReply || p.senderHW[0]&1 == 1 || p.senderHW == (hardwareAddr{}) {
		return packetARP{}, false
	}
	return p, true
}

// replyTo writes the reply to the request p into frame, which must have room for
// frameLen bytes: own has the address that was asked for (RFC 826, "Packet
// Reception").
func replyTo(frame []byte, p *packetARP, own hardwareAddr) {
	_ = frame[frameLen-1]
	copy(frame, p.senderHW[:])
	copy(frame[6:], own[:])
	binary.BigEndian.PutUint16(frame[offEtherType:], uint16(ethernet.EtherTypeARP))
	binary.BigEndian.PutUint16(frame[offARP:], uint16(arpHeader>>32))
	binary.BigEndian.PutUint32(frame[offARP+2:], uint32(arpHeader&0xffffffff))
	binary.BigEndian.PutUint16(frame[offOp:], opReply)
	copy(frame[offSenderHW:], own[:])
	copy(frame[offSenderIP:], p.targetIP[:])
	copy(frame[offTargetHW:], p.senderHW[:])
	copy(frame[offTargetIP:], p.senderIP[:])
}

// gratuitous returns the two frames that announce addr at own, both broadcast: the
// ARP announcement of RFC 5227 section 3, which is a request, and the same as a
// reply, for the stations that learn only from replies.
func gratuitous(addr netip.Addr, own hardwareAddr) ([][]byte, error) {
	request, err := marshalARP(arp.OperationRequest, own, addr, hardwareAddr{}, addr)
	if err != nil {
		return nil, err
	}
	reply, err := marshalARP(arp.OperationReply, own, addr, own, addr)
	return [][]byte{request, reply}, err
}

// probe returns the frame that asks whether any station uses addr: the ARP probe
// of RFC 5227 section 2.1.1, with the sender address 0.0.0.0, so that no station
// learns anything from it.
func probe(addr netip.Addr, own hardwareAddr) ([]byte, error) {
	return marshalARP(arp.OperationRequest, own, netip.IPv4Unspecified(), hardwareAddr{}, addr)
}

// marshalARP returns a broadcast frame with an ARP packet, padded to the least
// size of an Ethernet frame.
func marshalARP(op arp.Operation, senderHW hardwareAddr, senderIP netip.Addr, targetHW hardwareAddr, targetIP netip.Addr) ([]byte, error) {
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

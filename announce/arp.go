package announce

import (
	"encoding/binary"
	"net/netip"

	"github.com/mdlayher/arp"
	"github.com/mdlayher/ethernet"

	"github.com/l2vip/l2vip/internal/neighbor"
)

// The places of an ARP packet for IPv4 on Ethernet within a frame (RFC 826).
const (
	offARP      = headerLen
	offOp       = 20
	offSenderHW = 22
	offSenderIP = 28
	offTargetHW = 32
	offTargetIP = 38
	arpLen      = headerLen + 28 // without padding
)

// arpHeader is what every ARP packet for IPv4 on Ethernet starts with: hardware
// type 1, protocol type 0x0800, lengths 6 and 4.
const arpHeader = uint64(1)<<32 | 0x0800<<16 | 0x0604

// parseARP reads the ARP packet in an Ethernet frame (RFC 826, "Packet
// Reception").
func parseARP(frame []byte, m *message) (why Drop, ok bool) {
	if len(frame) < arpLen {
		return DropShort, false
	}
	if uint64(binary.BigEndian.Uint16(frame[offARP:]))<<32|uint64(binary.BigEndian.Uint32(frame[offARP+2:])) != arpHeader {
		return DropForeign, false
	}
	op := arp.Operation(binary.BigEndian.Uint16(frame[offOp:]))
	if op != arp.OperationRequest && op != arp.OperationReply {
		return DropOperation, false
	}
	sender := hardwareAddr(frame[offSenderHW:])
	from := netip.AddrFrom4([4]byte(frame[offSenderIP:]))
	if !sender.ofStation() || from.IsMulticast() || from == limitedBroadcast {
		return DropSender, false
	}
	about := netip.AddrFrom4([4]byte(frame[offTargetIP:]))
	// A request for the sender's own address is no question but an announcement
	// (RFC 5227 section 3).
	question := op == arp.OperationRequest && from != about
	if !question {
		about = from
	}
	*m = message{question: question, source: from, target: about, sender: sender}
	return 0, true
}

// replyARP writes the reply to the request m into frame (RFC 826, "Packet
// Reception").
func replyARP(frame []byte, m *message, own hardwareAddr) []byte {
	frame = frame[:arpLen]
	source, target := m.source.As4(), m.target.As4()
	copy(frame, m.sender[:])
	copy(frame[offSource:], own[:])
	binary.BigEndian.PutUint16(frame[offEtherType:], uint16(ethernet.EtherTypeARP))
	binary.BigEndian.PutUint16(frame[offARP:], uint16(arpHeader>>32))
	binary.BigEndian.PutUint32(frame[offARP+2:], uint32(arpHeader&0xffffffff))
	binary.BigEndian.PutUint16(frame[offOp:], uint16(arp.OperationReply))
	copy(frame[offSenderHW:], own[:])
	copy(frame[offSenderIP:], target[:])
	copy(frame[offTargetHW:], m.sender[:])
	copy(frame[offTargetIP:], source[:])
	return frame
}

// gratuitousARP returns the two frames that announce addr at own, both broadcast:
// the ARP announcement of RFC 5227 section 3, which is a request, and the same as
// a reply, for the stations that learn only from replies.
func gratuitousARP(addr netip.Addr, own hardwareAddr) ([][]byte, error) {
	request, err := neighbor.ARP(arp.OperationRequest, own, addr, hardwareAddr{}, addr)
	if err != nil {
		return nil, err
	}
	reply, err := neighbor.ARP(arp.OperationReply, own, addr, own, addr)
	return [][]byte{request, reply}, err
}

package announce

import (
	"encoding/binary"
	"net/netip"

	"github.com/mdlayher/ndp"
	"golang.org/x/net/ipv6"

	"github.com/l2vip/l2vip/internal/neighbor"
)

// The places of an IPv6 header, and of the ICMPv6 message after it, within a
// frame (RFC 8200 section 3, RFC 4861 sections 4.3 and 4.4). Extension headers
// before a message of NDP are not understood: no host sends any.
const (
	offIPv6       = headerLen
	offPayloadLen = 18
	offNextHeader = 20
	offHopLimit   = 21
	offIPv6Source = 22
	offIPv6Dest   = 38
	offICMP       = headerLen + ipv6.HeaderLen
	offCode       = offICMP + 1
	offChecksum   = offICMP + 2
	offFlags      = offICMP + 4
	offTarget     = offICMP + 8
	offOptions    = offICMP + ndpLen

	ndpLen           = 24 // of both messages, without options
	advertisementLen = offOptions + linkLayerLen

	protoICMPv6 = 58
	hopLimit    = 255 // no router has forwarded it (RFC 4861 section 7.1)

	flagRouter, flagSolicited, flagOverride = 0x80, 0x40, 0x20

	// linkLayerLen is the length of an option with an Ethernet address (RFC
	// 2464 section 6).
	linkLayerLen = 8
)

var (
	allNodes   = netip.MustParseAddr("ff02::1")
	allNodesHW = hardwareAddr{0x33, 0x33, 0, 0, 0, 1} // RFC 2464 section 7
	// solicitedNode are the solicited-node multicast addresses (RFC 4291
	// section 2.7.1).
	solicitedNode = netip.MustParsePrefix("ff02::1:ff00:0/104")
)

// groupOf returns the solicited-node multicast address of addr.
func groupOf(addr netip.Addr) netip.Addr {
	group, low := solicitedNode.Addr().As16(), addr.As16()
	copy(group[13:], low[13:])
	return netip.AddrFrom16(group)
}

// parseNDP reads the neighbor solicitation or advertisement in an Ethernet frame,
// and checks all that RFC 4861 sections 7.1.1 and 7.1.2 ask for.
func parseNDP(frame []byte, m *message) (why Drop, ok bool) {
	if len(frame) < offOptions {
		return DropShort, false
	}
	kind := ipv6.ICMPType(frame[offICMP])
	if frame[offIPv6]>>4 != ipv6.Version || frame[offNextHeader] != protoICMPv6 ||
		kind != ipv6.ICMPTypeNeighborSolicitation && kind != ipv6.ICMPTypeNeighborAdvertisement {
		return DropForeign, false
	}
	if frame[offHopLimit] != hopLimit {
		return DropHopLimit, false
	}
	payload := int(binary.BigEndian.Uint16(frame[offPayloadLen:]))
	if payload < ndpLen || len(frame) < offICMP+payload {
		return DropShort, false
	}
	frame = frame[:offICMP+payload] // without padding
	if frame[offCode] != 0 {
		return DropCode, false
	}
	if checksum(frame) != 0 {
		return DropChecksum, false
	}
	source := netip.AddrFrom16([16]byte(frame[offIPv6Source:]))
	dest := netip.AddrFrom16([16]byte(frame[offIPv6Dest:]))
	target := netip.AddrFrom16([16]byte(frame[offTarget:]))
	if target.IsMulticast() {
		return DropTarget, false
	}
	question := kind == ipv6.ICMPTypeNeighborSolicitation
	sender, given, ok := linkLayer(frame[offOptions:], question)
	if !ok {
		return DropOption, false
	}
	if !given {
		sender = hardwareAddr(frame[offSource:])
	}
	switch {
	case question && source.IsUnspecified():
		if given || !solicitedNode.Contains(dest) {
			return DropUnspecified, false
		}
	case source.IsUnspecified() || source.IsMulticast() || source.IsLoopback() || !sender.ofStation():
		return DropSender, false
	case !question && dest.IsMulticast() && frame[offFlags]&flagSolicited != 0:
		return DropSolicited, false
	}
	if !sender.ofStation() {
		return DropSender, false
	}
	// Who asks for its own address says that it has it.
	*m = message{question: question && source != target, source: source, target: target, sender: sender}
	return 0, true
}

// linkLayer returns the link-layer address in the options of a solicitation, the
// sender's, or of an advertisement, the target's; and whether there is one. It
// reports false for options that are malformed. Others are ignored.
func linkLayer(options []byte, question bool) (addr hardwareAddr, given, ok bool) {
	kind := ndp.Target
	if question {
		kind = ndp.Source
	}
	for len(options) > 0 {
		if len(options) < 2 {
			return addr, false, false
		}
		length := int(options[1]) * 8
		if length == 0 || length > len(options) {
			return addr, false, false
		}
		if options[0] == byte(kind) && !given {
			if length != linkLayerLen {
				return addr, false, false
			}
			addr, given = hardwareAddr(options[2:]), true
			if !addr.ofStation() {
				return addr, false, false
			}
		}
		options = options[length:]
	}
	return addr, given, true
}

// checksum returns the checksum of the ICMPv6 message that fills the frame after
// the IPv6 header (RFC 4443 section 2.3): 0 if the one in it is right.
func checksum(frame []byte) uint16 {
	sum := uint32(len(frame)-offICMP) + protoICMPv6
	b := frame[offIPv6Source:]
	for ; len(b) >= 2; b = b[2:] {
		sum += uint32(b[0])<<8 | uint32(b[1])
	}
	if len(b) == 1 {
		sum += uint32(b[0]) << 8
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

// replyNDP writes the advertisement that answers the solicitation m into frame
// (RFC 4861 section 7.2.4): to the sender or, if that is detecting duplicates and
// has no address yet, to all nodes.
func replyNDP(frame []byte, m *message, own hardwareAddr, router bool) []byte {
	frame = frame[:advertisementLen]
	hw, dest, flags := m.sender, m.source, byte(flagSolicited|flagOverride)
	if m.source.IsUnspecified() {
		hw, dest, flags = allNodesHW, allNodes, flagOverride
	}
	if router {
		flags |= flagRouter
	}
	neighbor.PutIPv6(frame, hw, own, m.target, dest)
	icmp := frame[offICMP:]
	clear(icmp)
	icmp[0] = byte(ipv6.ICMPTypeNeighborAdvertisement)
	frame[offFlags] = flags
	target := m.target.As16()
	copy(frame[offTarget:], target[:])
	frame[offOptions], frame[offOptions+1] = byte(ndp.Target), linkLayerLen/8
	copy(frame[offOptions+2:], own[:])
	binary.BigEndian.PutUint16(frame[offChecksum:], checksum(frame))
	return frame
}

// unsolicitedNDP returns the unsolicited advertisement that announces addr at own
// to all nodes, and overrides what they have cached (RFC 4861 section 7.2.6).
func unsolicitedNDP(addr netip.Addr, own hardwareAddr, router bool) ([]byte, error) {
	return neighbor.NDP(&ndp.NeighborAdvertisement{
		Router: router, Override: true, TargetAddress: addr,
		Options: []ndp.Option{&ndp.LinkLayerAddress{Direction: ndp.Target, Addr: own[:]}},
	}, own, addr, allNodes)
}

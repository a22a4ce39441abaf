package announce

import (
	"encoding/binary"
	"net"
	"net/netip"

	"github.com/mdlayher/ethernet"
)

// hardwareAddr is an Ethernet address as a value.
type hardwareAddr [6]byte

func (a hardwareAddr) String() string { return net.HardwareAddr(a[:]).String() }

// ofStation reports whether the address can be that of a station: it is neither
// zero nor a group's.
func (a hardwareAddr) ofStation() bool { return a != (hardwareAddr{}) && a[0]&1 == 0 }

// message is what a frame of ARP or NDP says, as a value, so that reading one
// allocates nothing. The two protocols differ in form only.
type message struct {
	// question: the sender asks who has target, by an ARP request or a neighbor
	// solicitation. Otherwise it says that it has target itself, by an ARP
	// reply, an ARP announcement or a neighbor advertisement.
	question bool
	source   netip.Addr   // of a question; unspecified if it is a probe
	target   netip.Addr   // what it is about
	sender   hardwareAddr // who sent it, and wants to be answered
}

// claim returns the address that the sender uses (RFC 5227 section 2.4), or, as a
// probe tells, is about to (section 2.1.1; RFC 4862 section 5.4.3).
func (m *message) claim() (addr netip.Addr, probe bool) {
	switch {
	case !m.question:
		return m.target, false
	case m.source.IsUnspecified():
		return m.target, true
	}
	return m.source, false
}

// The places of an Ethernet header (without a VLAN tag) within a frame.
const (
	offSource    = 6
	offEtherType = 12
	headerLen    = 14
)

// replyLen is the length of the longest reply.
const replyLen = advertisementLen

// readLen is how many bytes of a frame are read. A longer one is cut off, and
// dropped; neither protocol has use for so many.
const readLen = 9216

// parse reads a frame. If it can't be believed, why says what for.
func parse(frame []byte, m *message) (why Drop, ok bool) {
	if len(frame) < headerLen {
		return DropShort, false
	}
	switch ethernet.EtherType(binary.BigEndian.Uint16(frame[offEtherType:])) {
	case ethernet.EtherTypeARP:
		return parseARP(frame, m)
	case ethernet.EtherTypeIPv6:
		return parseNDP(frame, m)
	}
	return DropForeign, false
}

// reply writes the answer to the question m into frame, which has room for
// replyLen bytes, and returns it: own has the address that was asked for.
func reply(frame []byte, m *message, own hardwareAddr, router bool) []byte {
	if m.target.Is4() {
		return replyARP(frame, m, own)
	}
	return replyNDP(frame, m, own, router)
}

// announcement returns the frames that tell everybody that own has addr.
func announcement(addr netip.Addr, own hardwareAddr, router bool) ([][]byte, error) {
	if addr.Is4() {
		return gratuitousARP(addr, own)
	}
	frame, err := unsolicitedNDP(addr, own, router)
	return [][]byte{frame}, err
}

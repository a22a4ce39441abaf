package segment

import "encoding/binary"

const (
	headerLen = 14
	offSource = 6
	offType   = 12
	minLen    = 60 // of a frame, without its checksum
)

// appendEthernet appends a whole frame of this protocol to b.
func appendEthernet(b []byte, to, from hardwareAddr, payload []byte) []byte {
	start := len(b)
	b = append(b, to[:]...)
	b = append(b, from[:]...)
	b = binary.BigEndian.AppendUint16(b, etherType)
	b = append(b, payload...)
	for len(b) < start+minLen {
		b = append(b, 0)
	}
	return b
}

// routine reports whether a frame is a beat that tells nothing new.
func routine(frame []byte) bool {
	return binary.BigEndian.Uint16(frame[offType:]) == etherType && len(frame) > headerLen+offRoutine && frame[headerLen+offRoutine] == 1
}

// routeOf returns between which stations a frame goes, and whether another station than
// the own one can have sent it.
func routeOf(frame []byte, own hardwareAddr) (via route, ok bool) {
	via = route{from: hardwareAddr(frame[offSource:]), to: hardwareAddr(frame)}
	return via, via.from[0]&1 == 0 && via.from != hardwareAddr{} && via.from != own
}

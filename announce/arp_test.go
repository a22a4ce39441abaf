package announce

import (
	"net"
	"net/netip"
	"testing"

	"github.com/mdlayher/arp"
	"github.com/mdlayher/ethernet"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/l2vip/l2vip/internal/neighbor"
)

// oracleARP reads a frame with the codecs of mdlayher, and says whether parseARP
// has to take it.
func oracleARP(b []byte) (m message, ok bool) {
	var frame ethernet.Frame
	var packet arp.Packet
	if frame.UnmarshalBinary(b) != nil || frame.EtherType != ethernet.EtherTypeARP || frame.VLAN != nil || frame.ServiceVLAN != nil ||
		packet.UnmarshalBinary(frame.Payload) != nil ||
		packet.HardwareType != 1 || packet.ProtocolType != uint16(ethernet.EtherTypeIPv4) ||
		packet.HardwareAddrLength != 6 || packet.IPLength != 4 ||
		packet.Operation != arp.OperationRequest && packet.Operation != arp.OperationReply {
		return message{}, false
	}
	m = message{
		question: true, source: packet.SenderIP, target: packet.TargetIP,
		sender: hardwareAddr(packet.SenderHardwareAddr),
	}
	if packet.Operation == arp.OperationReply || packet.SenderIP == packet.TargetIP {
		m.question, m.target = false, packet.SenderIP
	}
	if m.sender[0]&1 != 0 || m.sender == (hardwareAddr{}) || m.source.IsMulticast() || m.source == limitedBroadcast {
		return message{}, false
	}
	return m, true
}

func drawHW(label string) *rapid.Generator[hardwareAddr] {
	return rapid.Custom(func(t *rapid.T) hardwareAddr {
		return hardwareAddr(rapid.SliceOfN(rapid.Byte(), 6, 6).Draw(t, label))
	})
}

// drawAddr draws an address, or sometimes the unspecified one.
func drawAddr(label string) *rapid.Generator[netip.Addr] {
	return rapid.Custom(func(t *rapid.T) netip.Addr {
		if rapid.Bool().Draw(t, "unspecified "+label) {
			return netip.IPv4Unspecified()
		}
		return netip.AddrFrom4([4]byte(rapid.SliceOfN(rapid.Byte(), 4, 4).Draw(t, label)))
	})
}

// drawFrame draws a frame of the codec's, of which some bytes may be others.
func drawFrame(t *rapid.T) []byte {
	sender, target := drawHW("sender").Draw(t, "sender"), drawHW("target").Draw(t, "target")
	b, err := neighbor.ARP(arp.Operation(rapid.Uint16Range(0, 4).Draw(t, "op")),
		sender, drawAddr("from").Draw(t, "from"), target, drawAddr("to").Draw(t, "to"))
	if err != nil {
		t.Fatal(err)
	}
	for range rapid.IntRange(0, 3).Draw(t, "changes") {
		b[rapid.IntRange(0, arpLen-1).Draw(t, "at")] = rapid.Byte().Draw(t, "byte")
	}
	return b[:rapid.IntRange(0, len(b)).Draw(t, "length")]
}

func TestParseARPAgreesWithTheCodec(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := drawFrame(t)
		checkARP(t, b)
		if len(b) >= arpLen {
			checkARP(t, b[:arpLen]) // without padding
		}
	})
}

func checkARP(t require.TestingT, b []byte) {
	var got message
	ok := false
	if len(b) >= headerLen && b[offEtherType] == 0x08 && b[offEtherType+1] == 0x06 {
		_, ok = parse(b, &got)
	}
	want, wantOK := oracleARP(b)
	if ok && !wantOK {
		// The codec wants a whole frame, of 60 bytes; a veth pair carries what
		// was sent.
		want, wantOK = oracleARP(append(append([]byte{}, b...), make([]byte, 64)...))
	}
	require.Equal(t, wantOK, ok)
	require.Equal(t, want, got)
}

func FuzzARP(f *testing.F) {
	own := hardwareAddr{2, 0, 0, 0, 0, 1}
	addr := netip.MustParseAddr("192.168.122.100")
	frames, err := announcement(addr, own, false)
	require.NoError(f, err)
	question, err := neighbor.Probe(addr, own)
	require.NoError(f, err)
	for _, b := range append(frames, question, question[:arpLen], question[:arpLen-1], nil) {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		checkARP(t, b)
		var m message
		if _, ok := parse(b, &m); !ok || !m.question || !m.target.Is4() {
			return
		}
		checkReplyARP(t, reply(make([]byte, replyLen), &m, own, false), &m, own)
	})
}

func checkReplyARP(t require.TestingT, b []byte, m *message, own hardwareAddr) {
	require.Len(t, b, arpLen)
	var frame ethernet.Frame
	require.NoError(t, frame.UnmarshalBinary(b))
	require.Equal(t, net.HardwareAddr(m.sender[:]), frame.Destination)
	require.Equal(t, net.HardwareAddr(own[:]), frame.Source)
	require.Equal(t, ethernet.EtherTypeARP, frame.EtherType)
	require.Nil(t, frame.VLAN)
	var packet arp.Packet
	require.NoError(t, packet.UnmarshalBinary(frame.Payload))
	want, err := arp.NewPacket(arp.OperationReply, own[:], m.target, m.sender[:], m.source)
	require.NoError(t, err)
	require.Equal(t, *want, packet)
}

// RFC 826: the reply has what was asked for as its sender, and goes to who asked.
func TestReplyARP(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		own := drawHW("own").Draw(t, "own")
		m := message{question: true, sender: drawHW("sender").Draw(t, "sender")}
		m.source, m.target = drawAddr("from").Draw(t, "from"), drawAddr("to").Draw(t, "to")
		out := rapid.SliceOfN(rapid.Byte(), replyLen, replyLen).Draw(t, "what was in the buffer")
		checkReplyARP(t, reply(out, &m, own, true), &m, own)
	})
}

// The announcements of RFC 5227 section 3.
func TestGratuitous(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		own, addr := drawHW("own").Draw(t, "own"), drawAddr("addr").Draw(t, "addr")
		own[0] = 2
		frames, err := announcement(addr, own, false)
		require.NoError(t, err)
		require.Len(t, frames, 2)
		read := func(b []byte) arp.Packet {
			require.GreaterOrEqual(t, len(b), 60)
			var frame ethernet.Frame
			require.NoError(t, frame.UnmarshalBinary(b))
			require.Equal(t, ethernet.Broadcast, frame.Destination)
			require.Equal(t, net.HardwareAddr(own[:]), frame.Source)
			var packet arp.Packet
			require.NoError(t, packet.UnmarshalBinary(frame.Payload))
			return packet
		}
		packet := func(op arp.Operation, target hardwareAddr) arp.Packet {
			p, err := arp.NewPacket(op, own[:], addr, target[:], addr)
			require.NoError(t, err)
			return *p
		}
		require.Equal(t, packet(arp.OperationRequest, hardwareAddr{}), read(frames[0]))
		require.Equal(t, packet(arp.OperationReply, own), read(frames[1]))
	})
}

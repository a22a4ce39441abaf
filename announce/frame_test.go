package announce

import (
	"net"
	"net/netip"
	"testing"

	"github.com/mdlayher/arp"
	"github.com/mdlayher/ethernet"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// oracle reads a frame with the codecs of mdlayher, and says whether parseARP has
// to take it.
func oracle(b []byte) (p packetARP, ok bool) {
	var frame ethernet.Frame
	var packet arp.Packet
	if frame.UnmarshalBinary(b) != nil || frame.EtherType != ethernet.EtherTypeARP || frame.VLAN != nil || frame.ServiceVLAN != nil ||
		packet.UnmarshalBinary(frame.Payload) != nil ||
		packet.HardwareType != 1 || packet.ProtocolType != uint16(ethernet.EtherTypeIPv4) ||
		packet.HardwareAddrLength != 6 || packet.IPLength != 4 ||
		packet.Operation != arp.OperationRequest && packet.Operation != arp.OperationReply {
		return packetARP{}, false
	}
	p = packetARP{
		op:       uint16(packet.Operation),
		senderHW: hardwareAddr(packet.SenderHardwareAddr), targetHW: hardwareAddr(packet.TargetHardwareAddr),
		senderIP: packet.SenderIP.As4(), targetIP: packet.TargetIP.As4(),
	}
	if p.senderHW[0]&1 != 0 || p.senderHW == (hardwareAddr{}) {
		return packetARP{}, false
	}
	return p, true
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
	b, err := marshalARP(arp.Operation(rapid.Uint16Range(0, 4).Draw(t, "op")),
		sender, drawAddr("from").Draw(t, "from"), target, drawAddr("to").Draw(t, "to"))
	if err != nil {
		t.Fatal(err)
	}
	for range rapid.IntRange(0, 3).Draw(t, "changes") {
		b[rapid.IntRange(0, frameLen-1).Draw(t, "at")] = rapid.Byte().Draw(t, "byte")
	}
	return b[:rapid.IntRange(0, len(b)).Draw(t, "length")]
}

func TestParseARPAgreesWithTheCodec(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := drawFrame(t)
		checkParse(t, b)
		if len(b) >= frameLen {
			checkParse(t, b[:frameLen]) // without padding
		}
	})
}

func checkParse(t require.TestingT, b []byte) {
	got, ok := parseARP(b)
	want, wantOK := oracle(b)
	if ok && !wantOK {
		// The codec wants a whole frame, of 60 bytes; a veth pair carries what
		// was sent.
		want, wantOK = oracle(append(append([]byte{}, b...), make([]byte, 64)...))
	}
	require.Equal(t, wantOK, ok)
	require.Equal(t, want, got)
}

func FuzzARP(f *testing.F) {
	own := hardwareAddr{2, 0, 0, 0, 0, 1}
	addr := netip.MustParseAddr("192.168.122.100")
	frames, err := gratuitous(addr, own)
	require.NoError(f, err)
	question, err := probe(addr, own)
	require.NoError(f, err)
	for _, b := range append(frames, question, question[:frameLen], question[:41], nil) {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		checkParse(t, b)
		p, ok := parseARP(b)
		if !ok {
			return
		}
		out := make([]byte, frameLen)
		replyTo(out, &p, own)
		checkReply(t, out, &p, own)
	})
}

func checkReply(t require.TestingT, b []byte, p *packetARP, own hardwareAddr) {
	var frame ethernet.Frame
	require.NoError(t, frame.UnmarshalBinary(b))
	require.Equal(t, net.HardwareAddr(p.senderHW[:]), frame.Destination)
	require.Equal(t, net.HardwareAddr(own[:]), frame.Source)
	require.Equal(t, ethernet.EtherTypeARP, frame.EtherType)
	require.Nil(t, frame.VLAN)
	var reply arp.Packet
	require.NoError(t, reply.UnmarshalBinary(frame.Payload))
	want, err := arp.NewPacket(arp.OperationReply, own[:], netip.AddrFrom4(p.targetIP), p.senderHW[:], netip.AddrFrom4(p.senderIP))
	require.NoError(t, err)
	require.Equal(t, *want, reply)
}

// RFC 826: the reply has what was asked for as its sender, and goes to who asked.
func TestReplyTo(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		own := drawHW("own").Draw(t, "own")
		p := packetARP{op: opRequest, senderHW: drawHW("sender").Draw(t, "sender"), targetHW: drawHW("target").Draw(t, "target")}
		p.senderIP, p.targetIP = drawAddr("from").Draw(t, "from").As4(), drawAddr("to").Draw(t, "to").As4()
		out := rapid.SliceOfN(rapid.Byte(), frameLen, frameLen).Draw(t, "what was in the buffer")
		replyTo(out, &p, own)
		checkReply(t, out, &p, own)
	})
}

// The announcements of RFC 5227 section 3 and its probe, section 2.1.1.
func TestGratuitousAndProbe(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		own, addr := drawHW("own").Draw(t, "own"), drawAddr("addr").Draw(t, "addr")
		own[0] = 2
		frames, err := gratuitous(addr, own)
		require.NoError(t, err)
		require.Len(t, frames, 2)
		question, err := probe(addr, own)
		require.NoError(t, err)
		for _, b := range append(frames, question) {
			require.GreaterOrEqual(t, len(b), 60)
			var frame ethernet.Frame
			require.NoError(t, frame.UnmarshalBinary(b))
			require.Equal(t, ethernet.Broadcast, frame.Destination)
			require.Equal(t, net.HardwareAddr(own[:]), frame.Source)
		}
		read := func(b []byte) packetARP {
			p, ok := parseARP(b)
			require.True(t, ok)
			return p
		}
		a := addr.As4()
		require.Equal(t, packetARP{opRequest, own, hardwareAddr{}, a, a}, read(frames[0]))
		require.Equal(t, packetARP{opReply, own, own, a, a}, read(frames[1]))
		require.Equal(t, packetARP{opRequest, own, hardwareAddr{}, [4]byte{}, a}, read(question))
	})
}

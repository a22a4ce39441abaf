package announce

import (
	"encoding/binary"
	"net"
	"net/netip"
	"slices"
	"testing"

	"github.com/mdlayher/ethernet"
	"github.com/mdlayher/ndp"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv6"
	"pgregory.net/rapid"

	"github.com/l2vip/l2vip/internal/neighbor"
)

// oracleNDP reads a frame with the codecs of mdlayher and golang.org/x/net, and
// says whether parseNDP has to take it (RFC 4861 sections 7.1.1 and 7.1.2).
func oracleNDP(b []byte) (m message, ok bool) {
	if len(b) < headerLen || binary.BigEndian.Uint16(b[12:]) != 0x86dd {
		return message{}, false
	}
	header, err := ipv6.ParseHeader(b[headerLen:])
	if err != nil || header.Version != 6 || header.NextHeader != 58 || header.HopLimit != 255 {
		return message{}, false
	}
	payload := b[headerLen+ipv6.HeaderLen:]
	if header.PayloadLen > len(payload) || header.PayloadLen < 24 {
		return message{}, false
	}
	payload = payload[:header.PayloadLen]
	source, _ := netip.AddrFromSlice(header.Src)
	dest, _ := netip.AddrFromSlice(header.Dst)
	if payload[1] != 0 || !checksumRight(payload, header) {
		return message{}, false
	}
	body, options := slices.Clone(payload[:24]), payload[24:]
	m = message{question: payload[0] == 135, source: source, sender: hardwareAddr(b[6:12])}
	wanted, given := ndp.Source, false
	if !m.question {
		wanted = ndp.Target
	}
	for len(options) > 0 {
		if len(options) < 2 || options[1] == 0 || int(options[1])*8 > len(options) {
			return message{}, false
		}
		option := options[:int(options[1])*8]
		options = options[len(option):]
		// The codec refuses a message for a fault in any option; the RFC has
		// those that mean nothing here ignored.
		if option[0] == byte(wanted) && !given {
			body = append(body, option...)
			given = true
		}
	}
	parsed, err := ndp.ParseMessage(body)
	if err != nil {
		return message{}, false
	}
	var list []ndp.Option
	solicited := false
	switch p := parsed.(type) {
	case *ndp.NeighborSolicitation:
		m.target, list = p.TargetAddress, p.Options
	case *ndp.NeighborAdvertisement:
		m.target, list, solicited = p.TargetAddress, p.Options, p.Solicited
	default:
		return message{}, false
	}
	for _, o := range list {
		m.sender = hardwareAddr(o.(*ndp.LinkLayerAddress).Addr)
	}
	switch {
	case m.target.IsMulticast(), source.IsMulticast(), source.IsLoopback(), !m.sender.ofStation(),
		!m.question && (source.IsUnspecified() || dest.IsMulticast() && solicited),
		source.IsUnspecified() && (given || !netip.MustParsePrefix("ff02::1:ff00:0/104").Contains(dest)):
		return message{}, false
	}
	m.question = m.question && source != m.target
	return m, true
}

func checksumRight(payload []byte, h *ipv6.Header) bool {
	parsed, err := icmp.ParseMessage(58, payload)
	if err != nil {
		return false
	}
	want, err := (&icmp.Message{Type: parsed.Type, Code: parsed.Code, Body: &icmp.RawBody{Data: payload[4:]}}).
		Marshal(icmp.IPv6PseudoHeader(h.Src, h.Dst))
	if err != nil {
		return false
	}
	return parsed.Checksum%0xffff == int(binary.BigEndian.Uint16(want[2:]))%0xffff // 0 and all ones are the same
}

func checkNDP(t require.TestingT, b []byte) {
	if len(b) < headerLen || b[12] != 0x86 || b[13] != 0xdd {
		return
	}
	var got message
	_, ok := parse(b, &got)
	want, wantOK := oracleNDP(b)
	require.Equal(t, wantOK, ok)
	require.Equal(t, want, got)
}

func drawAddr6(t *rapid.T, label string) netip.Addr {
	switch rapid.IntRange(0, 5).Draw(t, label+" kind") {
	case 0:
		return netip.IPv6Unspecified()
	case 1:
		return netip.MustParseAddr("ff02::1:ff00:100")
	case 2:
		return allNodes
	}
	a := [16]byte(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, label))
	a[0] = 0x20
	return netip.AddrFrom16(a)
}

// drawNDP draws a frame with a message of the codec's, of which a byte may be
// another one; mostly the checksum is right all the same.
func drawNDP(t *rapid.T) []byte {
	var options []ndp.Option
	for range rapid.IntRange(0, 2).Draw(t, "options") {
		hw := drawHW("option").Draw(t, "option")
		options = append(options, rapid.SampledFrom([]ndp.Option{
			&ndp.LinkLayerAddress{Direction: ndp.Source, Addr: hw[:]},
			&ndp.LinkLayerAddress{Direction: ndp.Target, Addr: hw[:]},
			&ndp.RawOption{Type: 14, Length: 1, Value: make([]byte, 6)},
		}).Draw(t, "kind"))
	}
	target := drawAddr6(t, "target")
	var m ndp.Message = &ndp.NeighborSolicitation{TargetAddress: target, Options: options}
	if rapid.Bool().Draw(t, "advertisement") {
		m = &ndp.NeighborAdvertisement{TargetAddress: target, Options: options, Solicited: rapid.Bool().Draw(t, "solicited")}
	}
	source, dest := drawAddr6(t, "source"), drawAddr6(t, "dest")
	payload, err := ndp.MarshalMessageChecksum(m, source, dest)
	if err != nil {
		t.Skip(err)
	}
	own := drawHW("own").Draw(t, "own")
	b := append(make([]byte, offICMP), payload...)
	neighbor.PutIPv6(b, allNodesHW, own, source, dest)
	for range rapid.IntRange(0, 2).Draw(t, "changes") {
		b[rapid.IntRange(headerLen, len(b)-1).Draw(t, "at")] = rapid.Byte().Draw(t, "byte")
	}
	if rapid.IntRange(0, 4).Draw(t, "sum") > 0 {
		b[offChecksum], b[offChecksum+1] = 0, 0
		binary.BigEndian.PutUint16(b[offChecksum:], checksum(b))
	}
	return b[:len(b)-rapid.SampledFrom([]int{0, 0, 0, 1, 8, 20}).Draw(t, "cut")]
}

func TestParseNDPAgreesWithTheCodec(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := drawNDP(t)
		checkNDP(t, b)
		checkNDP(t, append(b, 0, 0, 0)) // padded
	})
}

func FuzzNDP(f *testing.F) {
	own := hardwareAddr{2, 0, 0, 0, 0, 1}
	addr := netip.MustParseAddr("2001:db8::100")
	frames, err := announcement(addr, own, true)
	require.NoError(f, err)
	question, err := neighbor.Probe(addr, own)
	require.NoError(f, err)
	m := message{question: true, source: netip.MustParseAddr("2001:db8::50"), target: addr, sender: own}
	for _, b := range append(frames, question, question[:offOptions-1], reply(make([]byte, replyLen), &m, own, false)) {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		checkNDP(t, b)
		if len(b) >= offICMP+4 && len(b) <= readLen { // and again with the right checksum
			b = slices.Clone(b)
			b[offChecksum], b[offChecksum+1] = 0, 0
			binary.BigEndian.PutUint16(b[offChecksum:], checksum(b))
			checkNDP(t, b)
		}
		var m message
		if _, ok := parse(b, &m); !ok || !m.question || !m.target.Is6() {
			return
		}
		checkReplyNDP(t, reply(make([]byte, replyLen), &m, own, false), &m, own, false)
	})
}

// checkReplyNDP checks the fields of RFC 4861 sections 4.4 and 7.2.4.
func checkReplyNDP(t require.TestingT, b []byte, m *message, own hardwareAddr, router bool) {
	hw, dest, solicited := m.sender, m.source, true
	if m.source.IsUnspecified() {
		hw, dest, solicited = hardwareAddr{0x33, 0x33, 0, 0, 0, 1}, netip.MustParseAddr("ff02::1"), false
	}
	checkAdvertisement(t, b, hw, dest, &ndp.NeighborAdvertisement{
		Router: router, Solicited: solicited, Override: true, TargetAddress: m.target,
		Options: []ndp.Option{&ndp.LinkLayerAddress{Direction: ndp.Target, Addr: own[:]}},
	}, own)
}

func checkAdvertisement(t require.TestingT, b []byte, hw hardwareAddr, dest netip.Addr, want *ndp.NeighborAdvertisement, own hardwareAddr) {
	require.Equal(t, net.HardwareAddr(hw[:]), net.HardwareAddr(b[:6]))
	require.Equal(t, net.HardwareAddr(own[:]), net.HardwareAddr(b[6:12]))
	require.Equal(t, uint16(ethernet.EtherTypeIPv6), binary.BigEndian.Uint16(b[12:]))
	header, err := ipv6.ParseHeader(b[headerLen:])
	require.NoError(t, err)
	payload := b[headerLen+ipv6.HeaderLen:]
	require.Equal(t, ipv6.Header{
		Version: 6, PayloadLen: len(payload), NextHeader: 58, HopLimit: 255,
		Src: want.TargetAddress.AsSlice(), Dst: dest.AsSlice(),
	}, *header)
	require.True(t, checksumRight(payload, header))
	require.Zero(t, payload[1])
	got, err := ndp.ParseMessage(payload)
	if want.TargetAddress.Is4In6() { // which the codec does not take
		require.Error(t, err)
		return
	}
	require.NoError(t, err)
	require.Equal(t, want, got)
}

func TestReplyNDP(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		own := drawHW("own").Draw(t, "own")
		m := message{question: true, sender: drawHW("sender").Draw(t, "sender")}
		m.source, m.target = drawAddr6(t, "from"), drawAddr6(t, "to")
		router := rapid.Bool().Draw(t, "router")
		out := rapid.SliceOfN(rapid.Byte(), replyLen, replyLen).Draw(t, "what was in the buffer")
		checkReplyNDP(t, reply(out, &m, own, router), &m, own, router)
	})
}

// The unsolicited advertisement of RFC 4861 section 7.2.6.
func TestUnsolicited(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		own, addr := drawHW("own").Draw(t, "own"), drawAddr6(t, "addr")
		router := rapid.Bool().Draw(t, "router")
		frames, err := announcement(addr, own, router)
		require.NoError(t, err)
		require.Len(t, frames, 1)
		checkAdvertisement(t, frames[0], hardwareAddr{0x33, 0x33, 0, 0, 0, 1}, netip.MustParseAddr("ff02::1"), &ndp.NeighborAdvertisement{
			Router: router, Override: true, TargetAddress: addr,
			Options: []ndp.Option{&ndp.LinkLayerAddress{Direction: ndp.Target, Addr: own[:]}},
		}, own)
	})
}

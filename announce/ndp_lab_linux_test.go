package announce_test

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mdlayher/ethernet"
	"github.com/mdlayher/ndp"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv6"

	"github.com/l2vip/l2vip/announce"
	"github.com/l2vip/l2vip/internal/testnet"
)

var (
	marker6     = netip.MustParseAddr("2001:db8::99") // what is asked for after what must not be answered
	allNodes    = netip.IPv6LinkLocalAllNodes()
	allNodesHW  = net.HardwareAddr{0x33, 0x33, 0, 0, 0, 1}
	unspecified = netip.IPv6Unspecified()
)

// groupOf returns the solicited-node group of an address (RFC 4291 section
// 2.7.1), and its Ethernet address (RFC 2464 section 7).
func groupOf(addr netip.Addr) (netip.Addr, net.HardwareAddr) {
	group, err := ndp.SolicitedNodeMulticast(addr)
	if err != nil {
		panic(err)
	}
	b := group.As16()
	return group, net.HardwareAddr{0x33, 0x33, b[12], b[13], b[14], b[15]}
}

// asker is a station that speaks NDP.
type asker struct {
	*station
	asked uint16 // numbers the questions, through the source address
}

func newAsker(t testing.TB, node *testnet.Node, speaker net.HardwareAddr) *asker {
	t.Helper()
	a := &asker{station: newStation(t, node)}
	a.speaker = speaker
	return a
}

// newNDPBench returns a lab, and what asks its speaker.
func newNDPBench(t testing.TB) (*bench, *asker) {
	t.Helper()
	b, client := newBench6(t)
	return b, newAsker(t, client, b.node.HardwareAddr)
}

// datagram is a message of NDP in an Ethernet frame, with every field.
type datagram struct {
	dst, src     net.HardwareAddr
	vlan         *ethernet.VLAN
	version      byte
	next         byte // header
	extension    []byte
	hopLimit     byte
	source, dest netip.Addr
	kind         ipv6.ICMPType
	code         int
	flags        byte
	target       netip.Addr
	options      []byte
	wrong        byte // is added to the checksum
	// What is not zero replaces what would be right: message cuts the ICMP
	// message, and what is said of it with it; length is only said; cut is
	// where the frame ends. padding follows the packet.
	message, length, cut, padding int
}

// sourceOption is the source link-layer address option.
func sourceOption(hw net.HardwareAddr) []byte { return append([]byte{1, 1}, hw...) }

// targetOption is the target link-layer address option.
func targetOption(hw net.HardwareAddr) []byte { return append([]byte{2, 1}, hw...) }

// solicit returns a well-formed solicitation to the group of addr, from a source
// of its own.
func (a *asker) solicit(addr netip.Addr) datagram {
	a.asked++
	from := netip.MustParseAddr("2001:db8::a:0").As16()
	binary.BigEndian.PutUint16(from[14:], a.asked)
	group, hw := groupOf(addr)
	return datagram{
		dst: hw, src: a.node.HardwareAddr, version: 6, next: 58, hopLimit: 255,
		source: netip.AddrFrom16(from), dest: group,
		kind: ipv6.ICMPTypeNeighborSolicitation, target: addr, options: sourceOption(a.node.HardwareAddr),
	}
}

// detect returns the solicitation of duplicate address detection.
func (a *asker) detect(addr netip.Addr) datagram {
	d := a.solicit(addr)
	d.source, d.options = unspecified, nil
	return d
}

// claim returns an unsolicited advertisement of addr.
func (a *asker) claim(addr netip.Addr) datagram {
	return datagram{
		dst: allNodesHW, src: a.node.HardwareAddr, version: 6, next: 58, hopLimit: 255,
		source: addr, dest: allNodes,
		kind: ipv6.ICMPTypeNeighborAdvertisement, flags: 0x20, target: addr, options: targetOption(a.node.HardwareAddr),
	}
}

func (d *datagram) frame() []byte {
	body := append([]byte{d.flags, 0, 0, 0}, d.target.AsSlice()...)
	body = append(body, d.options...)
	if d.message > 0 {
		body = body[:d.message-4]
	}
	m := icmp.Message{Type: d.kind, Code: d.code, Body: &icmp.RawBody{Data: body}}
	message, err := m.Marshal(icmp.IPv6PseudoHeader(d.source.AsSlice(), d.dest.AsSlice()))
	if err != nil {
		panic(err)
	}
	message[2] += d.wrong
	f := append(slices.Clone(d.dst), d.src...)
	if d.vlan != nil {
		f = binary.BigEndian.AppendUint16(f, 0x8100)
		f = binary.BigEndian.AppendUint16(f, uint16(d.vlan.Priority)<<13|d.vlan.ID)
	}
	f = binary.BigEndian.AppendUint16(f, 0x86dd)
	length := len(d.extension) + len(message)
	if d.length > 0 {
		length = d.length
	}
	f = append(f, d.version<<4, 0, 0, 0)
	f = binary.BigEndian.AppendUint16(f, uint16(length))
	f = append(f, d.next, d.hopLimit)
	f = append(f, d.source.AsSlice()...)
	f = append(f, d.dest.AsSlice()...)
	f = append(f, d.extension...)
	f = append(f, message...)
	f = append(f, make([]byte, d.padding)...)
	if d.cut > 0 {
		return f[:d.cut]
	}
	return f
}

func (a *asker) send(t testing.TB, d datagram) {
	t.Helper()
	_, err := a.conn.WriteTo(d.frame(), packetAddr(d.dst))
	require.NoError(t, err)
}

// heard6 is a message of NDP on the wire.
type heard6 struct {
	frame     []byte
	dst, src  net.HardwareAddr
	header    ipv6.Header
	source    netip.Addr
	dest      netip.Addr
	solicits  *ndp.NeighborSolicitation
	advertise *ndp.NeighborAdvertisement
}

func (h heard6) String() string {
	if h.solicits != nil {
		return fmt.Sprintf("%v > %v: %v asks %v for %v", h.src, h.dst, h.source, h.dest, h.solicits.TargetAddress)
	}
	return fmt.Sprintf("%v > %v: %v tells %v of %v, %x", h.src, h.dst, h.source, h.dest, h.advertise.TargetAddress, h.frame[14+ipv6.HeaderLen:])
}

// hear6 reads a frame, and reports whether it is a message of NDP.
func hear6(b []byte) (h heard6, ok bool) {
	const start = 14 + ipv6.HeaderLen
	if len(b) <= start || binary.BigEndian.Uint16(b[12:]) != 0x86dd || b[20] != 58 {
		return h, false
	}
	header, err := ipv6.ParseHeader(b[14:])
	if err != nil {
		return h, false
	}
	message, err := ndp.ParseMessage(b[start:])
	if err != nil {
		return h, false
	}
	b = slices.Clone(b)
	h = heard6{frame: b, dst: b[:6], src: b[6:12], header: *header}
	h.source, _ = netip.AddrFromSlice(header.Src)
	h.dest, _ = netip.AddrFromSlice(header.Dst)
	switch m := message.(type) {
	case *ndp.NeighborSolicitation:
		h.solicits = m
	case *ndp.NeighborAdvertisement:
		h.advertise = m
	default:
		return h, false
	}
	return h, true
}

// advertises reports whether it is an advertisement of addr.
func (h heard6) advertises(addr netip.Addr) bool {
	return h.advertise != nil && h.advertise.TargetAddress == addr
}

// announces reports whether it is one to all nodes.
func (h heard6) announces(addr netip.Addr) bool { return h.advertises(addr) && h.dest == allNodes }

// probes reports whether it asks who else has addr.
func (h heard6) probes(addr netip.Addr) bool {
	return h.solicits != nil && h.solicits.TargetAddress == addr && h.source == unspecified
}

// answers reports whether it is an advertisement for who asked the question.
func (h heard6) answers(d datagram) bool { return h.advertises(d.target) && h.dest == d.source }

// next returns the next message of NDP from the speaker for which want is true,
// and calls also with all that come before it.
func (a *asker) next(t testing.TB, want func(heard6) bool, also func(heard6)) heard6 {
	t.Helper()
	h, err := a.read(time.Now().Add(patience), want, also)
	require.NoError(t, err, "a frame that was waited for")
	return h
}

func (a *asker) read(deadline time.Time, want func(heard6) bool, also func(heard6)) (heard6, error) {
	if err := a.conn.SetReadDeadline(deadline); err != nil {
		return heard6{}, err
	}
	buf := make([]byte, 2048)
	for {
		n, _, err := a.conn.ReadFrom(buf)
		if err != nil {
			return heard6{}, err
		}
		h, ok := hear6(buf[:n])
		if !ok || h.src.String() != a.speaker.String() {
			continue
		}
		if want(h) {
			return h, nil
		}
		if also != nil {
			also(h)
		}
	}
}

// ask asks once and waits for the answer.
func (a *asker) ask(t testing.TB, addr netip.Addr) heard6 {
	t.Helper()
	d := a.solicit(addr)
	a.send(t, d)
	return a.next(t, func(h heard6) bool { return h.answers(d) }, nil)
}

// heardUntilMarker returns the advertisements that the speaker sends before it has
// answered twice for marker6, as station.heardUntilMarker does.
func (a *asker) heardUntilMarker(t testing.TB) (all []heard6) {
	t.Helper()
	for range 2 {
		d := a.solicit(marker6)
		a.send(t, d)
		a.next(t, func(h heard6) bool { return h.answers(d) }, func(h heard6) { all = append(all, h) })
	}
	return slices.DeleteFunc(all, func(h heard6) bool { return h.advertise == nil || h.advertises(marker6) })
}

// requireAdvertisement checks every field of an advertisement of addr by hw, and
// that its only option is the target link-layer address (RFC 4861 section 4.4).
func requireAdvertisement(t testing.TB, h heard6, addr netip.Addr, hw, to net.HardwareAddr, dest netip.Addr, flags ndp.NeighborAdvertisement) {
	t.Helper()
	require.Equal(t, to, h.dst)
	require.Equal(t, hw, h.src)
	require.Equal(t, ipv6.Header{
		Version: 6, PayloadLen: 32, NextHeader: 58, HopLimit: 255, Src: addr.AsSlice(), Dst: dest.AsSlice(),
	}, h.header)
	require.Len(t, h.frame, 14+ipv6.HeaderLen+32)
	require.Zero(t, h.frame[14+ipv6.HeaderLen+1], "code")
	flags.TargetAddress = addr
	flags.Options = []ndp.Option{&ndp.LinkLayerAddress{Direction: ndp.Target, Addr: hw}}
	require.Equal(t, &flags, h.advertise)
	requireChecksum(t, h)
}

// requireChecksum checks the checksum of a message.
func requireChecksum(t testing.TB, h heard6) {
	t.Helper()
	m, err := icmp.ParseMessage(58, h.frame[14+ipv6.HeaderLen:])
	require.NoError(t, err)
	right, err := m.Marshal(icmp.IPv6PseudoHeader(h.header.Src, h.header.Dst))
	require.NoError(t, err)
	require.Equal(t, right, h.frame[14+ipv6.HeaderLen:])
}

// requireProbe checks every field of the solicitation of duplicate address
// detection (RFC 4862 section 5.4.2): from the unspecified address to the
// solicited-node group, without any option.
func requireProbe(t testing.TB, h heard6, addr netip.Addr, hw net.HardwareAddr) {
	t.Helper()
	group, to := groupOf(addr)
	require.Equal(t, to, h.dst)
	require.Equal(t, hw, h.src)
	require.Equal(t, ipv6.Header{
		Version: 6, PayloadLen: 24, NextHeader: 58, HopLimit: 255, Src: unspecified.AsSlice(), Dst: group.AsSlice(),
	}, h.header)
	require.Len(t, h.frame, 14+ipv6.HeaderLen+24)
	require.Equal(t, &ndp.NeighborSolicitation{TargetAddress: addr}, h.solicits)
	requireChecksum(t, h)
}

// quiet is a configuration with which nothing is sent unasked once the repeats of
// a claim are over.
var quiet = announce.Config{Refresh: time.Hour, RivalProbe: time.Hour}

// quieten waits until n announcements, with all repeats, are over and heard.
func (a *asker) quieten(t testing.TB, s *speaker, n uint64) {
	t.Helper()
	eventually(t, func() bool { return s.Stats().Announced >= 6*n }, "the repeats")
	a.heardUntilMarker(t)
}

// repeat sends one datagram after the other, until stop is called.
func repeat(t testing.TB, a *asker, pause time.Duration, next func(n int) datagram) (stop func()) {
	t.Helper()
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for n := 0; ; n++ {
			select {
			case <-done:
				return
			default:
			}
			d := next(n)
			if _, err := a.conn.WriteTo(d.frame(), packetAddr(d.dst)); errors.Is(err, net.ErrClosed) {
				return
			}
			if pause > 0 {
				time.Sleep(pause)
			}
		}
	})
	stop = sync.OnceFunc(func() { close(done); wg.Wait() })
	t.Cleanup(stop)
	return stop
}

// groups returns the IPv6 groups that the node's interface is in.
func groups(t testing.TB, node *testnet.Node) (all []netip.Addr) {
	t.Helper()
	within(t, node, func() error {
		b, err := os.ReadFile("/proc/thread-self/net/igmp6")
		for line := range strings.Lines(string(b)) {
			fields := strings.Fields(line) // index, name, group, and more
			if len(fields) < 3 || fields[1] != node.Interface {
				continue
			}
			addr, err := hex.DecodeString(fields[2])
			if err != nil {
				return err
			}
			group, _ := netip.AddrFromSlice(addr)
			all = append(all, group)
		}
		return err
	})
	return all
}

// joined reports whether the node is in the group of an address.
func joined(t testing.TB, node *testnet.Node, addr netip.Addr) bool {
	t.Helper()
	group, _ := groupOf(addr)
	return slices.Contains(groups(t, node), group)
}

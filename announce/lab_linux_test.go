package announce_test

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/mdlayher/arp"
	"github.com/mdlayher/ethernet"
	"github.com/mdlayher/packet"
	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/l2vip/l2vip/announce"
	"github.com/l2vip/l2vip/internal/testnet"
)

// patience bounds every wait. It is long, because nothing is concluded from how
// long something took.
const patience = 20 * time.Second

var (
	vip    = netip.MustParseAddr("192.168.122.100")
	vip2   = netip.MustParseAddr("192.168.122.101")
	marker = netip.MustParseAddr("192.168.122.99") // what is asked for after what must not be answered
)

// bench is a lab with a node for an announcer and one for what it is asked by.
type bench struct {
	lab    *testnet.Lab
	node   *testnet.Node
	client *station
}

func newBench(t testing.TB) *bench {
	t.Helper()
	testnet.Require(t)
	lab, err := testnet.NewLab()
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, lab.Close()) })
	b := &bench{lab: lab}
	b.node = b.addNode(t, "speaker", "192.168.122.10/24")
	b.client = newStation(t, b.addNode(t, "client", "192.168.122.50/24"))
	b.client.speaker = b.node.HardwareAddr
	return b
}

func (b *bench) addNode(t testing.TB, name string, prefixes ...string) *testnet.Node {
	t.Helper()
	var list []netip.Prefix
	for _, p := range prefixes {
		list = append(list, netip.MustParsePrefix(p))
	}
	node, err := b.lab.AddNode(name, list...)
	require.NoError(t, err)
	return node
}

// within calls fn inside the node.
func within(t testing.TB, node *testnet.Node, fn func() error) {
	t.Helper()
	require.NoError(t, node.Do(fn))
}

// eventually waits until cond holds.
func eventually(t testing.TB, cond func() bool, what string) {
	t.Helper()
	for deadline := time.Now().Add(patience); !cond(); time.Sleep(time.Millisecond) {
		require.True(t, time.Now().Before(deadline), what)
	}
}

// speaker is an announcer that runs in a node.
type speaker struct {
	*announce.Announcer
	cancel context.CancelFunc
	done   chan struct{}
	err    error

	mu      sync.Mutex
	facts   *announce.Facts
	history []announce.Facts
	news    chan struct{}
}

// start runs an announcer in a node, until the test ends or stop is called.
func start(t testing.TB, node *testnet.Node, c announce.Config, assignments ...announce.Assignment) *speaker {
	t.Helper()
	a, err := announce.New(c)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	s := &speaker{Announcer: a, cancel: cancel, done: make(chan struct{}), news: make(chan struct{}, 1)}
	if assignments != nil {
		require.NoError(t, s.Set(assignments))
	}
	go func() {
		defer close(s.done)
		s.err = node.Do(func() error { return a.Run(ctx, s.report) })
	}()
	t.Cleanup(func() { require.NoError(t, s.stop()) })
	return s
}

func (s *speaker) report(f announce.Facts) {
	s.mu.Lock()
	s.facts = &f
	s.history = append(s.history, f)
	s.mu.Unlock()
	select {
	case s.news <- struct{}{}:
	default:
	}
}

func (s *speaker) stop() error {
	s.cancel()
	<-s.done
	return s.err
}

// await waits until the facts are as cond wants them, and returns them.
func (s *speaker) await(t testing.TB, cond func(announce.Facts) bool) announce.Facts {
	t.Helper()
	timeout := time.After(patience)
	for {
		s.mu.Lock()
		facts := s.facts
		s.mu.Unlock()
		if facts != nil && cond(*facts) {
			return *facts
		}
		select {
		case <-s.news:
		case <-s.done:
			require.FailNow(t, "the announcer ended", "%v", s.err)
		case <-timeout:
			require.FailNow(t, "these facts never came", "the last ones are %+v", facts)
		}
	}
}

// reports returns all facts that were reported.
func (s *speaker) reports() []announce.Facts {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.history)
}

// about returns what the facts say of an address.
func about(f announce.Facts, addr netip.Addr) announce.Address {
	for _, a := range f.Addresses {
		if a.Addr == addr {
			return a
		}
	}
	return announce.Address{}
}

// ready waits until all assignments are applied without a problem.
func (s *speaker) ready(t testing.TB, n int) {
	t.Helper()
	s.await(t, func(f announce.Facts) bool {
		return len(f.Addresses) == n && !slices.ContainsFunc(f.Addresses, func(a announce.Address) bool { return a.Problem != announce.NoProblem })
	})
}

func answering(addrs ...netip.Addr) []announce.Assignment { return assigned(announce.Answer, addrs...) }

func assigned(mode announce.Mode, addrs ...netip.Addr) []announce.Assignment {
	var list []announce.Assignment
	for _, addr := range addrs {
		list = append(list, announce.Assignment{Addr: addr, Interfaces: []string{"eth0"}, Mode: mode, Claim: 1})
	}
	return list
}

// station is a raw port of a node.
type station struct {
	node    *testnet.Node
	conn    net.PacketConn
	speaker net.HardwareAddr // whom it listens to
	asked   byte             // numbers the questions, through the sender address
	// hearsAll: its buffer is large enough for any burst.
	hearsAll bool
}

func newStation(t testing.TB, node *testnet.Node) *station {
	t.Helper()
	conn, err := node.Frames()
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	raw, err := conn.(*packet.Conn).SyscallConn()
	require.NoError(t, err)
	st := &station{node: node, conn: conn}
	require.NoError(t, raw.Control(func(fd uintptr) {
		const size = 64 << 20
		err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, size)
		st.hearsAll = err == nil
		if errors.Is(err, unix.EPERM) { // in a user namespace; then as much as anybody may have
			err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, size)
		}
	}))
	require.NoError(t, err)
	return st
}

// question is an ARP packet in an Ethernet frame, with every field.
type question struct {
	dst, src           net.HardwareAddr
	vlan               *ethernet.VLAN
	etherType          uint16
	htype, ptype       uint16
	hlen, plen         byte
	op                 uint16
	senderHW, targetHW net.HardwareAddr
	senderIP, targetIP netip.Addr
	length             int // cuts the frame, if it is not zero
}

// request returns a well-formed broadcast request for addr, with a sender address
// of its own.
func (s *station) request(addr netip.Addr) question {
	s.asked = s.asked%40 + 1
	return question{
		dst: ethernet.Broadcast, src: s.node.HardwareAddr, etherType: 0x0806,
		htype: 1, ptype: 0x0800, hlen: 6, plen: 4, op: 1,
		senderHW: s.node.HardwareAddr, targetHW: make(net.HardwareAddr, 6),
		senderIP: netip.AddrFrom4([4]byte{192, 168, 122, 200 + s.asked}), targetIP: addr,
	}
}

func (q *question) frame() []byte {
	f := append([]byte{}, q.dst...)
	f = append(f, q.src...)
	if q.vlan != nil {
		f = binary.BigEndian.AppendUint16(f, 0x8100)
		f = binary.BigEndian.AppendUint16(f, uint16(q.vlan.Priority)<<13|q.vlan.ID)
	}
	f = binary.BigEndian.AppendUint16(f, q.etherType)
	f = binary.BigEndian.AppendUint16(f, q.htype)
	f = binary.BigEndian.AppendUint16(f, q.ptype)
	f = append(f, q.hlen, q.plen)
	f = binary.BigEndian.AppendUint16(f, q.op)
	f = append(f, q.senderHW...)
	f = append(f, q.senderIP.AsSlice()...)
	f = append(f, q.targetHW...)
	f = append(f, q.targetIP.AsSlice()...)
	if q.length > 0 {
		return f[:q.length]
	}
	return f
}

// packetAddr is where a frame goes, as a raw port wants it.
func packetAddr(hw net.HardwareAddr) net.Addr { return &packet.Addr{HardwareAddr: hw} }

func (s *station) send(t testing.TB, q question) {
	t.Helper()
	_, err := s.conn.WriteTo(q.frame(), packetAddr(q.dst))
	require.NoError(t, err)
}

// heard is an ARP packet that the speaker sent.
type heard struct {
	*arp.Packet
	dst, src net.HardwareAddr
	at       time.Time
}

// next returns the next ARP packet from the speaker's hardware address for which
// want is true, and calls also with all that come before it.
func (s *station) next(t testing.TB, want func(heard) bool, also func(heard)) heard {
	t.Helper()
	h, err := s.read(time.Now().Add(patience), want, also)
	require.NoError(t, err, "a frame that was waited for")
	return h
}

func (s *station) read(deadline time.Time, want func(heard) bool, also func(heard)) (heard, error) {
	if err := s.conn.SetReadDeadline(deadline); err != nil {
		return heard{}, err
	}
	buf := make([]byte, 2048)
	for {
		n, _, err := s.conn.ReadFrom(buf)
		if err != nil {
			return heard{}, err
		}
		var frame ethernet.Frame
		if frame.UnmarshalBinary(buf[:n]) != nil || frame.EtherType != ethernet.EtherTypeARP {
			continue
		}
		p := new(arp.Packet)
		if p.UnmarshalBinary(slices.Clone(frame.Payload)) != nil {
			continue
		}
		h := heard{p, slices.Clone(frame.Destination), slices.Clone(frame.Source), time.Now()}
		if h.src.String() != s.speaker.String() {
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

// isReply reports whether the packet answers the question.
func (h heard) isReply(q question) bool {
	return h.Operation == arp.OperationReply && h.SenderIP == q.targetIP && h.TargetIP == q.senderIP &&
		h.dst.String() == q.senderHW.String()
}

// isGratuitous reports whether the packet announces addr.
func (h heard) isGratuitous(addr netip.Addr) bool { return h.SenderIP == addr && h.TargetIP == addr }

// ask asks and waits for the answer.
func (s *station) ask(t testing.TB, addr netip.Addr) heard {
	t.Helper()
	q := s.request(addr)
	s.send(t, q)
	return s.next(t, func(h heard) bool { return h.isReply(q) }, nil)
}

// heardUntilMarker returns what the speaker sends before it has answered twice for
// marker, which it is asked for now. Twice, because two frames may take two ways
// through a machine with several processors.
func (s *station) heardUntilMarker(t testing.TB) []heard {
	t.Helper()
	var all []heard
	for range 2 {
		q := s.request(marker)
		s.send(t, q)
		s.next(t, func(h heard) bool { return h.isReply(q) }, func(h heard) { all = append(all, h) })
	}
	return slices.DeleteFunc(all, func(h heard) bool { return h.SenderIP == marker })
}

// silent checks that nothing at all is sent about addr.
func (s *station) silent(t testing.TB, addr netip.Addr) {
	t.Helper()
	for _, h := range s.heardUntilMarker(t) {
		require.NotEqual(t, addr, h.SenderIP, "%+v", h)
	}
}

// refused checks that nothing answers for addr.
func (s *station) refused(t testing.TB, addr netip.Addr) {
	t.Helper()
	s.send(t, s.request(addr))
	for _, h := range s.heardUntilMarker(t) {
		require.False(t, h.Operation == arp.OperationReply && h.SenderIP == addr && !h.isGratuitous(addr), "%+v", h)
	}
}

// bound returns the addresses with a prefix of 32 bits on the interface, other
// than 127.0.0.1.
func bound(t testing.TB, node *testnet.Node, ifname string) map[netip.Addr]netlink.Addr {
	t.Helper()
	all := make(map[netip.Addr]netlink.Addr)
	within(t, node, func() error {
		l, err := netlink.LinkByName(ifname)
		if err != nil {
			return err
		}
		list, err := netlink.AddrList(l, netlink.FAMILY_V4)
		for errors.Is(err, netlink.ErrDumpInterrupted) {
			list, err = netlink.AddrList(l, netlink.FAMILY_V4)
		}
		for _, a := range list {
			if ones, _ := a.Mask.Size(); ones == 32 {
				addr, _ := netip.AddrFromSlice(a.IP.To4())
				all[addr] = a
			}
		}
		return err
	})
	return all
}

// isBound reports whether the address is on the interface.
func isBound(t testing.TB, node *testnet.Node, ifname string, addr netip.Addr) bool {
	t.Helper()
	_, ok := bound(t, node, ifname)[addr]
	return ok
}

// sysctl returns a setting of the node's IPv4.
func sysctl(t testing.TB, node *testnet.Node, name string) (value string) {
	t.Helper()
	within(t, node, func() error {
		b, err := os.ReadFile("/proc/sys/net/ipv4/conf/all/" + name)
		value = string(b[:max(0, len(b)-1)])
		return err
	})
	return value
}

// onLink calls fn with an interface inside the node.
func onLink(t testing.TB, node *testnet.Node, ifname string, fn func(l netlink.Link) error) {
	t.Helper()
	within(t, node, func() error {
		l, err := netlink.LinkByName(ifname)
		if err != nil {
			return err
		}
		return fn(l)
	})
}

// addrOn returns addr for netlink, with a prefix.
func addrOn(prefix string) *netlink.Addr {
	a, err := netlink.ParseAddr(prefix)
	if err != nil {
		panic(err)
	}
	return a
}

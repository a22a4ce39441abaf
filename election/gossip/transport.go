package gossip

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/memberlist"

	"github.com/l2vip/l2vip/election"
)

const (
	// packetSize is the largest datagram that is sent.
	packetSize = 1400
	// maxDatagram is the largest datagram that is taken.
	maxDatagram = 8 << 10
	// receiveBuffer is what the kernel is asked for, as memberlist does.
	receiveBuffer = 2 << 20
)

// transport carries memberlist's messages and those of the engines over a Network. What
// it hands out is authentic, fresh, and of the member that it names.
type transport struct {
	network   Network
	sockets   sockets
	advertise netip.AddrPort
	keys      func() *election.Keys
	current   atomic.Pointer[ring]
	links     *links
	guests    guests
	received  atomic.Int64 // bytes of messages in streams
	engine    *engine
	count     *counters
	log       *slog.Logger

	packets chan *memberlist.Packet
	streams chan net.Conn
	tasks   tasks
}

// sockets are those of a transport.
type sockets struct {
	packet   net.PacketConn
	listener net.Listener
	broken   chan error // one was closed under the engine

	mu    sync.Mutex
	conns map[net.Conn]struct{} // nil at the end
	own   map[netip.AddrPort]bool
}

// tasks are goroutines that are joined.
type tasks struct {
	ctx    context.Context
	cancel context.CancelFunc
	mu     sync.Mutex
	over   bool
	wg     sync.WaitGroup
}

// spawn runs f in a goroutine, unless it is too late.
func (t *tasks) spawn(f func()) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.over {
		return false
	}
	t.wg.Go(f)
	return true
}

// end lets no more goroutines begin.
func (t *tasks) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.over = true
}

var _ memberlist.NodeAwareTransport = (*transport)(nil)

// newTransport opens the sockets, on the goroutine of its caller.
func newTransport(ctx context.Context, cfg *Config, advertise netip.Addr, e *engine, keys func() *election.Keys) (*transport, error) {
	host := ""
	if cfg.Address.IsValid() {
		host = cfg.Address.String()
	}
	address := net.JoinHostPort(host, strconv.Itoa(cfg.Port))
	pc, err := cfg.Network.ListenPacket(ctx, "udp", address)
	if err != nil {
		return nil, fmt.Errorf("gossip: open the UDP socket at %s: %w", address, err)
	}
	ln, err := cfg.Network.Listen(ctx, "tcp", address)
	if err != nil {
		_ = pc.Close()
		return nil, fmt.Errorf("gossip: listen for TCP at %s: %w", address, err)
	}
	if s, ok := pc.(interface{ SetReadBuffer(int) error }); ok {
		_ = s.SetReadBuffer(receiveBuffer) // the default does too, only less well
	}
	t := &transport{
		network: cfg.Network, advertise: netip.AddrPortFrom(advertise, uint16(cfg.Port)), keys: keys,
		links: newLinks(e.cluster, e.self, e.instance, e.gossip.clock), guests: guests{names: make(map[string]int)},
		engine: e, count: e.count, log: e.log.Logger,
		packets: make(chan *memberlist.Packet), streams: make(chan net.Conn),
		sockets: sockets{
			packet: pc, listener: ln, broken: make(chan error, 2),
			conns: make(map[net.Conn]struct{}), own: make(map[netip.AddrPort]bool),
		},
	}
	t.links.located = e.located
	t.current.Store(newRing(e.cluster, keys()))
	t.tasks.ctx, t.tasks.cancel = context.WithCancel(context.WithoutCancel(ctx))
	return t, nil
}

// start begins to receive.
func (t *transport) start() {
	t.tasks.wg.Go(t.receive)
	t.tasks.wg.Go(t.accept)
}

func (t *transport) drop(why reason, args ...any) { t.count.drop(t.log, why, args...) }

// ring returns the secrets as they are now. When they have changed, the members are told
// which ones this engine accepts: what they send with another is lost until then.
func (t *transport) ring() *ring {
	r, keys := t.current.Load(), t.keys()
	if r.from == keys || keys.Len() == 0 || !r.keyed() {
		return r
	}
	after := newRing(t.links.cluster, keys)
	if !t.current.CompareAndSwap(r, after) {
		return t.current.Load()
	}
	t.tasks.spawn(func() {
		for _, m := range t.engine.live() {
			_ = t.send(kindNothing, m.name, m.addr, nil)
		}
	})
	return after
}

// receive takes datagrams.
func (t *transport) receive() {
	buf := make([]byte, 64<<10)
	retry := retry{ctx: t.tasks.ctx}
	for {
		n, from, err := t.sockets.packet.ReadFrom(buf)
		if err != nil {
			if t.over(err, "UDP socket") || !retry.pause() {
				return
			}
			continue
		}
		retry.reset()
		if n > 0 { // else it is a probe of the port, which the segment sends
			t.take(buf[:n], from, time.Now())
		}
	}
}

// take takes one datagram.
func (t *transport) take(b []byte, source net.Addr, now time.Time) {
	from := addrPort(source)
	if len(b) > maxDatagram {
		t.drop(dropTooLarge, "from", from.Addr())
		return
	}
	e, sealed, err := parseEnvelope(b, t.links.cluster)
	if err != nil {
		t.drop(reasonOf(err), "from", from.Addr())
		return
	}
	if e.receiver != t.links.self || e.sender == t.links.self {
		t.drop(dropMisdirected, "from", from.Addr(), "to", e.receiver)
		return
	}
	r := t.ring()
	s := r.find(e.ids[0])
	if s == nil {
		t.drop(dropKey, "from", from.Addr(), "member", e.sender)
		return
	}
	data, news, why, reply, place := t.links.take(&e, sealed, b, s, r, from)
	if why != taken {
		t.drop(why, "from", from.Addr(), "member", e.sender)
		if reply != nil {
			_, _ = t.sockets.packet.WriteTo(reply, net.UDPAddrFromAddrPort(place))
		}
		return
	}
	if news {
		t.engine.started(e.sender, e.instance)
	}
	switch e.kind {
	case kindChallenge:
		for _, s := range t.links.challenged(&e, data) {
			_, _ = t.sockets.packet.WriteTo(t.links.again(r, e.sender, &s), net.UDPAddrFromAddrPort(s.to))
		}
	case kindEngine:
		t.engine.receive(e.sender, e.instance, data, from)
	case kindMemberlist:
		if !validPacket(data) {
			t.drop(dropMalformed, "from", from.Addr(), "member", e.sender)
			return
		}
		select {
		case t.packets <- &memberlist.Packet{Buf: data, From: source, Timestamp: now}:
		case <-t.tasks.ctx.Done():
		}
	}
}

// send sends a datagram to a member.
func (t *transport) send(kind byte, name string, to netip.AddrPort, data []byte) error {
	if badName(name) != nil {
		return errors.New("gossip: a datagram to no member")
	}
	_, err := t.sockets.packet.WriteTo(t.links.datagram(t.ring(), kind, name, to, data), net.UDPAddrFromAddrPort(to))
	return err
}

// sendStream sends a message of the engines to a member, on a stream.
func (t *transport) sendStream(name string, to netip.AddrPort, message []byte) error {
	c, err := t.open(name, to, dialTimeout)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	if err := c.send(kindEngine, message); err != nil {
		return err
	}
	_, _ = c.Conn.Read(make([]byte, 1)) // until the other has taken it and closes
	return nil
}

// open opens a stream to an address, to a member of that name if it is not empty.
func (t *transport) open(name string, to netip.AddrPort, timeout time.Duration) (*stream, error) {
	c, err := t.openOnce(name, to, timeout)
	if errors.Is(err, errAgain) {
		c, err = t.openOnce(name, to, timeout)
	}
	return c, err
}

func (t *transport) openOnce(name string, to netip.AddrPort, timeout time.Duration) (*stream, error) {
	ctx, cancel := context.WithTimeout(t.tasks.ctx, min(timeout, dialTimeout))
	defer cancel()
	conn, err := t.network.DialContext(ctx, "tcp", to.String())
	if err != nil {
		return nil, err
	}
	if !t.track(conn) {
		_ = conn.Close()
		return nil, net.ErrClosed
	}
	_ = conn.SetDeadline(time.Now().Add(helloTimeout))
	c, err := t.dial(conn, name, to)
	if err != nil {
		t.untrack(conn)
		_ = conn.Close()
		return nil, err
	}
	c.budget, c.drop, c.closed = &t.received, t.drop, t.closed()
	_ = conn.SetDeadline(time.Now().Add(streamTimeout)) // memberlist does not always set one
	return c, nil
}

// accept takes streams.
func (t *transport) accept() {
	retry := retry{ctx: t.tasks.ctx}
	for {
		conn, err := t.sockets.listener.Accept()
		if err != nil {
			if t.over(err, "TCP listener") || !retry.pause() {
				return
			}
			continue
		}
		retry.reset()
		n := &guest{conn, addrPort(conn.RemoteAddr()).Addr()}
		if gone := t.guests.arrive(n); gone != nil {
			t.drop(dropOverloaded, "from", gone.source)
			_ = gone.Close()
		}
		if !t.track(conn) || !t.tasks.spawn(func() { t.serve(n) }) {
			_ = conn.Close()
			return
		}
	}
}

// serve says hello on a stream that another engine has opened, receives one message on
// it, and hands it on.
func (t *transport) serve(n *guest) {
	_ = n.SetDeadline(time.Now().Add(helloTimeout))
	c, err := t.welcome(n.Conn)
	t.guests.depart(n)
	if err == nil && !t.guests.admit(c.peer.sender) {
		t.drop(dropOverloaded, "from", n.source, "member", c.peer.sender)
		err = errOverloaded
	}
	if err != nil {
		t.untrack(n.Conn)
		_ = n.Close()
		return
	}
	c.budget, c.drop, c.closed = &t.received, t.drop, t.closed()
	_ = n.SetDeadline(time.Now().Add(streamTimeout))
	kind, message, err := c.receive()
	switch {
	case err != nil:
		_ = t.refuse(n.Conn, err)
	case kind == kindEngine:
		if c.standing == fine {
			t.engine.receive(c.peer.sender, c.peer.instance, message, netip.AddrPortFrom(n.source, 0))
		}
	case kind == kindMemberlist && c.passes(message):
		c.unread = message
		select {
		case t.streams <- c:
			return
		case <-t.tasks.ctx.Done():
		}
	default:
		_ = t.refuse(n.Conn, errMalformed)
	}
	_ = c.Close()
}

// closed returns what a stream calls when it is closed, which is done once.
func (t *transport) closed() func(*stream) {
	var once sync.Once
	return func(c *stream) {
		once.Do(func() {
			t.received.Add(-c.held)
			t.untrack(c.Conn)
			if !c.dialled {
				t.guests.leave(c.peer.sender)
			}
		})
	}
}

// over reports whether err ends a socket for good, and tells Run if that was not
// wanted.
func (t *transport) over(err error, what string) bool {
	if t.tasks.ctx.Err() != nil {
		return true
	}
	if !errors.Is(err, net.ErrClosed) {
		return false
	}
	t.sockets.broken <- fmt.Errorf("gossip: %s: %w", what, err)
	return true
}

// retry paces a loop whose socket fails.
type retry struct {
	ctx  context.Context
	wait time.Duration
}

func (r *retry) reset() { r.wait = 0 }

// pause waits longer each time, and reports whether to go on.
func (r *retry) pause() bool {
	r.wait = min(max(2*r.wait, time.Millisecond), 100*time.Millisecond)
	timer := time.NewTimer(r.wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-r.ctx.Done():
		return false
	}
}

// addrPort returns the address of a socket.
func addrPort(addr net.Addr) netip.AddrPort {
	var a netip.AddrPort
	switch addr := addr.(type) {
	case *net.UDPAddr:
		a = addr.AddrPort()
	case *net.TCPAddr:
		a = addr.AddrPort()
	}
	return netip.AddrPortFrom(a.Addr().Unmap().WithZone(""), a.Port())
}

// FinalAdvertiseAddr implements [memberlist.Transport].
func (t *transport) FinalAdvertiseAddr(string, int) (net.IP, int, error) {
	return t.advertise.Addr().AsSlice(), int(t.advertise.Port()), nil
}

// WriteTo implements [memberlist.Transport]. memberlist always names the member.
func (t *transport) WriteTo([]byte, string) (time.Time, error) {
	return time.Time{}, errors.ErrUnsupported
}

// WriteToAddress implements [memberlist.NodeAwareTransport].
func (t *transport) WriteToAddress(b []byte, addr memberlist.Address) (time.Time, error) {
	to, err := netip.ParseAddrPort(addr.Addr)
	if err == nil {
		err = t.send(kindMemberlist, addr.Name, to, b)
	}
	return time.Now(), err
}

// DialTimeout implements [memberlist.Transport].
func (t *transport) DialTimeout(addr string, timeout time.Duration) (net.Conn, error) {
	return t.DialAddressTimeout(memberlist.Address{Addr: addr}, timeout)
}

// DialAddressTimeout implements [memberlist.NodeAwareTransport].
func (t *transport) DialAddressTimeout(addr memberlist.Address, timeout time.Duration) (net.Conn, error) {
	to, err := netip.ParseAddrPort(addr.Addr)
	if err != nil {
		return nil, err
	}
	c, err := t.open(addr.Name, to, timeout)
	if err != nil {
		return nil, err
	}
	return c, nil
}

// noteOwn notes that an address leads back to this member.
func (t *transport) noteOwn(addr netip.AddrPort) {
	t.sockets.mu.Lock()
	defer t.sockets.mu.Unlock()
	if len(t.sockets.own) < maxMembers {
		t.sockets.own[addr] = true
	}
}

// isOwn reports whether an address is known to be this member's.
func (t *transport) isOwn(addr netip.AddrPort) bool {
	t.sockets.mu.Lock()
	defer t.sockets.mu.Unlock()
	return addr == t.advertise || t.sockets.own[addr]
}

// PacketCh implements [memberlist.Transport].
func (t *transport) PacketCh() <-chan *memberlist.Packet { return t.packets }

// StreamCh implements [memberlist.Transport].
func (t *transport) StreamCh() <-chan net.Conn { return t.streams }

// Shutdown implements [memberlist.Transport]: it closes everything, streams that
// memberlist is using too, and returns when nothing is received any more.
func (t *transport) Shutdown() error {
	s := &t.sockets
	t.tasks.end()
	t.tasks.cancel()
	s.mu.Lock()
	conns := s.conns
	s.conns = nil
	s.mu.Unlock()
	_ = s.packet.Close()
	_ = s.listener.Close()
	for c := range conns {
		_ = c.Close()
	}
	t.tasks.wg.Wait()
	return nil
}

// track keeps a connection in mind, to close it at the end.
func (t *transport) track(conn net.Conn) bool {
	t.sockets.mu.Lock()
	defer t.sockets.mu.Unlock()
	if t.sockets.conns == nil {
		return false
	}
	t.sockets.conns[conn] = struct{}{}
	return true
}

func (t *transport) untrack(conn net.Conn) {
	t.sockets.mu.Lock()
	defer t.sockets.mu.Unlock()
	delete(t.sockets.conns, conn)
}

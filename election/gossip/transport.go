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
	"time"

	"github.com/hashicorp/memberlist"
)

const (
	// dialTimeout bounds the establishment of a stream. A member on the same
	// network answers in a millisecond; a lost SYN is sooner repeated by the
	// next attempt than by TCP.
	dialTimeout = 250 * time.Millisecond
	// streamTimeout bounds everything on a stream.
	streamTimeout = 2 * time.Second

	// packetSize is the largest datagram that is sent.
	packetSize = 1400
	// maxDatagram is the largest datagram that is taken.
	maxDatagram = 8 << 10
	// maxStreams is how many streams others may have open here.
	maxStreams = 128
	// receiveBuffer is what the kernel is asked for, as memberlist does.
	receiveBuffer = 2 << 20
)

// errSelf is what a dial to the member itself ends with.
var errSelf = errors.New("that is this member itself")

// transport carries memberlist's messages over a Network.
type transport struct {
	network   Network
	packet    net.PacketConn
	listener  net.Listener
	advertise netip.AddrPort
	label     string
	encrypted bool
	count     *counters
	log       *slog.Logger

	packets chan *memberlist.Packet
	streams chan net.Conn
	broken  chan error // a socket that was closed under the engine
	ctx     context.Context
	cancel  context.CancelFunc
	wg      sync.WaitGroup

	mu      sync.Mutex
	conns   map[*trackedConn]struct{}
	inbound int
	own     map[netip.AddrPort]bool // addresses that led back here
}

var _ memberlist.NodeAwareTransport = (*transport)(nil)

// newTransport opens the sockets, on the goroutine of its caller.
func newTransport(ctx context.Context, cfg *Config, count *counters, log *slog.Logger) (*transport, error) {
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
		network:  cfg.Network,
		packet:   pc,
		listener: ln,
		count:    count,
		log:      log,
		packets:  make(chan *memberlist.Packet),
		streams:  make(chan net.Conn),
		broken:   make(chan error, 2),
		conns:    make(map[*trackedConn]struct{}),
		own:      make(map[netip.AddrPort]bool),
	}
	t.ctx, t.cancel = context.WithCancel(context.WithoutCancel(ctx))
	return t, nil
}

// start begins to receive.
func (t *transport) start() {
	t.wg.Go(t.receive)
	t.wg.Go(t.accept)
}

// receive hands datagrams to memberlist.
func (t *transport) receive() {
	buf := make([]byte, 64<<10)
	retry := retry{ctx: t.ctx}
	for {
		n, from, err := t.packet.ReadFrom(buf)
		if err != nil {
			if t.over(err, "UDP socket") || !retry.pause() {
				return
			}
			continue
		}
		retry.reset()
		if n == 0 {
			continue // a probe of the port, which the segment sends
		}
		now := time.Now()
		if why, ok := classifyPacket(buf[:n], t.label, t.encrypted); !ok {
			t.count.drop(t.log, why, "from", from)
			continue
		}
		select {
		case t.packets <- &memberlist.Packet{Buf: append([]byte(nil), buf[:n]...), From: from, Timestamp: now}:
		case <-t.ctx.Done():
			return
		}
	}
}

// accept hands streams to memberlist.
func (t *transport) accept() {
	retry := retry{ctx: t.ctx}
	for {
		conn, err := t.listener.Accept()
		if err != nil {
			if t.over(err, "TCP listener") || !retry.pause() {
				return
			}
			continue
		}
		retry.reset()
		from := conn.RemoteAddr()
		c, err := t.track(t.gate(conn, false), true)
		if err != nil {
			t.count.drop(t.log, dropOverloaded, "from", from)
			_ = conn.Close()
			continue
		}
		select {
		case t.streams <- c:
		case <-t.ctx.Done():
			_ = c.Close()
			return
		}
	}
}

// gate returns the stream behind the gate.
func (t *transport) gate(conn net.Conn, reply bool) *gateConn {
	return &gateConn{
		Conn: conn, label: t.label, encrypted: t.encrypted, reply: reply,
		dropped: func(why reason) { t.count.drop(t.log, why, "from", conn.RemoteAddr()) },
	}
}

// over reports whether err ends a socket for good, and tells Run if that was not
// wanted.
func (t *transport) over(err error, what string) bool {
	if t.ctx.Err() != nil {
		return true
	}
	if !errors.Is(err, net.ErrClosed) {
		return false
	}
	t.broken <- fmt.Errorf("gossip: %s: %w", what, err)
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

// FinalAdvertiseAddr implements [memberlist.Transport].
func (t *transport) FinalAdvertiseAddr(string, int) (net.IP, int, error) {
	return t.advertise.Addr().AsSlice(), int(t.advertise.Port()), nil
}

// WriteTo implements [memberlist.Transport].
func (t *transport) WriteTo(b []byte, addr string) (time.Time, error) {
	to, err := netip.ParseAddrPort(addr)
	if err != nil {
		return time.Time{}, err
	}
	_, err = t.packet.WriteTo(b, net.UDPAddrFromAddrPort(to))
	return time.Now(), err
}

// WriteToAddress implements [memberlist.NodeAwareTransport].
func (t *transport) WriteToAddress(b []byte, addr memberlist.Address) (time.Time, error) {
	return t.WriteTo(b, addr.Addr)
}

// DialTimeout implements [memberlist.Transport].
func (t *transport) DialTimeout(addr string, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(t.ctx, min(timeout, dialTimeout))
	defer cancel()
	conn, err := t.network.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	if t.leadsBack(conn) {
		_ = conn.Close()
		return nil, errSelf
	}
	c, err := t.track(t.gate(conn, true), false)
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	// memberlist sets none where it sends an offer.
	_ = conn.SetDeadline(time.Now().Add(streamTimeout))
	return c, nil
}

// DialAddressTimeout implements [memberlist.NodeAwareTransport].
func (t *transport) DialAddressTimeout(addr memberlist.Address, timeout time.Duration) (net.Conn, error) {
	return t.DialTimeout(addr.Addr, timeout)
}

// leadsBack reports whether the stream ends in this member's own listener: a
// peer's name or address may be another one of this machine.
func (t *transport) leadsBack(conn net.Conn) bool {
	local, err1 := netip.ParseAddrPort(conn.LocalAddr().String())
	remote, err2 := netip.ParseAddrPort(conn.RemoteAddr().String())
	listen, err3 := netip.ParseAddrPort(t.listener.Addr().String())
	if err := errors.Join(err1, err2, err3); err != nil || remote.Port() != listen.Port() {
		return false
	}
	addr := listen.Addr().Unmap()
	if addr.IsUnspecified() {
		addr = local.Addr().Unmap()
	}
	if remote.Addr().Unmap() != addr {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.own) < maxMembers {
		t.own[netip.AddrPortFrom(addr, remote.Port())] = true
	}
	return true
}

// isOwn reports whether an address is known to be this member's.
func (t *transport) isOwn(addr netip.AddrPort) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return addr == t.advertise || t.own[addr]
}

// PacketCh implements [memberlist.Transport].
func (t *transport) PacketCh() <-chan *memberlist.Packet { return t.packets }

// StreamCh implements [memberlist.Transport].
func (t *transport) StreamCh() <-chan net.Conn { return t.streams }

// Shutdown implements [memberlist.Transport]: it closes everything, streams that
// memberlist is using too, and returns when nothing is received any more.
func (t *transport) Shutdown() error {
	t.mu.Lock()
	t.cancel()
	conns := t.conns
	t.conns = nil
	t.mu.Unlock()
	_ = t.packet.Close()
	_ = t.listener.Close()
	for c := range conns {
		_ = c.Conn.Close()
	}
	t.wg.Wait()
	return nil
}

// track keeps a stream in mind, to close it at the end.
func (t *transport) track(conn net.Conn, inbound bool) (*trackedConn, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.conns == nil {
		return nil, net.ErrClosed
	}
	if inbound {
		if t.inbound >= maxStreams {
			return nil, fmt.Errorf("%d streams are open", t.inbound)
		}
		t.inbound++
	}
	c := &trackedConn{Conn: conn, transport: t, inbound: inbound}
	t.conns[c] = struct{}{}
	return c, nil
}

// trackedConn is a stream of a transport.
type trackedConn struct {
	net.Conn
	transport *transport
	inbound   bool
	once      sync.Once
}

// Close closes the stream.
func (c *trackedConn) Close() error {
	c.once.Do(func() {
		t := c.transport
		t.mu.Lock()
		defer t.mu.Unlock()
		delete(t.conns, c)
		if c.inbound {
			t.inbound--
		}
	})
	return c.Conn.Close()
}

package gossip

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/memberlist"

	"github.com/l2vip/l2vip/election"
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
	holder    holder
	inbound   inbound
	received  atomic.Int64 // bytes of messages in streams that others have opened
	answered  atomic.Int64 // and in those that this engine has
	engine    *engine

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
func newTransport(ctx context.Context, cfg *Config, advertise netip.Addr, e *engine) (*transport, error) {
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
		network: cfg.Network, advertise: netip.AddrPortFrom(advertise, uint16(cfg.Port)), keys: func() *election.Keys { return e.local.KeysFor(keyPurpose) },
		links: newLinks(e.cluster, e.self, e.instance, e.gossip.clock), inbound: inbound{names: make(map[string]int)},
		engine:  e,
		packets: make(chan *memberlist.Packet), streams: make(chan net.Conn),
		sockets: sockets{
			packet: pc, listener: ln, broken: make(chan error, 2),
			conns: make(map[net.Conn]struct{}), own: make(map[netip.AddrPort]bool),
		},
	}
	t.holder.joined = make(chan struct{})
	t.links.located, t.holder.beats = e.located, e.local.Beats
	t.current.Store(newRing(e.cluster, t.keys()))
	t.tasks.ctx, t.tasks.cancel = context.WithCancel(context.WithoutCancel(ctx))
	return t, nil
}

// start begins to receive.
func (t *transport) start() {
	t.tasks.wg.Go(t.receive)
	t.tasks.wg.Go(t.accept)
}

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

// pause waits after a failure of a socket, and reports whether to go on.
func (t *transport) pause() bool {
	timer := time.NewTimer(10 * time.Millisecond)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-t.tasks.ctx.Done():
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
	switch {
	case err != nil:
	case t.holder.holds(b, addr.Name, t.engine.live(), t.tasks.ctx.Done()):
		err = errHeld
	default:
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

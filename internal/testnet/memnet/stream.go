package memnet

import (
	"context"
	"io"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"
)

// stream is one end of a TCP connection in memory. Everything is guarded by the
// network's lock.
type stream struct {
	host          *Host
	network       string
	local, remote netip.AddrPort
	peer          *stream

	in       []segment // what the peer sent, in its order
	buffered int       // bytes of data in it
	last     time.Time // when the last segment arrives

	closed, writeClosed         bool
	readDeadline, writeDeadline time.Time
	changed                     notice // for who reads or writes here
}

// segment is a piece of a stream, or the end of it.
type segment struct {
	kind segmentKind
	data []byte
	at   time.Time // when it arrives
	held bool      // it does not arrive before the partition heals
}

type segmentKind int

const (
	segmentData segmentKind = iota
	segmentEnd              // the peer writes no more
	segmentReset
)

func (s segment) arrived(now time.Time) bool { return !s.held && !s.at.After(now) }

// dialStream connects to a listener. The network is locked, and released
// while the dial waits.
func (h *Host) dialStream(ctx context.Context, network string, remote netip.AddrPort) (net.Conn, error) {
	if h.off {
		return nil, os.NewSyscallError("connect", syscall.ENETDOWN)
	}
	n, life := h.network, h.life
	port, err := freePort(h, h.listeners, 0)
	if err != nil {
		return nil, err
	}
	local := netip.AddrPortFrom(h.addr, port)
	var l *listener
	for {
		if err := n.travel(ctx, h, life, remote.Addr()); err != nil {
			return nil, err
		}
		l = n.hosts[remote.Addr()].listeners[remote.Port()]
		if l == nil {
			// The refusal travels back.
			if err := n.travel(ctx, h, life, remote.Addr()); err != nil {
				return nil, err
			}
			return nil, os.NewSyscallError("connect", syscall.ECONNREFUSED)
		}
		if len(l.backlog) < maxBacklog {
			break
		}
		n.wait(&notice{}, time.Now().Add(redial), ctx.Done())
	}
	near := &stream{host: h, network: network, local: local, remote: remote}
	far := &stream{host: l.host, network: l.network, local: remote, remote: local, peer: near}
	near.peer = far
	n.streams[near] = struct{}{}
	n.streams[far] = struct{}{}
	l.backlog = append(l.backlog, far)
	l.changed.broadcast()
	if err := n.travel(ctx, h, life, remote.Addr()); err != nil {
		near.drop(true, true)
		return nil, err
	}
	return near, nil
}

func (s *stream) Read(b []byte) (int, error) {
	size, err := s.read(b)
	if err != nil && err != io.EOF {
		err = s.opError("read", err)
	}
	return size, err
}

func (s *stream) read(b []byte) (int, error) {
	n := s.host.network
	n.mu.Lock()
	defer n.mu.Unlock()
	for {
		now := time.Now()
		if s.closed {
			return 0, net.ErrClosed
		}
		if expired(s.readDeadline, now) {
			return 0, os.ErrDeadlineExceeded
		}
		if len(b) == 0 {
			return 0, nil
		}
		until := s.readDeadline
		if len(s.in) > 0 {
			head := s.in[0]
			if head.arrived(now) {
				switch head.kind {
				case segmentEnd:
					return 0, io.EOF
				case segmentReset:
					return 0, os.NewSyscallError("read", syscall.ECONNRESET)
				default:
					return s.take(b, now), nil
				}
			}
			if !head.held {
				until = earliest(until, head.at)
			}
		}
		n.wait(&s.changed, until, nil)
	}
}

// take moves what has arrived into b, and opens the window.
func (s *stream) take(b []byte, now time.Time) int {
	total := 0
	for total < len(b) && len(s.in) > 0 && s.in[0].kind == segmentData && s.in[0].arrived(now) {
		size := copy(b[total:], s.in[0].data)
		total += size
		if size < len(s.in[0].data) {
			s.in[0].data = s.in[0].data[size:]
		} else {
			s.in[0] = segment{}
			s.in = s.in[1:]
		}
	}
	s.buffered -= total
	s.peer.changed.broadcast()
	return total
}

func (s *stream) Write(b []byte) (int, error) {
	size, err := s.write(b)
	if err != nil {
		err = s.opError("write", err)
	}
	return size, err
}

func (s *stream) write(b []byte) (int, error) {
	n := s.host.network
	n.mu.Lock()
	defer n.mu.Unlock()
	total := 0
	for {
		now := time.Now()
		reset, resetAt := s.resetAt(now)
		switch {
		case s.closed:
			return total, net.ErrClosed
		case expired(s.writeDeadline, now):
			return total, os.ErrDeadlineExceeded
		case s.writeClosed:
			return total, os.NewSyscallError("write", syscall.EPIPE)
		case reset:
			return total, os.NewSyscallError("write", syscall.ECONNRESET)
		case total == len(b):
			return total, nil
		}
		if s.peer.closed && n.reachable(s.host.addr, s.peer.host.addr) {
			// It arrives where nobody is, and a reset comes back.
			s.push(segment{kind: segmentReset}, 2*n.latency)
			return len(b), nil
		}
		if space := min(window-s.peer.buffered, len(b)-total); space > 0 {
			s.peer.push(segment{data: append([]byte(nil), b[total:total+space]...)}, n.latency)
			total += space
			continue
		}
		n.wait(&s.changed, earliest(s.writeDeadline, resetAt), nil)
	}
}

// resetAt tells whether a reset has arrived, or when it will (zero: not known).
func (s *stream) resetAt(now time.Time) (bool, time.Time) {
	if len(s.in) == 0 {
		return false, time.Time{}
	}
	tail := s.in[len(s.in)-1]
	if tail.kind != segmentReset || tail.held {
		return false, time.Time{}
	}
	return tail.arrived(now), tail.at
}

// push sends a segment towards s, to arrive after the delay.
func (s *stream) push(seg segment, delay time.Duration) {
	if len(s.in) > 0 && s.in[len(s.in)-1].kind == segmentReset {
		return
	}
	if s.closed && seg.kind != segmentData {
		return
	}
	seg.held = !s.host.network.reachable(s.peer.host.addr, s.host.addr)
	seg.at = time.Now().Add(delay)
	if seg.at.Before(s.last) {
		seg.at = s.last
	}
	s.last = seg.at
	s.buffered += len(seg.data)
	s.in = append(s.in, seg)
	s.changed.broadcast()
}

// settle holds what is on its way when the peers are cut from each other, and
// sends it again when they are joined.
func (s *stream) settle(now time.Time) {
	n := s.host.network
	reachable := n.reachable(s.peer.host.addr, s.host.addr)
	for i := range s.in {
		seg := &s.in[i]
		switch {
		case reachable && seg.held:
			seg.held = false
			seg.at = now.Add(n.latency)
			s.last = seg.at
		case !reachable && !seg.arrived(now):
			seg.held = true
		}
	}
	if reachable && s.closed && s.buffered > 0 {
		// It arrives where nobody is, and a reset comes back.
		s.in, s.buffered = nil, 0
		s.peer.push(segment{kind: segmentReset}, 2*n.latency)
	}
	s.changed.broadcast()
}

// Close ends the stream: the peer reads what was written, and then io.EOF. With
// data unread the peer sees a reset instead, as TCP does it.
func (s *stream) Close() error {
	n := s.host.network
	n.mu.Lock()
	defer n.mu.Unlock()
	if s.closed {
		return s.opError("close", net.ErrClosed)
	}
	s.drop(true, s.buffered > 0)
	return nil
}

// CloseWrite ends what this end sends; it still reads.
func (s *stream) CloseWrite() error {
	n := s.host.network
	n.mu.Lock()
	defer n.mu.Unlock()
	if s.closed {
		return s.opError("close", net.ErrClosed)
	}
	if !s.writeClosed {
		s.writeClosed = true
		s.peer.push(segment{kind: segmentEnd}, n.latency)
		s.changed.broadcast()
	}
	return nil
}

// drop ends this end of the stream; tell is whether the peer hears of it, and
// reset in which way.
func (s *stream) drop(tell, reset bool) {
	if s.closed {
		return
	}
	n := s.host.network
	s.closed = true
	s.in, s.buffered = nil, 0
	s.changed.broadcast()
	if tell && reset {
		s.peer.push(segment{kind: segmentReset}, n.latency)
	} else if tell && !s.writeClosed {
		s.peer.push(segment{kind: segmentEnd}, n.latency)
	}
	if s.peer.closed {
		delete(n.streams, s)
		delete(n.streams, s.peer)
	}
}

func (s *stream) LocalAddr() net.Addr  { return net.TCPAddrFromAddrPort(s.local) }
func (s *stream) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(s.remote) }

func (s *stream) SetDeadline(t time.Time) error {
	return s.setDeadline(&s.readDeadline, &s.writeDeadline, t)
}

func (s *stream) SetReadDeadline(t time.Time) error {
	return s.setDeadline(&s.readDeadline, &s.readDeadline, t)
}

func (s *stream) SetWriteDeadline(t time.Time) error {
	return s.setDeadline(&s.writeDeadline, &s.writeDeadline, t)
}

func (s *stream) setDeadline(a, b *time.Time, t time.Time) error {
	n := s.host.network
	n.mu.Lock()
	defer n.mu.Unlock()
	if s.closed {
		return s.opError("set", net.ErrClosed)
	}
	*a, *b = t, t
	s.changed.broadcast()
	return nil
}

func (s *stream) opError(op string, err error) error {
	return &net.OpError{Op: op, Net: s.network, Source: s.LocalAddr(), Addr: s.RemoteAddr(), Err: err}
}

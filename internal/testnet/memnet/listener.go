package memnet

import (
	"net"
	"net/netip"
	"os"
	"time"
)

// listener is a TCP listener in memory. Everything is guarded by the network's
// lock.
type listener struct {
	host     *Host
	network  string
	local    netip.AddrPort
	backlog  []*stream
	closed   bool
	deadline time.Time
	changed  notice
}

func (l *listener) Accept() (net.Conn, error) {
	n := l.host.network
	n.mu.Lock()
	defer n.mu.Unlock()
	for {
		switch {
		case l.closed:
			return nil, l.opError("accept", net.ErrClosed)
		case expired(l.deadline, time.Now()):
			return nil, l.opError("accept", os.ErrDeadlineExceeded)
		case len(l.backlog) > 0:
			s := l.backlog[0]
			l.backlog[0] = nil
			l.backlog = l.backlog[1:]
			return s, nil
		}
		n.wait(&l.changed, l.deadline, nil)
	}
}

// SetDeadline bounds Accept, as that of [net.TCPListener] does.
func (l *listener) SetDeadline(t time.Time) error {
	n := l.host.network
	n.mu.Lock()
	defer n.mu.Unlock()
	if l.closed {
		return l.opError("set", net.ErrClosed)
	}
	l.deadline = t
	l.changed.broadcast()
	return nil
}

func (l *listener) Close() error {
	n := l.host.network
	n.mu.Lock()
	defer n.mu.Unlock()
	if l.closed {
		return l.opError("close", net.ErrClosed)
	}
	l.drop(true)
	return nil
}

// drop closes the listener and what nobody has accepted; tell is whether the
// peers hear of it.
func (l *listener) drop(tell bool) {
	l.closed = true
	delete(l.host.listeners, l.local.Port())
	for _, s := range l.backlog {
		s.drop(tell, true)
	}
	l.backlog = nil
	l.changed.broadcast()
}

func (l *listener) Addr() net.Addr { return net.TCPAddrFromAddrPort(l.local) }

func (l *listener) opError(op string, err error) error {
	return &net.OpError{Op: op, Net: l.network, Addr: l.Addr(), Err: err}
}

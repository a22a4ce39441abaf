package memnet

import (
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"
)

// packetConn is a UDP socket in memory. Everything is guarded by the network's
// lock.
type packetConn struct {
	host                        *Host
	network                     string
	local                       netip.AddrPort
	remote                      netip.AddrPort // valid if it is connected
	queue                       []datagram     // in the order of arrival
	closed                      bool
	readDeadline, writeDeadline time.Time
	changed                     notice
}

// datagram is one that is on its way to a socket or waits there.
type datagram struct {
	from    netip.AddrPort
	payload []byte
	at      time.Time
}

func (c *packetConn) ReadFrom(b []byte) (int, net.Addr, error) {
	size, from, err := c.read(b)
	if err != nil {
		return 0, nil, c.opError("read", err)
	}
	return size, net.UDPAddrFromAddrPort(from), nil
}

func (c *packetConn) Read(b []byte) (int, error) {
	size, _, err := c.read(b)
	if err != nil {
		return 0, c.opError("read", err)
	}
	return size, nil
}

func (c *packetConn) read(b []byte) (int, netip.AddrPort, error) {
	n := c.host.network
	n.mu.Lock()
	defer n.mu.Unlock()
	for {
		now := time.Now()
		if c.closed {
			return 0, netip.AddrPort{}, net.ErrClosed
		}
		if expired(c.readDeadline, now) {
			return 0, netip.AddrPort{}, os.ErrDeadlineExceeded
		}
		until := c.readDeadline
		if len(c.queue) > 0 {
			head := c.queue[0]
			if !head.at.After(now) {
				c.queue[0] = datagram{}
				c.queue = c.queue[1:]
				return copy(b, head.payload), head.from, nil
			}
			until = earliest(until, head.at)
		}
		n.wait(&c.changed, until, nil)
	}
}

func (c *packetConn) WriteTo(b []byte, addr net.Addr) (int, error) {
	to, err := addrPort(addr)
	if err == nil && c.remote.IsValid() {
		err = net.ErrWriteToConnected
	}
	if err == nil {
		err = c.write(b, to)
	}
	if err != nil {
		return 0, &net.OpError{Op: "write", Net: c.network, Source: c.LocalAddr(), Addr: addr, Err: err}
	}
	return len(b), nil
}

func (c *packetConn) Write(b []byte) (int, error) {
	if !c.remote.IsValid() {
		return 0, c.opError("write", os.NewSyscallError("write", syscall.EDESTADDRREQ))
	}
	if err := c.write(b, c.remote); err != nil {
		return 0, c.opError("write", err)
	}
	return len(b), nil
}

func (c *packetConn) write(b []byte, to netip.AddrPort) error {
	n := c.host.network
	n.mu.Lock()
	defer n.mu.Unlock()
	now := time.Now()
	switch {
	case c.closed:
		return net.ErrClosed
	case expired(c.writeDeadline, now):
		return os.ErrDeadlineExceeded
	case len(b) > maxDatagram:
		return os.NewSyscallError("sendto", syscall.EMSGSIZE)
	}
	from := netip.AddrPortFrom(c.host.addr, c.local.Port())
	if n.lost(from.Addr(), to.Addr()) || !n.reachable(from.Addr(), to.Addr()) {
		return nil
	}
	peer := n.hosts[to.Addr()].packets[to.Port()]
	if peer == nil || (peer.remote.IsValid() && peer.remote != from) || len(peer.queue) >= maxQueue {
		return nil
	}
	peer.push(datagram{from: from, payload: append([]byte(nil), b...), at: now.Add(n.latency)})
	return nil
}

// push keeps the order of arrival, whatever the latency was when it was sent.
func (c *packetConn) push(d datagram) {
	i := len(c.queue)
	for i > 0 && c.queue[i-1].at.After(d.at) {
		i--
	}
	c.queue = append(c.queue, datagram{})
	copy(c.queue[i+1:], c.queue[i:])
	c.queue[i] = d
	c.changed.broadcast()
}

func (c *packetConn) Close() error {
	n := c.host.network
	n.mu.Lock()
	defer n.mu.Unlock()
	if c.closed {
		return c.opError("close", net.ErrClosed)
	}
	c.drop()
	return nil
}

func (c *packetConn) drop() {
	c.closed = true
	c.queue = nil
	delete(c.host.packets, c.local.Port())
	c.changed.broadcast()
}

func (c *packetConn) LocalAddr() net.Addr { return net.UDPAddrFromAddrPort(c.local) }

func (c *packetConn) RemoteAddr() net.Addr {
	if !c.remote.IsValid() {
		return nil
	}
	return net.UDPAddrFromAddrPort(c.remote)
}

func (c *packetConn) SetDeadline(t time.Time) error {
	return c.setDeadline(&c.readDeadline, &c.writeDeadline, t)
}

func (c *packetConn) SetReadDeadline(t time.Time) error {
	return c.setDeadline(&c.readDeadline, &c.readDeadline, t)
}

func (c *packetConn) SetWriteDeadline(t time.Time) error {
	return c.setDeadline(&c.writeDeadline, &c.writeDeadline, t)
}

func (c *packetConn) setDeadline(a, b *time.Time, t time.Time) error {
	n := c.host.network
	n.mu.Lock()
	defer n.mu.Unlock()
	if c.closed {
		return c.opError("set", net.ErrClosed)
	}
	*a, *b = t, t
	c.changed.broadcast()
	return nil
}

func (c *packetConn) opError(op string, err error) error {
	return &net.OpError{Op: op, Net: c.network, Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: err}
}

// addrPort reads any address that is written as "ip:port".
func addrPort(addr net.Addr) (netip.AddrPort, error) {
	if addr == nil {
		return netip.AddrPort{}, os.NewSyscallError("sendto", syscall.EDESTADDRREQ)
	}
	if udp, ok := addr.(*net.UDPAddr); ok {
		ap := udp.AddrPort()
		return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port()), nil
	}
	ap, err := netip.ParseAddrPort(addr.String())
	if err != nil {
		return netip.AddrPort{}, err
	}
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port()), nil
}

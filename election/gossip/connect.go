package gossip

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"
)

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
	c.budget, c.drop, c.closed = &t.answered, t.engine.drop, t.closed()
	_ = conn.SetDeadline(time.Now().Add(streamTimeout)) // memberlist does not always set one
	return c, nil
}

// accept takes streams.
func (t *transport) accept() {
	for {
		conn, err := t.sockets.listener.Accept()
		if err != nil {
			if t.over(err, "TCP listener") || !t.pause() {
				return
			}
			continue
		}
		n := &inboundConn{conn, addrPort(conn.RemoteAddr()).Addr()}
		if gone := t.inbound.arrive(n); gone != nil {
			t.engine.drop(dropOverloaded, gone.source)
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
func (t *transport) serve(n *inboundConn) {
	_ = n.SetDeadline(time.Now().Add(helloTimeout))
	c, err := t.welcome(n.Conn)
	t.inbound.depart(n)
	if err == nil {
		c.countedAs = c.peer.sender
		if !t.current.Load().keyed() {
			c.countedAs = n.source.String() // names cost nothing
		}
	}
	if err == nil && !t.inbound.admit(c.countedAs) {
		t.engine.drop(dropOverloaded, n.source, "member", c.peer.sender)
		err = errOverloaded
	}
	if err != nil {
		t.untrack(n.Conn)
		_ = n.Close()
		return
	}
	c.budget, c.drop, c.closed = &t.received, t.engine.drop, t.closed()
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
			c.budget.Add(-c.held)
			t.untrack(c.Conn)
			if !c.dialled {
				t.inbound.leave(c.countedAs)
			}
		})
	}
}

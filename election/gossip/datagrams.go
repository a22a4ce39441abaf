package gossip

import (
	"errors"
	"net"
	"net/netip"
	"time"

	"github.com/hashicorp/memberlist"
)

const (
	// packetSize is the largest datagram that is sent.
	packetSize = 1400
	// maxDatagram is the largest datagram that is taken.
	maxDatagram = 8 << 10
	// receiveBuffer is what the kernel is asked for, as memberlist does.
	receiveBuffer = 2 << 20
)

// receive takes datagrams.
func (t *transport) receive() {
	buf := make([]byte, 64<<10)
	for {
		n, from, err := t.sockets.packet.ReadFrom(buf)
		if err != nil {
			if t.over(err, "UDP socket") || !t.pause() {
				return
			}
			continue
		}
		if n > 0 { // else it is a probe of the port, which the segment sends
			t.take(buf[:n], from, time.Now())
		}
	}
}

// take takes one datagram.
func (t *transport) take(b []byte, source net.Addr, now time.Time) {
	from := addrPort(source)
	if len(b) > maxDatagram {
		t.engine.drop(dropTooLarge, from.Addr())
		return
	}
	e, sealed, err := parseEnvelope(b, t.links.cluster)
	if err != nil {
		t.engine.drop(reasonOf(err), from.Addr())
		return
	}
	if e.receiver != t.links.self || e.sender == t.links.self {
		t.engine.drop(dropMisdirected, from.Addr(), "to", e.receiver)
		return
	}
	r := t.ring()
	s := r.find(e.ids[0])
	if s == nil {
		t.engine.drop(dropKey, from.Addr(), "member", e.sender)
		return
	}
	data, news, why, reply, where := t.links.take(&e, sealed, b, s, r, from)
	if why != taken {
		t.engine.drop(why, from.Addr(), "member", e.sender)
		if reply != nil {
			_, _ = t.sockets.packet.WriteTo(reply, net.UDPAddrFromAddrPort(where))
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
			t.engine.drop(dropMalformed, from.Addr(), "member", e.sender)
			return
		}
		t.holder.relays(data, now)
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

package gossip

import (
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"
)

const (
	// dialTimeout bounds the establishment of a stream. A member on the same network
	// answers in a millisecond; a lost SYN is sooner repeated by the next attempt than by
	// TCP.
	dialTimeout = 250 * time.Millisecond
	// helloTimeout bounds the hellos on a stream.
	helloTimeout = 250 * time.Millisecond
	// streamTimeout bounds everything else on it.
	streamTimeout = 2 * time.Second

	// maxFrame is the longest part of a message in one frame, in bytes.
	maxFrame = 64<<10 - sealSize
	// maxMessage is the longest message, in bytes.
	maxMessage = 9 << 20
	// maxReceived bounds the messages that are being received together.
	maxReceived = 32 << 20
)

var (
	// errSelf is what a dial to the member itself ends with.
	errSelf = errors.New("that is this member itself")
	// errRefused is what a stream that is not let through ends with.
	errRefused = errors.New("refused")
)

// stream is a connection to another engine after the hellos. Each Write is a message,
// and what is read are messages, each checked before any of it is handed out.
type stream struct {
	net.Conn
	peer      greeting
	standing  standing // fine or contested
	dialled   bool
	countedAs string // under which it counts, if it is not dialled
	out, in   cipher.AEAD
	sent      uint64 // frames
	taken     uint64
	unread    []byte
	budget    *atomic.Int64 // of all streams
	held      int64         // of it
	closed    func(*stream)
	drop      func(reason, netip.Addr, ...any)
}

// schedule is what both sides of a stream derive from their hellos.
type schedule struct {
	replyMAC, finishMAC    []byte
	dialOut, listenOut     []byte // keys of frames, by their sender
	dialToken, listenToken token  // for datagrams, by the side that shows them
}

// newSchedule derives it. said is all of both hellos but the authentication.
func newSchedule(s *secret, cluster string, said ...[]byte) schedule {
	sum := sha256.New()
	for _, b := range said {
		sum.Write(b)
	}
	const size = 32
	k := s.derive(cluster, "stream\x00"+string(sum.Sum(nil)), 4*size+2*tokenSize)
	return schedule{
		k[:size], k[size : 2*size], k[2*size : 3*size], k[3*size : 4*size],
		token(k[4*size : 4*size+tokenSize]), token(k[4*size+tokenSize:]),
	}
}

func authentication(key []byte, b []byte) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write(b)
	return mac.Sum(nil)
}

// hello returns the beginning of this engine's side of a stream.
func (t *transport) hello(kind byte, r *ring, first *secret) greeting {
	g := greeting{head: head{kind: kind, ids: r.ids(first), cluster: t.links.cluster, sender: t.links.self, instance: t.links.own()}}
	_, _ = rand.Read(g.nonce[:]) // never fails
	return g
}

// readGreeting reads a greeting with its length. No more than the longest one is read.
func readGreeting(conn io.Reader, kind byte, cluster string) (raw []byte, g greeting, mac []byte, err error) {
	raw = make([]byte, 2, 2+maxHello)
	if _, err = io.ReadFull(conn, raw); err != nil {
		return nil, g, nil, err
	}
	size := int(binary.BigEndian.Uint16(raw))
	if size > maxHello { // the first bytes tell what it is instead
		size = 2 * len(magic)
		raw = append(raw, make([]byte, size)...)
		n, _ := io.ReadFull(conn, raw[2:])
		if _, _, err = parseHead(raw[:2+n], cluster); errors.Is(err, errVersion) {
			return nil, g, nil, err
		}
		return nil, g, nil, errForeign
	}
	raw = raw[:2+size]
	if _, err = io.ReadFull(conn, raw[2:]); err != nil {
		return nil, g, nil, err
	}
	g, mac, err = parseGreeting(raw[2:], kind, cluster)
	return raw, g, mac, err
}

// dial says hello on a stream that this engine has opened to addr. If name is not empty
// it must be that member's.
func (t *transport) dial(conn net.Conn, name string, addr netip.AddrPort) (*stream, error) {
	r := t.ring()
	g := t.hello(kindHello, r, &r.secrets[0])
	said := g.append(nil)
	if _, err := conn.Write(said); err != nil {
		return nil, err
	}
	raw, reply, mac, err := readGreeting(conn, kindReply, t.links.cluster)
	if err != nil {
		return nil, t.refuse(conn, err)
	}
	s := r.find(reply.ids[0])
	if s == nil {
		return nil, t.refuse(conn, errKey)
	}
	keys := newSchedule(s, t.links.cluster, said, raw[:len(raw)-macSize])
	if !hmac.Equal(mac, authentication(keys.replyMAC, []byte("reply"))) {
		return nil, t.refuse(conn, errForged)
	}
	if name != "" && reply.sender != name {
		return nil, fmt.Errorf("%v is %q, not %q", addr, reply.sender, name)
	}
	known, standing := t.links.classify(&reply.head, addr.Addr(), r.keyed(), reply.token)
	shown := t.links.givenBy(&reply.head)
	finish := append(binary.BigEndian.AppendUint64(nil, known), shown[:]...)
	finish = append(finish, authentication(keys.finishMAC, finish)...)
	if standing != itself {
		if _, err := conn.Write(finish); err != nil {
			return nil, err
		}
	}
	if reply.known > g.instance {
		return nil, t.outlived(reply.known)
	}
	if err := t.admits(&reply, standing, addr); err != nil {
		return nil, err
	}
	c := &stream{Conn: conn, peer: reply, standing: standing, dialled: true, out: newAEAD(keys.dialOut), in: newAEAD(keys.listenOut)}
	if standing == fine {
		t.noteProven(&reply, addr.Addr(), keys.listenToken, keys.dialToken)
	}
	return c, nil
}

// welcome says hello on a stream that another engine has opened.
func (t *transport) welcome(conn net.Conn) (*stream, error) {
	from := addrPort(conn.RemoteAddr())
	r := t.ring()
	raw, g, _, err := readGreeting(conn, kindHello, t.links.cluster)
	if err != nil {
		return nil, t.refuse(conn, err)
	}
	s := r.choose(g.ids)
	if s == nil {
		return nil, t.refuse(conn, errKey)
	}
	known, standing := t.links.classify(&g.head, from.Addr(), r.keyed(), token{})
	reply := t.hello(kindReply, r, s)
	reply.known, reply.token = known, t.links.givenBy(&g.head)
	said := reply.append(nil)
	keys := newSchedule(s, t.links.cluster, raw, said)
	if _, err := conn.Write(append(said, authentication(keys.replyMAC, []byte("reply"))...)); err != nil {
		return nil, err
	}
	finish := make([]byte, finishSize)
	if _, err := io.ReadFull(conn, finish); err != nil {
		if standing == itself {
			return nil, errSelf
		}
		return nil, t.refuse(conn, err)
	}
	if !hmac.Equal(finish[finishSize-macSize:], authentication(keys.finishMAC, finish[:finishSize-macSize])) {
		return nil, t.refuse(conn, errForged)
	}
	_, standing = t.links.classify(&g.head, from.Addr(), r.keyed(), token(finish[8:8+tokenSize]))
	if known := binary.BigEndian.Uint64(finish); known > reply.instance {
		return nil, t.outlived(known)
	}
	if err := t.admits(&g, standing, from); err != nil {
		return nil, err
	}
	c := &stream{Conn: conn, peer: g, standing: standing, out: newAEAD(keys.listenOut), in: newAEAD(keys.dialOut)}
	if standing == fine {
		t.noteProven(&g, from.Addr(), keys.dialToken, keys.listenToken)
	}
	return c, nil
}

// noteProven notes which engine is at the other end of a stream.
func (t *transport) noteProven(g *greeting, source netip.Addr, itShows, weShow token) {
	if t.links.noteProven(g, source, itShows, weShow) {
		t.engine.started(g.sender, g.instance)
	}
}

// admits returns why an engine that has proven itself on a stream is not let through.
func (t *transport) admits(g *greeting, s standing, addr netip.AddrPort) error {
	switch s {
	case itself:
		t.noteOwn(addr)
		return errSelf
	case namesake:
		t.engine.conflict(g.sender, addr.Addr())
		return fmt.Errorf("%v has this member's name: %w", addr, errRefused)
	case outdated:
		t.engine.drop(dropStale, netip.Addr{})
		return fmt.Errorf("an earlier start of %q: %w", g.sender, errRefused)
	case future:
		t.engine.drop(dropFuture, addr.Addr(), "member", g.sender)
		return fmt.Errorf("an instance of %q in the future: %w", g.sender, errRefused)
	case contested:
		t.engine.conflict(g.sender, addr.Addr())
	}
	return nil
}

// outlived makes this engine a later instance than one of its name that others remember:
// the clock has gone back.
func (t *transport) outlived(known uint64) error {
	if !t.engine.raise(known) {
		return fmt.Errorf("a later start of this member is known: %w", errRefused)
	}
	return errAgain
}

var (
	errAgain  = errors.New("this member is a later instance now")
	errKey    = errors.New("no key in common")
	errForged = errors.New("not authentic")
)

// refuse counts why a stream ends, and returns that.
func (t *transport) refuse(conn net.Conn, err error) error {
	from := addrPort(conn.RemoteAddr()).Addr()
	var timeout net.Error
	switch {
	case errors.As(err, &timeout) && timeout.Timeout():
		t.engine.drop(dropSlow, from)
	case reasonOf(err) != taken:
		t.engine.drop(reasonOf(err), from)
	}
	return err
}

// Write sends one message for memberlist.
func (c *stream) Write(b []byte) (int, error) {
	if err := c.send(kindMemberlist, b); err != nil {
		return 0, err
	}
	return len(b), nil
}

// send sends one message.
func (c *stream) send(kind byte, b []byte) error {
	buf := make([]byte, 0, min(len(b), maxFrame)+4+sealSize)
	for first := true; first || len(b) > 0; first = false {
		part := b[:min(len(b), maxFrame)]
		b = b[len(part):]
		if len(b) == 0 {
			kind |= lastFrame
		}
		buf = append(buf[:0], kind, byte(len(part)>>16), byte(len(part)>>8), byte(len(part)))
		buf = c.out.Seal(buf, nonce(c.sent), part, buf)
		c.sent++
		if _, err := c.Conn.Write(buf); err != nil {
			return err
		}
	}
	return nil
}

// receive receives one message. Each part of it is authentic before it is kept.
func (c *stream) receive() (kind byte, message []byte, err error) {
	var frame []byte
	for {
		var head [4]byte
		if _, err := io.ReadFull(c.Conn, head[:]); err != nil {
			return 0, nil, err
		}
		size := int(head[1])<<16 | int(head[2])<<8 | int(head[3])
		kind = head[0] &^ lastFrame
		if size > maxFrame || len(message)+size > maxMessage {
			return 0, nil, errTooLarge
		}
		if c.held += int64(size); c.budget.Add(int64(size)) > maxReceived {
			return 0, nil, errOverloaded
		}
		frame = slices.Grow(frame[:0], size+sealSize)[:size+sealSize]
		if _, err := io.ReadFull(c.Conn, frame); err != nil {
			return 0, nil, err
		}
		if message, err = c.in.Open(message, nonce(c.taken), frame, head[:]); err != nil {
			return 0, nil, errForged
		}
		c.taken++
		if head[0]&lastFrame != 0 {
			return kind, message, nil
		}
		if size == 0 {
			return 0, nil, errMalformed
		}
	}
}

var (
	errTooLarge   = errors.New("too large")
	errOverloaded = errors.New("too much at once")
)

// Read reads from the message that was received, or receives the next one.
func (c *stream) Read(b []byte) (int, error) {
	if len(c.unread) == 0 {
		kind, message, err := c.receive()
		if err == nil && (kind != kindMemberlist || !c.passes(message)) {
			err = errMalformed
		}
		if err != nil {
			if why := reasonOf(err); why != taken {
				c.drop(why, addrPort(c.RemoteAddr()).Addr(), "member", c.peer.sender)
			}
			return 0, err
		}
		c.unread = message
	}
	n := copy(b, c.unread)
	c.unread = c.unread[n:]
	return n, nil
}

// passes reports whether a message may reach memberlist. What it carries as the
// sender's state must be the sender's.
func (c *stream) passes(b []byte) bool {
	state, ok := validStream(b, c.dialled)
	if !ok || len(state) == 0 {
		return ok
	}
	sender, instance, err := stateOf(state)
	if c.standing != fine {
		clear(state) // what it says of itself does not count
		return true
	}
	return err == nil && sender == c.peer.sender && instance == c.peer.instance
}

// Close closes the stream.
func (c *stream) Close() error {
	c.closed(c)
	return c.Conn.Close()
}

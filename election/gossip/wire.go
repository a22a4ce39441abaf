package gossip

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/l2vip/l2vip/election"
)

// What engines send begins with a head in the clear: the magic, the major version, the
// kind, the names of the keys that the sender accepts (the first is the one in use), the
// cluster, the sender and its instance.
//
//	head     := "l2vG" major kind ids cluster sender instance(8)
//	ids      := count(1) id(4)...
//	cluster, sender, receiver := length(1) text
//
// A datagram goes on with its receiver, a counter, and the token that the receiver gave
// the sender; the rest is sealed, with all that is before it as authenticated data.
//
//	datagram := head receiver counter(8) token(8) sealed
//
// A challenge carries in its sealed part the token, and what it answers:
//
//	challenge := token(8) instance(8) counter(8)
//
// A stream begins with a hello of each side, and a finish of the one that has dialled:
//
//	hello    := length(2) head nonce(32)
//	reply    := length(2) head nonce(32) known(8) token(8) mac(32)
//	finish   := known(8) token(8) mac(32)
//
// where known is the latest instance of the other's name that has proven itself here,
// zero for none, and token what the other gave for datagrams. Frames follow, each with its own counter as the nonce:
//
//	frame    := kind(1) length(3) sealed
const (
	magic    = "l2vG"
	major    = 2
	protocol = "github.com/l2vip/l2vip gossip 2 "

	// The kinds of datagrams.
	kindMemberlist = 1 // for memberlist
	kindEngine     = 2 // a message of the engines
	kindChallenge  = 3 // asks the receiver to prove itself with a token
	kindNothing    = 4 // tells which keys the sender accepts
	// The kinds of hellos. The frames of a stream have the first two of the above.
	kindHello = 16
	kindReply = 17
	// lastFrame marks the last frame of a message.
	lastFrame = 0x80

	tokenSize     = 8
	nonceSize     = 32
	macSize       = 32
	challengeSize = tokenSize + 8 + 8
	finishSize    = 8 + tokenSize + macSize

	// maxHead is the longest head: with all ids and the longest names.
	maxHead = len(magic) + 2 + 1 + 4*election.MaxKeys + 1 + maxCluster + 1 + maxName + 8
	// maxHello is the longest hello or reply, without its length.
	maxHello = maxHead + nonceSize + finishSize
)

type token [tokenSize]byte

// head is the beginning of what an engine sends.
type head struct {
	kind     byte
	ids      []keyID
	cluster  string
	sender   string
	instance uint64
}

// envelope is a datagram.
type envelope struct {
	head
	receiver string
	counter  uint64
	token    token
}

var (
	errForeign   = errors.New("not a message of l2vip")
	errVersion   = errors.New("a major version that is not known")
	errCluster   = errors.New("a message of another cluster")
	errMalformed = errors.New("malformed")
)

func (h *head) append(b []byte) []byte {
	b = append(append(b, magic...), major, h.kind, byte(len(h.ids)))
	for _, id := range h.ids {
		b = append(b, id[:]...)
	}
	b = appendText(appendText(b, h.cluster), h.sender)
	return binary.BigEndian.AppendUint64(b, h.instance)
}

func (e *envelope) append(b []byte) []byte {
	b = appendText(e.head.append(b), e.receiver)
	b = binary.BigEndian.AppendUint64(b, e.counter)
	return append(b, e.token[:]...)
}

func appendText(b []byte, s string) []byte { return append(append(b, byte(len(s))), s...) }

// parseHead reads a head of the cluster, and returns what follows. The error is one of
// those above, wrapped.
func parseHead(b []byte, cluster string) (head, []byte, error) {
	if len(b) > 2 && b[0] == mlLabel && strings.HasPrefix(string(b[2:]), "l2vip/") {
		return head{}, nil, fmt.Errorf("%w: an earlier one", errVersion)
	}
	if len(b) <= len(magic) || string(b[:len(magic)]) != magic {
		return head{}, nil, errForeign
	}
	if v := b[len(magic)]; v != major {
		return head{}, nil, fmt.Errorf("%w: %d", errVersion, v)
	}
	r := reader{rest: b[len(magic)+1:]}
	h := head{kind: r.byte()}
	count := int(r.byte())
	if count == 0 || count > election.MaxKeys {
		return head{}, nil, errMalformed
	}
	for range count {
		h.ids = append(h.ids, keyID(r.take(len(keyID{}))))
	}
	h.cluster, h.sender, h.instance = r.text(), r.text(), r.number()
	switch {
	case r.short:
		return head{}, nil, errMalformed
	case h.cluster != cluster:
		return head{}, nil, errCluster
	case badName(h.sender) != nil || h.instance == 0:
		return head{}, nil, errMalformed
	}
	return h, r.rest, nil
}

// parseEnvelope reads a datagram up to what is sealed, which it returns.
func parseEnvelope(b []byte, cluster string) (e envelope, sealed []byte, err error) {
	h, rest, err := parseHead(b, cluster)
	if err != nil {
		return envelope{}, nil, err
	}
	r := reader{rest: rest}
	e = envelope{head: h, receiver: r.text(), counter: r.number(), token: token(r.take(tokenSize))}
	if r.short || len(r.rest) < sealSize || h.kind < kindMemberlist || h.kind > kindNothing {
		return envelope{}, nil, errMalformed
	}
	return e, r.rest, nil
}

// challenge is the sealed part of one.
type challenge struct {
	token             token
	instance, counter uint64 // of the datagram that it answers
}

func (c *challenge) append(b []byte) []byte {
	b = binary.BigEndian.AppendUint64(append(b, c.token[:]...), c.instance)
	return binary.BigEndian.AppendUint64(b, c.counter)
}

func parseChallenge(b []byte) (challenge, bool) {
	r := reader{rest: b}
	c := challenge{token: token(r.take(tokenSize)), instance: r.number(), counter: r.number()}
	return c, !r.short && len(r.rest) == 0
}

// greeting is a hello, or the reply to one.
type greeting struct {
	head
	nonce [nonceSize]byte
	known uint64 // reply
	token token  // reply
}

// append appends the greeting with its length, and without its authentication.
func (g *greeting) append(b []byte) []byte {
	start := len(b)
	b = append(g.head.append(append(b, 0, 0)), g.nonce[:]...)
	size := len(b) - start - 2
	if g.kind == kindReply {
		b = append(binary.BigEndian.AppendUint64(b, g.known), g.token[:]...)
		size += finishSize
	}
	binary.BigEndian.PutUint16(b[start:], uint16(size))
	return b
}

// parseGreeting reads a greeting of a kind without its length. A reply is returned with
// its authentication, which is not checked here.
func parseGreeting(b []byte, kind byte, cluster string) (g greeting, mac []byte, err error) {
	h, rest, err := parseHead(b, cluster)
	if err != nil {
		return greeting{}, nil, err
	}
	r := reader{rest: rest}
	g = greeting{head: h, nonce: [nonceSize]byte(r.take(nonceSize))}
	if kind == kindReply {
		g.known, g.token, mac = r.number(), token(r.take(tokenSize)), r.take(macSize)
	}
	if r.short || len(r.rest) > 0 || h.kind != kind {
		return greeting{}, nil, errMalformed
	}
	return g, mac, nil
}

// reader takes a message apart. What it returns once it was too short is zero.
type reader struct {
	rest  []byte
	short bool
}

func (r *reader) take(n int) []byte {
	if len(r.rest) < n {
		r.short, r.rest = true, nil
		return make([]byte, n)
	}
	b := r.rest[:n:n]
	r.rest = r.rest[n:]
	return b
}

func (r *reader) byte() byte     { return r.take(1)[0] }
func (r *reader) number() uint64 { return binary.BigEndian.Uint64(r.take(8)) }
func (r *reader) text() string   { return string(r.take(int(r.byte()))) }

// badName says why a name is none for a member.
func badName(name string) error {
	switch {
	case name == "":
		return errors.New("empty name")
	case len(name) > maxName:
		return fmt.Errorf("name of %d bytes, more than %d", len(name), maxName)
	case !utf8.ValidString(name):
		return fmt.Errorf("name %q is not UTF-8", name)
	}
	return nil
}

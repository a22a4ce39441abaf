package heartbeat

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"hash"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/l2vip/l2vip/internal/fields"
)

// A frame has the EtherType 0x88b5, which IEEE 802 keeps for local use. Its
// payload is the magic, a byte with the major version, the length of the body in
// two bytes because short frames are padded, the body, and with a key the first 16
// bytes of HMAC-SHA256 over all of that. The body is fields in the terms of
// Protocol Buffers. Fields that are not known are skipped; what cannot be
// understood without them takes a new major version.
//
//	message Frame {
//	  string cluster = 1;
//	  string sender = 2;
//	  fixed64 instance = 3;   // of the sender: each start has another one
//	  uint64 sequence = 4;    // counts the frames of an instance
//	  uint32 kind = 5;
//	  uint32 interval = 6;    // beat: microseconds to the next one
//	  bool holds = 7;         // beat: the sender holds addresses
//	  bytes address = 8;      // beat: an address that the sender's kernel answers for
//	  string membership = 9;  // beat: where the sender's membership engine listens
//	  string subject = 10;    // ask, answer: the member that is asked for
//	  bool missing = 11;      // answer: the sender misses its beats, too
//	  fixed64 nonce = 12;     // challenge, proof
//	  uint32 lease = 13;      // beat: microseconds for which the sender may act on it
//	}
const (
	magic   = "l2vH"
	major   = 1
	headLen = len(magic) + 3
	macLen  = 16

	// etherType is local experimental EtherType 1 (IEEE 802, clause 9.2.4).
	etherType = 0x88b5

	// maxFrame bounds the payload: it fits into any Ethernet frame.
	maxFrame = 1500
	// maxMembership bounds the address of a membership engine as text.
	maxMembership = 64

	fieldCluster    = 1
	fieldSender     = 2
	fieldInstance   = 3
	fieldSequence   = 4
	fieldKind       = 5
	fieldInterval   = 6
	fieldHolds      = 7
	fieldAddress    = 8
	fieldMembership = 9
	fieldSubject    = 10
	fieldMissing    = 11
	fieldNonce      = 12
	fieldLease      = 13
)

// group is where beats go: a locally administered group address that spells the
// project's name.
var group = hardwareAddr{0x03, 'l', '2', 'v', 'i', 'p'}

// hardwareAddr is an Ethernet address as a value.
type hardwareAddr [6]byte

// kind says what a frame is for.
type kind uint8

const (
	kindBeat      kind = 1 // the sender is alive
	kindChallenge kind = 2 // asks the receiver to prove that it is alive now
	kindProof     kind = 3 // does so, with the challenge's nonce
	kindAsk       kind = 4 // asks who hears the subject
	kindAnswer    kind = 5 // tells
	kindLeave     kind = 6 // the sender stops beating
)

// frame is the body of a frame.
type frame struct {
	sender     string
	instance   uint64
	sequence   uint64
	kind       kind
	interval   time.Duration
	holds      bool
	address    []byte
	membership string
	subject    string
	missing    bool
	nonce      uint64
	lease      time.Duration
}

// The reasons why a frame is dropped.
var (
	errForeign = errors.New("another protocol, version or cluster")
	errShort   = errors.New("cut short or malformed")
	errForged  = errors.New("not authenticated with the cluster's key")
)

// codec reads and writes frames. It is not for concurrent use.
type codec struct {
	cluster string
	mac     hash.Hash // nil without a key
	sum     []byte
}

func newCodec(c *Config) (*codec, error) {
	k := &codec{cluster: c.Cluster}
	if c.Key != nil {
		key, err := hkdf.Key(sha256.New, c.Key, []byte(c.Cluster), "github.com/l2vip/l2vip heartbeat 1", sha256.Size)
		if err != nil {
			return nil, err
		}
		k.mac = hmac.New(sha256.New, key)
	}
	return k, nil
}

// append appends the payload of f to b.
func (k *codec) append(b []byte, f *frame) []byte {
	start := len(b)
	b = append(b, magic...)
	b = append(b, major, 0, 0)
	text := func(field protowire.Number, s string) {
		if s != "" {
			b = protowire.AppendString(protowire.AppendTag(b, field, protowire.BytesType), s)
		}
	}
	number := func(field protowire.Number, n uint64) {
		if n != 0 {
			b = protowire.AppendVarint(protowire.AppendTag(b, field, protowire.VarintType), n)
		}
	}
	fixed := func(field protowire.Number, n uint64) {
		if n != 0 {
			b = protowire.AppendFixed64(protowire.AppendTag(b, field, protowire.Fixed64Type), n)
		}
	}
	text(fieldCluster, k.cluster)
	text(fieldSender, f.sender)
	fixed(fieldInstance, f.instance)
	number(fieldSequence, f.sequence)
	number(fieldKind, uint64(f.kind))
	number(fieldInterval, uint64(f.interval/time.Microsecond))
	number(fieldHolds, protowire.EncodeBool(f.holds))
	text(fieldAddress, string(f.address))
	text(fieldMembership, f.membership)
	text(fieldSubject, f.subject)
	number(fieldMissing, protowire.EncodeBool(f.missing))
	fixed(fieldNonce, f.nonce)
	number(fieldLease, uint64(f.lease/time.Microsecond))
	binary.BigEndian.PutUint16(b[start+headLen-2:], uint16(len(b)-start-headLen))
	if k.mac != nil {
		b = append(b, k.sign(b[start:])...)
	}
	return b
}

// sign returns the authentication of b, until the next call.
func (k *codec) sign(b []byte) []byte {
	k.mac.Reset()
	k.mac.Write(b)
	k.sum = k.mac.Sum(k.sum[:0])
	return k.sum[:macLen]
}

// parse reads a payload. It is authentic if there is a key; whether it is new is
// for others to see. Its strings and bytes are copies.
func (k *codec) parse(b []byte, f *frame) error {
	if len(b) < headLen {
		return errShort
	}
	if string(b[:len(magic)]) != magic || b[len(magic)] != major {
		return errForeign
	}
	length := headLen + int(binary.BigEndian.Uint16(b[headLen-2:]))
	if len(b) < length {
		return errShort
	}
	body := b[headLen:length]
	if k.mac != nil && (len(b) < length+macLen || !hmac.Equal(b[length:length+macLen], k.sign(b[:length]))) {
		return errForged
	}
	*f = frame{}
	cluster := ""
	err := fields.Each(body, func(x fields.Field) error {
		switch x.Type {
		case protowire.VarintType:
			f.setNumber(x.Num, x.Number)
		case protowire.Fixed64Type:
			f.setFixed(x.Num, x.Number)
		case protowire.BytesType:
			if x.Num == fieldCluster {
				cluster = string(x.Data)
			} else {
				f.setBytes(x.Num, x.Data)
			}
		}
		return nil
	})
	if err != nil {
		return errShort
	}
	if cluster != k.cluster {
		return errForeign
	}
	if !f.valid() {
		return errShort
	}
	return nil
}

func (f *frame) setNumber(field protowire.Number, n uint64) {
	switch field {
	case fieldSequence:
		f.sequence = n
	case fieldKind:
		f.kind = kind(min(n, 255))
	case fieldInterval:
		f.interval = microseconds(n, MaxInterval)
	case fieldHolds:
		f.holds = n != 0
	case fieldMissing:
		f.missing = n != 0
	case fieldLease:
		f.lease = microseconds(n, MaxLease)
	}
}

// microseconds returns n of them, and no more than most.
func microseconds(n uint64, most time.Duration) time.Duration {
	return time.Duration(min(n, uint64(most/time.Microsecond))) * time.Microsecond
}

func (f *frame) setFixed(field protowire.Number, n uint64) {
	switch field {
	case fieldInstance:
		f.instance = n
	case fieldNonce:
		f.nonce = n
	}
}

func (f *frame) setBytes(field protowire.Number, b []byte) {
	switch field {
	case fieldSender:
		f.sender = string(b)
	case fieldAddress:
		f.address = append([]byte(nil), b...)
	case fieldMembership:
		f.membership = string(b)
	case fieldSubject:
		f.subject = string(b)
	}
}

// valid reports whether the frame makes sense.
func (f *frame) valid() bool {
	return f.sender != "" && len(f.sender) <= maxName && utf8.ValidString(f.sender) &&
		len(f.subject) <= maxName && len(f.membership) <= maxMembership &&
		(len(f.address) == 0 || len(f.address) == 4 || len(f.address) == 16) &&
		f.instance != 0 && f.sequence != 0 && (f.kind != kindBeat || f.interval >= MinInterval)
}

package segment

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"net/netip"
	"slices"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/l2vip/l2vip/election"
	"github.com/l2vip/l2vip/internal/fields"
)

// A frame has the EtherType 0x88b5, which IEEE 802 keeps for local use. Its
// payload is the magic, a byte with the major version, a byte that is 1 if the frame
// is a beat that tells nothing new, the length of the body in two bytes because short frames are padded, the body, and with keys for each of them
// the first 16 bytes of HMAC-SHA256 over both Ethernet addresses and all of that; one
// that the receiver has, too, is enough. The body
// is fields in the terms of Protocol Buffers. Fields and kinds that are not known
// are skipped; what cannot be understood without them takes a new major version.
//
//	message Frame {
//	  string cluster = 1;
//	  string sender = 2;
//	  fixed64 instance = 3;    // of the sender: each start has another one
//	  uint64 sequence = 4;     // counts the frames of an instance
//	  uint32 kind = 5;
//	  uint32 link = 6;         // the sender's number for the link
//	  uint32 interval = 7;     // beat: microseconds to the next one
//	  uint32 flags = 8;        // beat: 1 holds addresses, 2 is fenced, 4 is isolated on the link
//	  bytes address = 9;       // beat: an address that the sender's kernel answers for
//	  string membership = 10;  // beat: where the sender's membership engine listens
//	  uint32 lease = 11;       // beat: microseconds for which the sender may act on it
//	  uint64 revision = 12;    // beat, request, part: of the offer
//	  fixed64 digest = 13;     // beat: of the addresses that the sender holds
//	  bytes hears = 14;        // beat: the tags of the members that are heard, 4 bytes each
//	  string subject = 15;     // challenge, proof, ask, answer: the member that it is about
//	  fixed64 about = 16;      // challenge, ask, answer: its instance
//	  bool missing = 17;       // answer: the sender misses its beats, too
//	  fixed64 nonce = 18;      // challenge, proof
//	  uint32 total = 19;       // part: length of the offer in bytes
//	  uint32 offset = 20;      // request, part: where it begins, or the data
//	  bytes data = 21;         // part
//	  uint32 port = 22;        // beat: a UDP port at address that is open while the process runs
//	}
const (
	magic      = "l2vS"
	major      = 1
	headLen    = len(magic) + 4
	offRoutine = len(magic) + 1 // within the payload
	macLen     = 16
	etherType  = 0x88b5

	// maxFrame bounds a payload: it fits into any Ethernet frame.
	maxFrame = 1500
	// The bounds of what a frame has room for.
	maxName, maxCluster = 128, 128
	// maxMembership bounds the address of a membership engine as text.
	maxMembership = 64
	tagLen        = 4

	fieldCluster    = 1
	fieldSender     = 2
	fieldInstance   = 3
	fieldSequence   = 4
	fieldKind       = 5
	fieldLink       = 6
	fieldInterval   = 7
	fieldFlags      = 8
	fieldAddress    = 9
	fieldMembership = 10
	fieldLease      = 11
	fieldRevision   = 12
	fieldDigest     = 13
	fieldHears      = 14
	fieldSubject    = 15
	fieldAbout      = 16
	fieldMissing    = 17
	fieldNonce      = 18
	fieldTotal      = 19
	fieldOffset     = 20
	fieldData       = 21
	fieldPort       = 22

	flagHolds    = 1
	flagFenced   = 2
	flagIsolated = 4
)

// group is where frames for all members go: a locally administered group address
// that spells the project's name.
var group = hardwareAddr{0x03, 'l', '2', 'v', 'i', 'p'}

// hardwareAddr is an Ethernet address as a value.
type hardwareAddr [6]byte

// route is between which stations a frame goes.
type route struct{ from, to hardwareAddr }

// kind says what a frame is for.
type kind uint8

const (
	kindBeat      kind = 1 // the sender is alive
	kindChallenge kind = 2 // asks the subject to prove that it is alive now
	kindProof     kind = 3 // does so for the subject, with the challenge's nonce
	kindAsk       kind = 4 // asks who hears the subject
	kindAnswer    kind = 5 // tells
	kindLeave     kind = 6 // the sender stops beating
	kindRequest   kind = 7 // asks for the receiver's offer
	kindPart      kind = 8 // a part of the sender's offer
)

// frame is the body of a frame. What is not a number in one that was parsed is a
// part of the payload.
type frame struct {
	sender     []byte
	instance   uint64
	sequence   uint64
	kind       kind
	routine    bool // a beat that tells nothing new
	link       uint32
	interval   time.Duration
	holds      bool
	fenced     bool
	isolated   bool
	address    []byte
	membership []byte
	port       uint16
	lease      time.Duration
	revision   uint64
	digest     uint64
	hears      []byte
	subject    []byte
	about      uint64
	missing    bool
	nonce      uint64
	total      int
	offset     int
	data       []byte
}

// addr returns the address, or an invalid one if there is none.
func (f *frame) addr() netip.Addr {
	addr, _ := netip.AddrFromSlice(f.address)
	return addr.Unmap()
}

// The reasons why a frame is dropped.
var (
	errForeign   = errors.New("another protocol, version or cluster")
	errVersion   = fmt.Errorf("%w: a later or an earlier version", errForeign)
	errMalformed = errors.New("cut short or malformed")
	errForged    = errors.New("authenticated with no key of the cluster, or with one where it has none")
)

// refusalOf returns why a station is refused whose frame is dropped for that reason; empty
// where another protocol or cluster has every right to be there.
func refusalOf(err error) string {
	switch {
	case errors.Is(err, errVersion):
		return election.OtherVersion
	case errors.Is(err, errForged):
		return election.OtherSecret
	case errors.Is(err, errMalformed):
		return "malformed"
	}
	return ""
}

// codec reads and writes frames. It is not for concurrent use.
type codec struct {
	cluster string
	keys    *election.Keys
	macs    []hash.Hash // of each key; none without
	hw      [12]byte
	sums    []byte
}

// keyPurpose names the keys of this protocol among those of the cluster.
const keyPurpose = "segment"

func newCodec(cluster string, keys *election.Keys) (*codec, error) {
	k := &codec{cluster: cluster, keys: keys}
	for i := range min(keys.Len(), election.MaxKeys) {
		key := keys.At(i)
		derived, err := hkdf.Key(sha256.New, key[:], []byte(cluster), "github.com/l2vip/l2vip segment 1", sha256.Size)
		if err != nil {
			return nil, fmt.Errorf("key for frames: %w", err)
		}
		k.macs = append(k.macs, hmac.New(sha256.New, derived))
	}
	return k, nil
}

// append appends the payload of f, which goes that way, to b.
func (k *codec) append(b []byte, via route, f *frame) []byte {
	start := len(b)
	b = append(b, magic...)
	b = append(b, major, byte(protowire.EncodeBool(f.routine)), 0, 0)
	if k.cluster != "" {
		b = protowire.AppendString(protowire.AppendTag(b, fieldCluster, protowire.BytesType), k.cluster)
	}
	b = appendBytes(b, fieldSender, f.sender)
	b = appendFixed(b, fieldInstance, f.instance)
	b = appendNumber(b, fieldSequence, f.sequence)
	b = appendNumber(b, fieldKind, uint64(f.kind))
	b = appendNumber(b, fieldLink, uint64(f.link))
	b = appendNumber(b, fieldInterval, uint64(f.interval/time.Microsecond))
	b = appendNumber(b, fieldFlags, f.flags())
	b = appendBytes(b, fieldAddress, f.address)
	b = appendBytes(b, fieldMembership, f.membership)
	b = appendNumber(b, fieldLease, uint64(f.lease/time.Microsecond))
	b = appendNumber(b, fieldRevision, f.revision)
	b = appendFixed(b, fieldDigest, f.digest)
	b = appendBytes(b, fieldHears, f.hears)
	b = appendBytes(b, fieldSubject, f.subject)
	b = appendFixed(b, fieldAbout, f.about)
	b = appendNumber(b, fieldMissing, protowire.EncodeBool(f.missing))
	b = appendFixed(b, fieldNonce, f.nonce)
	b = appendNumber(b, fieldTotal, uint64(f.total))
	b = appendNumber(b, fieldOffset, uint64(f.offset))
	b = appendBytes(b, fieldData, f.data)
	b = appendNumber(b, fieldPort, uint64(f.port))
	binary.BigEndian.PutUint16(b[start+headLen-2:], uint16(len(b)-start-headLen))
	return append(b, k.sign(via, b[start:])...)
}

func appendBytes(b []byte, num protowire.Number, v []byte) []byte {
	if len(v) == 0 {
		return b
	}
	return protowire.AppendBytes(protowire.AppendTag(b, num, protowire.BytesType), v)
}

func appendNumber(b []byte, num protowire.Number, v uint64) []byte {
	if v == 0 {
		return b
	}
	return protowire.AppendVarint(protowire.AppendTag(b, num, protowire.VarintType), v)
}

func appendFixed(b []byte, num protowire.Number, v uint64) []byte {
	if v == 0 {
		return b
	}
	return protowire.AppendFixed64(protowire.AppendTag(b, num, protowire.Fixed64Type), v)
}

func (f *frame) flags() uint64 {
	return protowire.EncodeBool(f.holds)*flagHolds | protowire.EncodeBool(f.fenced)*flagFenced | protowire.EncodeBool(f.isolated)*flagIsolated
}

// sign returns what authenticates b with each of the keys, until the next call.
func (k *codec) sign(via route, b []byte) []byte {
	copy(k.hw[:], via.from[:])
	copy(k.hw[len(via.from):], via.to[:])
	k.sums = k.sums[:0]
	for _, mac := range k.macs {
		mac.Reset()
		mac.Write(k.hw[:])
		mac.Write(b)
		whole := mac.Sum(k.sums)
		k.sums = whole[:len(k.sums)+macLen]
	}
	return k.sums
}

// authentic reports whether one of the keys authenticates b, as signs has it. Where there is
// no key nothing but padding may stand there: another member has one.
func (k *codec) authentic(via route, b, signs []byte) bool {
	if len(k.macs) == 0 {
		return !slices.ContainsFunc(signs, func(b byte) bool { return b != 0 })
	}
	signs = signs[:min(len(signs)/macLen, election.MaxKeys)*macLen]
	for own := k.sign(via, b); len(own) > 0; own = own[macLen:] {
		for s := signs; len(s) > 0; s = s[macLen:] {
			if hmac.Equal(own[:macLen], s[:macLen]) {
				return true
			}
		}
	}
	return false
}

// parse reads a payload. It is authentic if there is a key; whether it is new is
// for the caller to see. It allocates nothing: f refers to b.
func (k *codec) parse(b []byte, via route, f *frame) error {
	if len(b) < len(magic)+1 || string(b[:len(magic)]) != magic {
		return errForeign
	}
	if b[len(magic)] != major {
		return errVersion
	}
	if len(b) < headLen {
		return errMalformed
	}
	length := headLen + int(binary.BigEndian.Uint16(b[headLen-2:]))
	if len(b) < length || length > maxFrame {
		return errMalformed
	}
	*f = frame{routine: b[offRoutine] == 1}
	var cluster []byte
	err := fields.Each(b[headLen:length], func(x fields.Field) error {
		switch {
		case x.Num == fieldCluster && x.Type == protowire.BytesType:
			cluster = x.Data
		case x.Type == protowire.VarintType:
			f.setNumber(x.Num, x.Number)
		case x.Type == protowire.Fixed64Type:
			f.setFixed(x.Num, x.Number)
		case x.Type == protowire.BytesType:
			f.setBytes(x.Num, x.Data)
		}
		return nil
	})
	switch {
	case err != nil:
		return errMalformed
	case string(cluster) != k.cluster:
		return errForeign
	case !k.authentic(via, b[:length], b[length:]):
		return errForged
	case !f.valid():
		return errMalformed
	}
	return nil
}

func (f *frame) setNumber(num protowire.Number, n uint64) {
	switch num {
	case fieldSequence:
		f.sequence = n
	case fieldKind:
		f.kind = kind(min(n, 255))
	case fieldLink:
		f.link = uint32(n)
	case fieldInterval:
		f.interval = microseconds(n, MaxInterval)
	case fieldFlags:
		f.holds, f.fenced, f.isolated = n&flagHolds != 0, n&flagFenced != 0, n&flagIsolated != 0
	case fieldLease:
		f.lease = microseconds(n, MaxLease)
	case fieldRevision:
		f.revision = n
	case fieldMissing:
		f.missing = n != 0
	case fieldPort:
		f.port = uint16(min(n, 1<<16-1))
	case fieldTotal:
		f.total = int(min(n, MaxOffer+1))
	case fieldOffset:
		f.offset = int(min(n, MaxOffer+1))
	}
}

// microseconds returns n of them, and no more than most.
func microseconds(n uint64, most time.Duration) time.Duration {
	return time.Duration(min(n, uint64(most/time.Microsecond))) * time.Microsecond
}

func (f *frame) setFixed(num protowire.Number, n uint64) {
	switch num {
	case fieldInstance:
		f.instance = n
	case fieldDigest:
		f.digest = n
	case fieldAbout:
		f.about = n
	case fieldNonce:
		f.nonce = n
	}
}

func (f *frame) setBytes(num protowire.Number, b []byte) {
	switch num {
	case fieldSender:
		f.sender = b
	case fieldAddress:
		f.address = b
	case fieldMembership:
		f.membership = b
	case fieldHears:
		f.hears = b
	case fieldSubject:
		f.subject = b
	case fieldData:
		f.data = b
	}
}

// valid reports whether the frame makes sense.
func (f *frame) valid() bool {
	if len(f.sender) == 0 || len(f.sender) > maxName || !utf8.Valid(f.sender) || f.instance == 0 || f.sequence == 0 {
		return false
	}
	if len(f.subject) > maxName || len(f.membership) > maxMembership || !utf8.Valid(f.membership) {
		return false
	}
	if len(f.address) != 0 && len(f.address) != 4 && len(f.address) != 16 {
		return false
	}
	switch f.kind {
	case kindBeat:
		return f.interval >= MinInterval && len(f.hears)%tagLen == 0
	case kindRequest:
		return f.offset <= MaxOffer
	case kindPart:
		return len(f.data) > 0 && len(f.data) <= partLen && f.total <= MaxOffer && f.offset+len(f.data) <= f.total
	}
	return true
}

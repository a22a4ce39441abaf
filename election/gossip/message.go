package gossip

import (
	"errors"
	"fmt"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/l2vip/l2vip/internal/fields"
)

// A message between two engines is the magic, a byte with the major version, and
// fields in the terms of Protocol Buffers. Fields that are not known are
// skipped; what cannot be understood without them takes a new major version.
//
//	message Message {
//	  uint32 kind = 1;
//	  string cluster = 2;
//	  string sender = 3;
//	  fixed64 instance = 4;          // the sender's
//	  repeated Record records = 5;
//	  repeated string wants = 6;     // kind 2: members whose offers the sender asks for
//	}
//	message Record {
//	  string node = 1;
//	  fixed64 instance = 2;
//	  uint64 revision = 3;
//	  bytes offer = 4;               // missing: the sender has that version, ask for it
//	}
//
// The metadata of a member has the same head and only the field instance.
const (
	magic = "l2vG"
	major = 1

	fieldKind     = 1
	fieldCluster  = 2
	fieldSender   = 3
	fieldInstance = 4
	fieldRecords  = 5
	fieldWants    = 6

	fieldRecordNode     = 1
	fieldRecordInstance = 2
	fieldRecordRevision = 3
	fieldRecordOffer    = 4
)

// kind says what a message is for.
type kind uint8

const (
	kindOffer   kind = 1 // one offer
	kindRequest kind = 2 // asks for offers
	kindState   kind = 3 // a push/pull: everything, or as much as is reasonable
	kindLeave   kind = 4 // the sender leaves
)

// maxInstance bounds what is believed to be an instance: nanoseconds up to the
// year 2116. So there is always a higher one for the next start.
const maxInstance = 1 << 62

// version orders the offers of one node.
type version struct{ instance, revision uint64 }

func (v version) less(w version) bool {
	if v.instance != w.instance {
		return v.instance < w.instance
	}
	return v.revision < w.revision
}

// record is an offer as it travels.
type record struct {
	node string
	version
	data []byte // the offer's binary form; nil says only that the version exists
}

// message is what engines say to each other.
type message struct {
	kind     kind
	sender   string
	instance uint64
	records  []record
	wants    []string
}

var (
	errForeign   = errors.New("not a message of l2vip")
	errVersion   = errors.New("a major version that is not known")
	errCluster   = errors.New("a message of another cluster")
	errMalformed = errors.New("malformed")
)

// append appends the message on the wire.
func (m *message) append(b []byte, cluster string) []byte {
	b = append(b, magic...)
	b = append(b, major)
	b = protowire.AppendTag(b, fieldKind, protowire.VarintType)
	b = protowire.AppendVarint(b, uint64(m.kind))
	b = appendString(b, fieldCluster, cluster)
	b = appendString(b, fieldSender, m.sender)
	b = appendFixed64(b, fieldInstance, m.instance)
	for i := range m.records {
		r := &m.records[i]
		b = protowire.AppendTag(b, fieldRecords, protowire.BytesType)
		b = protowire.AppendVarint(b, uint64(r.size()))
		b = r.append(b)
	}
	for _, name := range m.wants {
		b = appendString(b, fieldWants, name)
	}
	return b
}

func (r *record) append(b []byte) []byte {
	b = appendString(b, fieldRecordNode, r.node)
	b = appendFixed64(b, fieldRecordInstance, r.instance)
	b = protowire.AppendTag(b, fieldRecordRevision, protowire.VarintType)
	b = protowire.AppendVarint(b, r.revision)
	if r.data != nil {
		b = protowire.AppendTag(b, fieldRecordOffer, protowire.BytesType)
		b = protowire.AppendBytes(b, r.data)
	}
	return b
}

// size is the length of what append appends.
func (r *record) size() int {
	n := 3 + protowire.SizeBytes(len(r.node)) + protowire.SizeFixed64() + protowire.SizeVarint(r.revision)
	if r.data != nil {
		n += 1 + protowire.SizeBytes(len(r.data))
	}
	return n
}

// parseMessage reads a message of the cluster. The data of its records are parts
// of b. A field of an unexpected wire type is a zero. An error is one of
// those above, wrapped.
func parseMessage(b []byte, cluster string) (message, error) {
	b, err := parseHead(b)
	if err != nil {
		return message{}, err
	}
	var m message
	var name string
	err = fields.Each(b, func(f fields.Field) (err error) {
		switch f.Num {
		case fieldKind:
			if f.Number > 255 {
				return fmt.Errorf("kind %d", f.Number)
			}
			m.kind = kind(f.Number)
		case fieldCluster:
			name = string(f.Data)
		case fieldSender:
			m.sender, err = nodeName(f.Data)
		case fieldInstance:
			m.instance = f.Number
		case fieldRecords:
			if len(m.records) >= maxMembers {
				return fmt.Errorf("more than %d records", maxMembers)
			}
			var r record
			r, err = parseRecord(f.Data)
			m.records = append(m.records, r)
		case fieldWants:
			if len(m.wants) >= maxMembers {
				return fmt.Errorf("more than %d wishes", maxMembers)
			}
			var want string
			want, err = nodeName(f.Data)
			m.wants = append(m.wants, want)
		}
		return err
	})
	switch {
	case err != nil:
		return message{}, fmt.Errorf("%w: %w", errMalformed, err)
	case name != cluster:
		return message{}, errCluster
	case m.sender == "":
		return message{}, fmt.Errorf("%w: no sender", errMalformed)
	case m.instance == 0 || m.instance >= maxInstance:
		return message{}, fmt.Errorf("%w: instance %d", errMalformed, m.instance)
	}
	return m, nil
}

func parseRecord(b []byte) (record, error) {
	var r record
	err := fields.Each(b, func(f fields.Field) (err error) {
		switch f.Num {
		case fieldRecordNode:
			r.node, err = nodeName(f.Data)
		case fieldRecordInstance:
			r.instance = f.Number
		case fieldRecordRevision:
			r.revision = f.Number
		case fieldRecordOffer:
			r.data = f.Data
		}
		return err
	})
	switch {
	case err != nil:
		return record{}, err
	case r.node == "":
		return record{}, errors.New("record without a node")
	case r.instance == 0 || r.instance >= maxInstance:
		return record{}, fmt.Errorf("instance %d", r.instance)
	}
	return r, nil
}

// appendMeta appends the metadata of a member.
func appendMeta(b []byte, instance uint64) []byte {
	b = append(b, magic...)
	b = append(b, major)
	return appendFixed64(b, fieldInstance, instance)
}

// parseMeta returns the instance in the metadata of a member.
func parseMeta(b []byte) (uint64, error) {
	b, err := parseHead(b)
	if err != nil {
		return 0, err
	}
	var instance uint64
	err = fields.Each(b, func(f fields.Field) error {
		if f.Num == fieldInstance {
			instance = f.Number
		}
		return nil
	})
	if err == nil && (instance == 0 || instance >= maxInstance) {
		err = fmt.Errorf("instance %d", instance)
	}
	if err != nil {
		return 0, fmt.Errorf("%w: %w", errMalformed, err)
	}
	return instance, nil
}

// parseHead checks the magic and the version and returns what follows.
func parseHead(b []byte) ([]byte, error) {
	if len(b) <= len(magic) || string(b[:len(magic)]) != magic {
		return nil, errForeign
	}
	if b[len(magic)] != major {
		return nil, fmt.Errorf("%w: %d", errVersion, b[len(magic)])
	}
	return b[len(magic)+1:], nil
}

// nodeName returns the name of a member.
func nodeName(b []byte) (string, error) {
	name := string(b)
	return name, badName(name)
}

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

func appendString(b []byte, num protowire.Number, s string) []byte {
	return protowire.AppendString(protowire.AppendTag(b, num, protowire.BytesType), s)
}

func appendFixed64(b []byte, num protowire.Number, v uint64) []byte {
	return protowire.AppendFixed64(protowire.AppendTag(b, num, protowire.Fixed64Type), v)
}

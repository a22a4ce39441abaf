package gossip

import (
	"errors"
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/l2vip/l2vip/internal/fields"
)

// A message between two engines is fields in the terms of Protocol Buffers. Fields and
// kinds that are not known are skipped; what cannot be understood without them takes a
// new major version. The sender is told by what it travels in.
//
//	message Message {
//	  uint32 kind = 1;
//	  string sender = 3;             // kind 3: it travels in memberlist's push/pull
//	  fixed64 instance = 4;          // kind 3: the sender's
//	  repeated Record records = 5;
//	  repeated string wants = 6;     // kind 2: members whose offers the sender asks for
//	}
//	message Record {
//	  string node = 1;
//	  fixed64 instance = 2;
//	  uint64 revision = 3;
//	  bytes offer = 4;               // missing: the sender has that version, ask for it
//	}
const (
	fieldKind     = 1
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
	kindOffer   kind = 1 // offers
	kindRequest kind = 2 // asks for offers
	kindState   kind = 3 // a push/pull: everything, or as much as is reasonable
	kindLeave   kind = 4 // the sender leaves
)

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

// append appends the message on the wire.
func (m *message) append(b []byte) []byte {
	b = protowire.AppendVarint(protowire.AppendTag(b, fieldKind, protowire.VarintType), uint64(m.kind))
	if m.sender != "" {
		b = appendFixed64(appendString(b, fieldSender, m.sender), fieldInstance, m.instance)
	}
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
	b = protowire.AppendVarint(protowire.AppendTag(b, fieldRecordRevision, protowire.VarintType), r.revision)
	if r.data != nil {
		b = protowire.AppendBytes(protowire.AppendTag(b, fieldRecordOffer, protowire.BytesType), r.data)
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

// parseMessage reads a message. The data of its records are parts of b. A field of an
// unexpected wire type is a zero. An error wraps errMalformed.
func parseMessage(b []byte) (message, error) {
	var m message
	err := fields.Each(b, func(f fields.Field) (err error) {
		switch f.Num {
		case fieldKind:
			if f.Number > 255 {
				return fmt.Errorf("kind %d", f.Number)
			}
			m.kind = kind(f.Number)
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
	if err != nil {
		return message{}, fmt.Errorf("%w: %w", errMalformed, err)
	}
	return m, nil
}

// stateOf returns of whom the message is that travels in a push/pull.
func stateOf(b []byte) (sender string, instance uint64, err error) {
	err = fields.Each(b, func(f fields.Field) error {
		switch f.Num {
		case fieldSender:
			sender = string(f.Data)
		case fieldInstance:
			instance = f.Number
		}
		return nil
	})
	return sender, instance, err
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
	case r.instance == 0:
		return record{}, errors.New("record without an instance")
	case len(r.data) > maxOffer:
		return record{}, fmt.Errorf("offer of %d bytes, more than %d", len(r.data), maxOffer)
	}
	return r, nil
}

// meta is the metadata of a member, by which memberlist tells engines from others.
var meta = [len(magic) + 1]byte{magic[0], magic[1], magic[2], magic[3], major}

// nodeName returns the name of a member.
func nodeName(b []byte) (string, error) {
	name := string(b)
	return name, badName(name)
}

func appendString(b []byte, num protowire.Number, s string) []byte {
	return protowire.AppendString(protowire.AppendTag(b, num, protowire.BytesType), s)
}

func appendFixed64(b []byte, num protowire.Number, v uint64) []byte {
	return protowire.AppendFixed64(protowire.AppendTag(b, num, protowire.Fixed64Type), v)
}

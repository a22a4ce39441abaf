package election

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"net/netip"
	"slices"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/l2vip/l2vip/internal/fields"
)

// The offer on the wire, in the terms of Protocol Buffers. Fields that are not
// known are skipped, so that a later version may add some.
//
//	message Offer {
//	  string node = 1;
//	  fixed64 instance = 2;
//	  uint64 revision = 3;
//	  fixed64 config = 4;
//	  uint32 members = 5;
//	  repeated Label labels = 6;     // message Label { string key = 1; string value = 2; }
//	  repeated bytes hardware = 7;   // 6 bytes each
//	  repeated Entry entries = 8;    // ascending by address, each once
//	                                 // 9 is kept for the number of a part
//	  uint32 parts = 10;             // more than 1: a part of an offer, which this version refuses
//	}
//	message Entry {
//	  bytes addr = 1;                // 4 or 16 bytes
//	  string service = 2;
//	  uint32 reason = 3;
//	  uint32 weight = 4;
//	  bool settled = 5;
//	  bool holds = 6;
//	  uint64 term = 7;
//	  string from = 8;
//	  bool isolated = 9;
//	}
const (
	fieldNode     = 1
	fieldInstance = 2
	fieldRevision = 3
	fieldConfig   = 4
	fieldMembers  = 5
	fieldLabels   = 6
	fieldHardware = 7
	fieldEntries  = 8
	fieldParts    = 10

	fieldLabelKey   = 1
	fieldLabelValue = 2

	fieldAddr     = 1
	fieldService  = 2
	fieldReason   = 3
	fieldWeight   = 4
	fieldSettled  = 5
	fieldHolds    = 6
	fieldTerm     = 7
	fieldFrom     = 8
	fieldIsolated = 9
)

// maxName bounds the names and label values that are taken from the network, in
// bytes.
const maxName = 512

// The bounds of an offer. A longer list is refused when it is read, before memory is
// taken for it.
const (
	// MaxEntries is how many entries an offer has at the most.
	MaxEntries = 16384
	// MaxLabels is how many labels it has at the most.
	MaxLabels = 1024
	// maxHardware is how many hardware addresses it has at the most.
	maxHardware = 1024
)

// maxTerm bounds the terms that are taken from the network, so that there is always a
// higher one for the next claim.
const maxTerm = 1 << 62

// minEntry is the size of the smallest entry with its tag, in bytes, so that
// room is not made for entries that cannot be there.
const minEntry = 8

// AppendBinary appends the offer in its form on the wire, and never fails: that
// an offer breaks a rule shows when it is read. It implements
// [encoding.BinaryAppender].
func (o Offer) AppendBinary(b []byte) ([]byte, error) {
	b = appendString(b, fieldNode, o.Node)
	b = protowire.AppendTag(b, fieldInstance, protowire.Fixed64Type)
	b = protowire.AppendFixed64(b, o.Instance)
	b = appendVarint(b, fieldRevision, o.Revision)
	b = protowire.AppendTag(b, fieldConfig, protowire.Fixed64Type)
	b = protowire.AppendFixed64(b, o.Config)
	b = appendVarint(b, fieldMembers, uint64(o.Members))
	var scratch []byte
	for _, key := range slices.Sorted(maps.Keys(o.Labels)) {
		scratch = appendString(scratch[:0], fieldLabelKey, key)
		scratch = appendString(scratch, fieldLabelValue, o.Labels[key])
		b = appendBytes(b, fieldLabels, scratch)
	}
	for _, hw := range o.Hardware {
		b = appendBytes(b, fieldHardware, hw[:])
	}
	for i := range o.Entries {
		scratch = o.Entries[i].append(scratch[:0])
		b = appendBytes(b, fieldEntries, scratch)
	}
	return b, nil
}

// append appends the fields of the entry, those with zero values left out.
func (e *Entry) append(b []byte) []byte {
	if e.Addr.Is4() {
		addr := e.Addr.As4()
		b = appendBytes(b, fieldAddr, addr[:])
	} else {
		addr := e.Addr.As16()
		b = appendBytes(b, fieldAddr, addr[:])
	}
	b = appendString(b, fieldService, e.Service)
	b = appendVarint(b, fieldReason, uint64(e.Reason))
	b = appendVarint(b, fieldWeight, uint64(e.Weight))
	b = appendVarint(b, fieldSettled, protowire.EncodeBool(e.Settled))
	b = appendVarint(b, fieldHolds, protowire.EncodeBool(e.Holds))
	b = appendVarint(b, fieldTerm, e.Term)
	b = appendString(b, fieldFrom, e.From)
	return appendVarint(b, fieldIsolated, protowire.EncodeBool(e.Isolated))
}

// UnmarshalBinary reads an offer in its form on the wire. Data that is no such
// offer, or one that breaks a rule (no node, a name of more than 512 bytes or
// not in UTF-8, an address that is no address or IPv4-mapped, entries that are
// not ascending, more than MaxEntries of them), is an error that says what and where, and leaves o as it was.
// An offer that is cut short between two fields cannot be told from a whole
// one: the length is for the carrier to keep. Nothing of data is kept. It
// implements [encoding.BinaryUnmarshaler].
func (o *Offer) UnmarshalBinary(data []byte) error {
	entries, labels, hardware := 0, 0, 0
	err := eachField(data, func(f field) error {
		switch f.Num {
		case fieldEntries:
			entries++
		case fieldLabels:
			labels++
		case fieldHardware:
			hardware++
		}
		return nil
	})
	switch {
	case err != nil:
		return fmt.Errorf("offer: %w", err)
	case entries > MaxEntries:
		return fmt.Errorf("offer: %d entries, more than %d", entries, MaxEntries)
	case labels > MaxLabels:
		return fmt.Errorf("offer: %d labels, more than %d", labels, MaxLabels)
	case hardware > maxHardware:
		return fmt.Errorf("offer: %d hardware addresses, more than %d", hardware, maxHardware)
	}
	var in Offer
	if entries > 0 {
		in.Entries = make([]Entry, 0, min(entries, len(data)/minEntry))
	}
	err = eachField(data, func(f field) (err error) {
		switch f.Num {
		case fieldNode:
			in.Node, err = f.text()
		case fieldInstance:
			in.Instance, err = f.fixed64()
		case fieldRevision:
			in.Revision, err = f.varint(math.MaxUint64)
		case fieldConfig:
			in.Config, err = f.fixed64()
		case fieldMembers:
			in.Members, err = f.uint32()
		case fieldLabels:
			err = in.decodeLabel(f)
		case fieldHardware:
			err = in.decodeHardware(f)
		case fieldEntries:
			err = in.decodeEntry(f)
		case fieldParts:
			var parts uint32
			if parts, err = f.uint32(); parts > 1 {
				err = errors.New("a part of an offer")
			}
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("offer: %w", err)
	}
	if in.Node == "" {
		return errors.New("offer: no node")
	}
	*o = in
	return nil
}

func (o *Offer) decodeLabel(f field) error {
	var key, value string
	b, err := f.bytes()
	if err != nil {
		return err
	}
	err = eachField(b, func(f field) (err error) {
		switch f.Num {
		case fieldLabelKey:
			key, err = f.text()
		case fieldLabelValue:
			value, err = f.text()
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("label: %w", err)
	}
	if o.Labels == nil {
		o.Labels = make(map[string]string)
	}
	o.Labels[key] = value
	return nil
}

func (o *Offer) decodeHardware(f field) error {
	b, err := f.bytes()
	if err != nil {
		return err
	}
	if len(b) != len(HardwareAddr{}) {
		return fmt.Errorf("hardware address of %d bytes", len(b))
	}
	o.Hardware = append(o.Hardware, HardwareAddr(b))
	return nil
}

func (o *Offer) decodeEntry(f field) error {
	b, err := f.bytes()
	if err != nil {
		return err
	}
	var e Entry
	err = eachField(b, func(f field) (err error) {
		switch f.Num {
		case fieldAddr:
			e.Addr, err = f.addr()
		case fieldService:
			e.Service, err = f.text()
		case fieldReason:
			var reason uint64
			reason, err = f.varint(math.MaxUint8)
			e.Reason = Reason(reason)
		case fieldWeight:
			e.Weight, err = f.uint32()
		case fieldSettled:
			e.Settled, err = f.bool()
		case fieldHolds:
			e.Holds, err = f.bool()
		case fieldTerm:
			e.Term, err = f.varint(maxTerm)
		case fieldFrom:
			e.From, err = f.text()
		case fieldIsolated:
			e.Isolated, err = f.bool()
		}
		return err
	})
	switch {
	case err != nil:
		return fmt.Errorf("entry %d: %w", len(o.Entries), err)
	case !e.Addr.IsValid():
		return fmt.Errorf("entry %d: no address", len(o.Entries))
	case len(o.Entries) > 0 && !o.Entries[len(o.Entries)-1].Addr.Less(e.Addr):
		return fmt.Errorf("entry %d: %v is out of order", len(o.Entries), e.Addr)
	}
	o.Entries = append(o.Entries, e)
	return nil
}

// field is one field of a message, whose type and value are checked by who asks
// for it.
type field fields.Field

func eachField(message []byte, fn func(field) error) error {
	return fields.Each(message, func(f fields.Field) error { return fn(field(f)) })
}

func (f field) want(typ protowire.Type) error {
	if f.Type != typ {
		return fmt.Errorf("has wire type %d, not %d", f.Type, typ)
	}
	return nil
}

func (f field) fixed64() (uint64, error) { return f.Number, f.want(protowire.Fixed64Type) }

func (f field) varint(most uint64) (uint64, error) {
	if err := f.want(protowire.VarintType); err != nil {
		return 0, err
	}
	if f.Number > most {
		return 0, fmt.Errorf("%d is more than %d", f.Number, most)
	}
	return f.Number, nil
}

func (f field) uint32() (uint32, error) {
	v, err := f.varint(math.MaxUint32)
	return uint32(v), err
}

func (f field) bool() (bool, error) {
	v, err := f.varint(1)
	return v == 1, err
}

func (f field) bytes() ([]byte, error) { return f.Data, f.want(protowire.BytesType) }

func (f field) text() (string, error) {
	b, err := f.bytes()
	switch {
	case err != nil:
		return "", err
	case len(b) > maxName:
		return "", fmt.Errorf("text of %d bytes, more than %d", len(b), maxName)
	case !utf8.Valid(b):
		return "", errors.New("text is not UTF-8")
	}
	return string(b), nil
}

func (f field) addr() (netip.Addr, error) {
	b, err := f.bytes()
	if err != nil {
		return netip.Addr{}, err
	}
	addr, ok := netip.AddrFromSlice(b)
	if !ok || addr.Is4In6() {
		return netip.Addr{}, fmt.Errorf("%x is no address", b)
	}
	return addr, nil
}

func appendVarint(b []byte, num protowire.Number, v uint64) []byte {
	if v == 0 {
		return b
	}
	return protowire.AppendVarint(protowire.AppendTag(b, num, protowire.VarintType), v)
}

func appendBytes(b []byte, num protowire.Number, v []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, num, protowire.BytesType), v)
}

func appendString(b []byte, num protowire.Number, v string) []byte {
	if v == "" {
		return b
	}
	return protowire.AppendString(protowire.AppendTag(b, num, protowire.BytesType), v)
}

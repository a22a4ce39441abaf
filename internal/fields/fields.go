// Package fields walks over the fields of a message in the terms of Protocol
// Buffers. What a field means, and whether one of an unexpected type is an error,
// is for its caller to say.
package fields

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
)

// Field is one field of a message.
type Field struct {
	Num    protowire.Number
	Type   protowire.Type
	Number uint64 // of VarintType and Fixed64Type, zero for others
	Data   []byte // of BytesType, a part of the message and never nil; nil for others
}

// Each calls fn for every field of the message, known or not, up to the first
// error, to which it adds the field's number. A message that is malformed is an
// error, too, after the fields before that place. It allocates nothing unless fn
// does.
func Each(message []byte, fn func(Field) error) error {
	for len(message) > 0 {
		num, typ, n := protowire.ConsumeTag(message)
		if n < 0 {
			return protowire.ParseError(n)
		}
		message = message[n:]
		f := Field{Num: num, Type: typ}
		switch typ {
		case protowire.VarintType:
			f.Number, n = protowire.ConsumeVarint(message)
		case protowire.Fixed64Type:
			f.Number, n = protowire.ConsumeFixed64(message)
		case protowire.BytesType:
			f.Data, n = protowire.ConsumeBytes(message)
		default:
			n = protowire.ConsumeFieldValue(num, typ, message)
		}
		if n < 0 {
			return protowire.ParseError(n)
		}
		message = message[n:]
		if err := fn(f); err != nil {
			return fmt.Errorf("field %d: %w", num, err)
		}
	}
	return nil
}

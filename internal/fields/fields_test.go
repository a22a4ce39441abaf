package fields_test

import (
	"io"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/l2vip/l2vip/internal/fields"
)

// sample returns a message with a field of every wire type.
func sample() []byte {
	b := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), 300)
	b = protowire.AppendFixed64(protowire.AppendTag(b, 2, protowire.Fixed64Type), 7)
	b = protowire.AppendString(protowire.AppendTag(b, 3, protowire.BytesType), "text")
	b = protowire.AppendString(protowire.AppendTag(b, 3, protowire.BytesType), "")
	b = protowire.AppendFixed32(protowire.AppendTag(b, 4, protowire.Fixed32Type), 9)
	b = protowire.AppendVarint(protowire.AppendTag(protowire.AppendTag(b, 5, protowire.StartGroupType), 1, protowire.VarintType), 1)
	return protowire.AppendTag(b, 5, protowire.EndGroupType)
}

func TestEach(t *testing.T) {
	var got []fields.Field
	require.NoError(t, fields.Each(sample(), func(f fields.Field) error {
		got = append(got, f)
		return nil
	}))
	require.Equal(t, []fields.Field{
		{Num: 1, Type: protowire.VarintType, Number: 300},
		{Num: 2, Type: protowire.Fixed64Type, Number: 7},
		{Num: 3, Type: protowire.BytesType, Data: []byte("text")},
		{Num: 3, Type: protowire.BytesType, Data: []byte{}},
		{Num: 4, Type: protowire.Fixed32Type},
		{Num: 5, Type: protowire.StartGroupType},
	}, got)
}

func TestEachEndsAtTheFirstError(t *testing.T) {
	calls := 0
	err := fields.Each(sample(), func(f fields.Field) error {
		if calls++; f.Num == 2 {
			return io.ErrUnexpectedEOF
		}
		return nil
	})
	require.EqualError(t, err, "field 2: unexpected EOF")
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	require.Equal(t, 2, calls)
}

func TestMalformed(t *testing.T) {
	for name, b := range map[string][]byte{
		"half a tag":           {0x80},
		"field 0":              {0x00, 0x01},
		"no value":             {0x08},
		"half a number":        {0x09, 1, 2, 3},
		"bytes that are short": {0x0a, 5, 'a'},
		"the end of no group":  {0x0c},
		"a group without end":  {0x0b, 0x08, 1},
	} {
		calls := 0
		require.Error(t, fields.Each(append(sample(), b...), func(fields.Field) error {
			calls++
			return nil
		}), name)
		require.Equal(t, 6, calls, name)
	}
}

func TestEachAllocatesNothing(t *testing.T) {
	b, sum := sample(), uint64(0)
	require.Zero(t, testing.AllocsPerRun(100, func() {
		_ = fields.Each(b, func(f fields.Field) error {
			sum += f.Number
			return nil
		})
	}))
}

// FuzzEach shows that no message does harm, and that the fields of one are those
// that protowire itself finds.
func FuzzEach(f *testing.F) {
	f.Add(sample())
	f.Add(sample()[:9])
	f.Add([]byte{0x0b, 0x0c, 0x08})
	f.Fuzz(func(t *testing.T, b []byte) {
		rest := b
		err := fields.Each(b, func(f fields.Field) error {
			num, typ, n := protowire.ConsumeField(rest)
			require.Positive(t, n)
			want := fields.Field{Num: num, Type: typ}
			_, _, tag := protowire.ConsumeTag(rest)
			switch value := rest[tag:n]; typ {
			case protowire.VarintType:
				want.Number, _ = protowire.ConsumeVarint(value)
			case protowire.Fixed64Type:
				want.Number, _ = protowire.ConsumeFixed64(value)
			case protowire.BytesType:
				want.Data, _ = protowire.ConsumeBytes(value)
			}
			require.Equal(t, want, f)
			rest = rest[n:]
			return nil
		})
		require.Equal(t, err == nil, len(rest) == 0)
		if err != nil {
			_, _, n := protowire.ConsumeField(rest)
			require.Negative(t, n)
		}
	})
}

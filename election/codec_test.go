package election_test

import (
	"encoding"
	"encoding/hex"
	"fmt"
	"math"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
	"pgregory.net/rapid"

	"github.com/l2vip/l2vip/election"
)

var (
	_ encoding.BinaryAppender    = election.Offer{}
	_ encoding.BinaryUnmarshaler = (*election.Offer)(nil)
)

// golden is an offer that uses every field, and its form on the wire, which
// must never change.
var golden = election.Offer{
	Node: "front-1", Instance: 0x0102030405060708, Revision: 300, Config: 0xfffefdfcfbfaf9f8, Members: 3,
	Labels:   map[string]string{"zone": "b", "front": ""},
	Hardware: []election.HardwareAddr{{2, 0, 0, 0, 0, 1}},
	Entries: []election.Entry{
		{
			Addr: netip.MustParseAddr("192.168.122.100"), Service: "web", Weight: 200,
			Settled: true, Holds: true, Term: 7, From: "front-0", Isolated: true,
		},
		{Addr: netip.MustParseAddr("fd00::1"), Reason: election.NotReady},
	},
}

const goldenHex = "0a0766726f6e742d31" + // node
	"110807060504030201" + // instance
	"18ac02" + // revision
	"21f8f9fafbfcfdfeff" + // config
	"2803" + // members
	"32070a0566726f6e74" + // label front
	"32090a047a6f6e65120162" + // label zone=b
	"3a06020000000001" + // hardware
	"421f" + "0a04c0a87a64" + "1203776562" + "20c801" + "2801" + "3001" + "3807" + "420766726f6e742d30" + "4801" +
	"4214" + "0a10fd000000000000000000000000000001" + "1805"

func encode(o election.Offer) []byte {
	b, err := o.AppendBinary(nil)
	if err != nil {
		panic(err) // never
	}
	return b
}

func decode(b []byte) (o election.Offer, err error) {
	err = o.UnmarshalBinary(b)
	return o, err
}

func TestGolden(t *testing.T) {
	assert.Equal(t, goldenHex, hex.EncodeToString(encode(golden)))
	data, err := hex.DecodeString(goldenHex)
	require.NoError(t, err)
	got, err := decode(data)
	require.NoError(t, err)
	assert.Equal(t, golden, got)
}

func TestAppendBinaryAppends(t *testing.T) {
	b, err := golden.AppendBinary([]byte("before"))
	require.NoError(t, err)
	assert.Equal(t, "before"+string(encode(golden)), string(b))
}

// aWireOffer generates offers that may travel, with any numbers.
func aWireOffer(t *rapid.T) election.Offer {
	name := rapid.StringN(-1, -1, 512)
	o := election.Offer{
		Node:     rapid.StringN(1, -1, 512).Draw(t, "node"),
		Instance: rapid.Uint64().Draw(t, "instance"),
		Revision: rapid.Uint64().Draw(t, "revision"),
		Config:   rapid.Uint64().Draw(t, "config"),
		Members:  rapid.Uint32().Draw(t, "members"),
	}
	if labels := rapid.MapOfN(name, name, 0, 3).Draw(t, "labels"); len(labels) > 0 {
		o.Labels = labels
	}
	for range rapid.IntRange(0, 2).Draw(t, "hardware addresses") {
		o.Hardware = append(o.Hardware, election.HardwareAddr(rapid.SliceOfN(rapid.Byte(), 6, 6).Draw(t, "hardware")))
	}
	addrs := rapid.SliceOfNDistinct(rapid.Custom(func(t *rapid.T) netip.Addr {
		size := rapid.SampledFrom([]int{4, 16}).Draw(t, "size")
		addr, _ := netip.AddrFromSlice(rapid.SliceOfN(rapid.Byte(), size, size).Draw(t, "addr"))
		return addr.Unmap()
	}), 0, 5, rapid.ID).Draw(t, "addrs")
	slices.SortFunc(addrs, netip.Addr.Compare)
	for _, addr := range addrs {
		o.Entries = append(o.Entries, election.Entry{
			Addr: addr, Service: name.Draw(t, "service"),
			Reason: election.Reason(rapid.Uint8().Draw(t, "reason")),
			Weight: rapid.Uint32().Draw(t, "weight"), Settled: rapid.Bool().Draw(t, "settled"),
			Holds: rapid.Bool().Draw(t, "holds"), Term: rapid.Uint64Range(0, 1<<62).Draw(t, "term"),
			From: name.Draw(t, "from"), Isolated: rapid.Bool().Draw(t, "isolated"),
		})
	}
	return o
}

func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		o := aWireOffer(t)
		data := encode(o)
		got, err := decode(data)
		require.NoError(t, err)
		require.Equal(t, o, got)
		require.True(t, o.Equal(&got))

		// Nothing of the data is kept.
		for i := range data {
			data[i] = 0xff
		}
		require.Equal(t, o, got)
	})
}

func TestManyEntries(t *testing.T) {
	o := crowd(1, 10000, true)[0]
	got, err := decode(encode(o))
	require.NoError(t, err)
	require.Equal(t, o, got)
}

// Of an offer that is cut short nothing is taken, unless the cut is between two
// fields: that can only be seen by who knows the length.
func TestTruncated(t *testing.T) {
	data := encode(golden)
	whole := make(map[int]bool)
	for rest := data; len(rest) > 0; {
		whole[len(data)-len(rest)] = true
		_, _, n := protowire.ConsumeField(rest)
		rest = rest[n:]
	}
	delete(whole, 0) // no node
	for n := range data {
		o := election.Offer{Node: "as it was"}
		err := o.UnmarshalBinary(data[:n])
		if whole[n] {
			require.NoError(t, err, "%d bytes", n)
			continue
		}
		require.ErrorContains(t, err, "offer: ", "%d bytes", n)
		require.Equal(t, election.Offer{Node: "as it was"}, o)
	}
}

// message is a message on the wire, made field by field.
type message []byte

func (m message) varint(num protowire.Number, v uint64) message {
	return protowire.AppendVarint(protowire.AppendTag(m, num, protowire.VarintType), v)
}

func (m message) fixed64(num protowire.Number, v uint64) message {
	return protowire.AppendFixed64(protowire.AppendTag(m, num, protowire.Fixed64Type), v)
}

func (m message) bytes(num protowire.Number, v string) message {
	return protowire.AppendString(protowire.AppendTag(m, num, protowire.BytesType), v)
}

func (m message) String() string { return string(m) }

// unknown adds fields of every wire type that no version knows.
func (m message) unknown() message {
	m = m.varint(500, 1).fixed64(501, 2).bytes(502, "later")
	m = protowire.AppendFixed32(protowire.AppendTag(m, 503, protowire.Fixed32Type), 3)
	m = protowire.AppendTag(m, 504, protowire.StartGroupType)
	m = m.varint(1, 1)
	return protowire.AppendTag(m, 504, protowire.EndGroupType)
}

func TestUnknownFieldsAreSkipped(t *testing.T) {
	label := message{}.unknown().bytes(1, "zone").unknown().bytes(2, "b")
	entry := message{}.unknown().bytes(1, "\x0a\x00\x00\x01").unknown().varint(7, 3).unknown()
	data := message{}.unknown().bytes(1, "a").unknown().bytes(6, label.String()).bytes(8, entry.String()).unknown()
	got, err := decode(data)
	require.NoError(t, err)
	assert.Equal(t, election.Offer{
		Node: "a", Labels: map[string]string{"zone": "b"},
		Entries: []election.Entry{{Addr: netip.MustParseAddr("10.0.0.1"), Term: 3}},
	}, got)
}

func TestRefused(t *testing.T) {
	const ten = "\x0a\x00\x00\x01"
	node := func() message { return message{}.bytes(1, "a") }
	entry := func(e message) message { return node().bytes(8, e.String()) }
	for _, test := range []struct {
		name string
		data message
		want string
	}{
		{"nothing", nil, "offer: no node"},
		{"no node", message{}.varint(3, 1), "offer: no node"},
		{"empty node", message{}.bytes(1, ""), "offer: no node"},
		{"long node", message{}.bytes(1, strings.Repeat("a", 513)), "field 1: text of 513 bytes, more than 512"},
		{"node not UTF-8", message{}.bytes(1, "\xff"), "field 1: text is not UTF-8"},
		{"node is a number", message{}.varint(1, 1), "field 1: has wire type 0, not 2"},
		{"instance is a varint", node().varint(2, 1), "field 2: has wire type 0, not 1"},
		{"revision is bytes", node().bytes(3, "x"), "field 3: has wire type 2, not 0"},
		{"config is bytes", node().bytes(4, "x"), "field 4: has wire type 2, not 1"},
		{"too many members", node().varint(5, math.MaxUint32+1), "field 5: 4294967296 is more than 4294967295"},
		{"label is a number", node().varint(6, 1), "field 6: has wire type 0, not 2"},
		{"label is cut short", node().bytes(6, "\x0a"), "field 6: label: "},
		{"long label", node().bytes(6, message{}.bytes(2, strings.Repeat("b", 513)).String()), "field 6: label: field 2: text of 513"},
		{"hardware address of 5 bytes", node().bytes(7, "12345"), "field 7: hardware address of 5 bytes"},
		{"hardware address is a number", node().varint(7, 1), "field 7: has wire type"},
		{"entry is a number", node().varint(8, 1), "field 8: has wire type"},
		{"entry without address", entry(message{}.varint(7, 1)), "field 8: entry 0: no address"},
		{"address of 5 bytes", entry(message{}.bytes(1, "12345")), "field 8: entry 0: field 1: 3132333435 is no address"},
		{"address is a number", entry(message{}.varint(1, 1)), "entry 0: field 1: has wire type"},
		{
			"IPv4-mapped address",
			entry(message{}.bytes(1, "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff"+ten)),
			"entry 0: field 1: 00000000000000000000ffff0a000001 is no address",
		},
		{"an address twice", entry(message{}.bytes(1, ten)).bytes(8, message{}.bytes(1, ten).String()), "entry 1: 10.0.0.1 is out of order"},
		{
			"addresses out of order",
			entry(message{}.bytes(1, ten)).bytes(8, message{}.bytes(1, "\x0a\x00\x00\x00").String()),
			"entry 1: 10.0.0.0 is out of order",
		},
		{"reason over 255", entry(message{}.bytes(1, ten).varint(3, 256)), "entry 0: field 3: 256 is more than 255"},
		{"weight over 32 bits", entry(message{}.bytes(1, ten).varint(4, math.MaxUint32+1)), "entry 0: field 4: "},
		{"a truth of 2", entry(message{}.bytes(1, ten).varint(6, 2)), "entry 0: field 6: 2 is more than 1"},
		{"from is not UTF-8", entry(message{}.bytes(1, ten).bytes(8, "\xc3")), "entry 0: field 8: text is not UTF-8"},
		{"a part", node().varint(10, 2), "field 10: a part of an offer"},
		{"parts is bytes", node().bytes(10, "2"), "field 10: has wire type"},
		{"field 0", message{}.varint(0, 1), "offer: "},
		{"the end of no group", protowire.AppendTag(node(), 9, protowire.EndGroupType), "offer: "},
		{"endless varint", append(node(), "\x18\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"...), "offer: "},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := election.Offer{Node: "as it was"}
			require.ErrorContains(t, o.UnmarshalBinary(test.data), test.want)
			require.Equal(t, election.Offer{Node: "as it was"}, o)
		})
	}

	o, err := decode(node().varint(10, 1))
	require.NoError(t, err, "one part of one is the whole")
	assert.Equal(t, "a", o.Node)
}

// Room is made for the entries that there are, not for those that the data
// pretends to have.
func TestNoRoomForWhatIsNotThere(t *testing.T) {
	var data message
	for range 1 << 20 {
		data = data.bytes(8, "")
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := decode(data)
	runtime.ReadMemStats(&after)
	require.Error(t, err)
	assert.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(16*len(data)))
}

// schema is the description of the wire in codec.go.
func schema(t testing.TB) protoreflect.MessageDescriptor {
	field := func(num int32, name string, typ descriptorpb.FieldDescriptorProto_Type) *descriptorpb.FieldDescriptorProto {
		return &descriptorpb.FieldDescriptorProto{
			Name: &name, Number: &num, Type: &typ, Label: descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL.Enum(),
		}
	}
	repeated := func(f *descriptorpb.FieldDescriptorProto, message string) *descriptorpb.FieldDescriptorProto {
		f.Label = descriptorpb.FieldDescriptorProto_LABEL_REPEATED.Enum()
		if message != "" {
			f.TypeName = proto.String(message)
		}
		return f
	}
	const (
		text    = descriptorpb.FieldDescriptorProto_TYPE_STRING
		bytes   = descriptorpb.FieldDescriptorProto_TYPE_BYTES
		truth   = descriptorpb.FieldDescriptorProto_TYPE_BOOL
		number  = descriptorpb.FieldDescriptorProto_TYPE_UINT32
		long    = descriptorpb.FieldDescriptorProto_TYPE_UINT64
		fixed   = descriptorpb.FieldDescriptorProto_TYPE_FIXED64
		message = descriptorpb.FieldDescriptorProto_TYPE_MESSAGE
	)
	file, err := protodesc.NewFile(&descriptorpb.FileDescriptorProto{
		Name: proto.String("offer.proto"), Syntax: proto.String("proto3"),
		MessageType: []*descriptorpb.DescriptorProto{
			{Name: proto.String("Offer"), Field: []*descriptorpb.FieldDescriptorProto{
				field(1, "node", text), field(2, "instance", fixed), field(3, "revision", long), field(4, "config", fixed),
				field(5, "members", number), repeated(field(6, "labels", message), ".Label"),
				repeated(field(7, "hardware", bytes), ""), repeated(field(8, "entries", message), ".Entry"),
				field(10, "parts", number),
			}},
			{Name: proto.String("Label"), Field: []*descriptorpb.FieldDescriptorProto{field(1, "key", text), field(2, "value", text)}},
			{Name: proto.String("Entry"), Field: []*descriptorpb.FieldDescriptorProto{
				field(1, "addr", bytes), field(2, "service", text), field(3, "reason", number), field(4, "weight", number),
				field(5, "settled", truth), field(6, "holds", truth), field(7, "term", long), field(8, "from", text),
				field(9, "isolated", truth),
			}},
		},
	}, nil)
	require.NoError(t, err)
	return file.Messages().ByName("Offer")
}

// The wire is what Protocol Buffers themselves make of its description.
func TestAgainstProtocolBuffers(t *testing.T) {
	offer := schema(t)
	rapid.Check(t, func(t *rapid.T) {
		o := aWireOffer(t)
		m := dynamicpb.NewMessage(offer)
		require.NoError(t, proto.Unmarshal(encode(o), m))
		require.Empty(t, m.GetUnknown())
		get := func(m protoreflect.Message, name protoreflect.Name) protoreflect.Value {
			return m.Get(m.Descriptor().Fields().ByName(name))
		}
		require.Equal(t, o.Node, get(m, "node").String())
		require.Equal(t, o.Instance, get(m, "instance").Uint())
		require.Equal(t, o.Revision, get(m, "revision").Uint())
		require.Equal(t, o.Config, get(m, "config").Uint())
		require.EqualValues(t, o.Members, get(m, "members").Uint())
		labels := get(m, "labels").List()
		require.Equal(t, len(o.Labels), labels.Len())
		for i := range labels.Len() {
			l := labels.Get(i).Message()
			require.Equal(t, o.Labels[get(l, "key").String()], get(l, "value").String())
		}
		require.Equal(t, len(o.Hardware), get(m, "hardware").List().Len())
		entries := get(m, "entries").List()
		require.Equal(t, len(o.Entries), entries.Len())
		for i, e := range o.Entries {
			m := entries.Get(i).Message()
			require.Empty(t, m.GetUnknown())
			require.Equal(t, e.Addr.AsSlice(), get(m, "addr").Bytes())
			require.Equal(t, e.Service, get(m, "service").String())
			require.EqualValues(t, e.Reason, get(m, "reason").Uint())
			require.EqualValues(t, e.Weight, get(m, "weight").Uint())
			require.Equal(t, e.Settled, get(m, "settled").Bool())
			require.Equal(t, e.Holds, get(m, "holds").Bool())
			require.Equal(t, e.Term, get(m, "term").Uint())
			require.Equal(t, e.From, get(m, "from").String())
			require.Equal(t, e.Isolated, get(m, "isolated").Bool())
		}

		// And back.
		data, err := proto.Marshal(m)
		require.NoError(t, err)
		got, err := decode(data)
		require.NoError(t, err)
		require.Equal(t, o, got)
	})
}

// FuzzOffer shows that no data does harm, and that what is read as an offer is
// the same offer when it is written and read again.
func FuzzOffer(f *testing.F) {
	f.Add(encode(golden))
	f.Add(encode(election.Offer{Node: "a"}))
	f.Add([]byte(message{}.unknown().bytes(1, "a").unknown()))
	f.Add([]byte(message{}.bytes(1, "a").varint(10, 2)))
	f.Add([]byte(message{}.bytes(1, "a").bytes(8, "").bytes(6, "").bytes(7, "123456")))
	for n := range encode(golden) {
		if n%7 == 0 {
			f.Add(encode(golden)[:n])
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		o, err := decode(data)
		if err != nil {
			return
		}
		again, err := decode(encode(o))
		require.NoError(t, err)
		require.Equal(t, o, again)
		require.Equal(t, encode(o), encode(again))

		// Whatever it says can be elected by.
		var v *election.View
		v = v.Next(election.Policy{}, []election.Offer{o, golden})
		for _, d := range v.Decisions() {
			require.True(t, d.Addr.IsValid(), fmt.Sprint(d))
		}
	})
}

// A list that is too long is refused before memory is taken for it.
func TestOffersAreBounded(t *testing.T) {
	o := election.Offer{Node: "a"}
	addr := netip.MustParseAddr("10.0.0.0")
	for range election.MaxEntries {
		addr = addr.Next()
		o.Entries = append(o.Entries, election.Entry{Addr: addr})
	}
	encode := func() []byte {
		b, err := o.AppendBinary(nil)
		require.NoError(t, err)
		return b
	}
	var got election.Offer
	require.NoError(t, got.UnmarshalBinary(encode()))
	require.Len(t, got.Entries, election.MaxEntries)
	o.Entries = append(o.Entries, election.Entry{Addr: addr.Next()})
	require.ErrorContains(t, got.UnmarshalBinary(encode()), "16385 entries, more than 16384")

	o.Entries, o.Labels = nil, make(map[string]string)
	for i := range election.MaxLabels + 1 {
		o.Labels[fmt.Sprint(i)] = ""
	}
	require.ErrorContains(t, got.UnmarshalBinary(encode()), "1025 labels")
	o.Labels, o.Hardware = nil, make([]election.HardwareAddr, 1025)
	require.ErrorContains(t, got.UnmarshalBinary(encode()), "1025 hardware addresses")
}

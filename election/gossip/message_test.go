package gossip

import (
	"bytes"
	"encoding/hex"
	"errors"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"
	"pgregory.net/rapid"
)

func TestMessageVector(t *testing.T) {
	// Part of the protocol: members of every version must read this.
	m := message{
		kind: kindState, sender: "a", instance: 0x1122334455667788,
		records: []record{{"a", version{0x1122334455667788, 300}, []byte("x")}, {"b", version{1, 2}, nil}},
		wants:   []string{"c"},
	}
	b := m.append(nil)
	require.Equal(t, "0803"+"1a0161"+"218877665544332211"+
		"2a12"+"0a0161"+"118877665544332211"+"18ac02"+"220178"+
		"2a0e"+"0a0162"+"110100000000000000"+"1802"+"320163", hex.EncodeToString(b))
	got, err := parseMessage(b)
	require.NoError(t, err)
	require.Equal(t, m, got)

	// Unknown fields are skipped.
	b = protowire.AppendTag(b, 99, protowire.BytesType)
	b = protowire.AppendString(b, "of a later version")
	got, err = parseMessage(b)
	require.NoError(t, err)
	require.Equal(t, m, got)
}

func TestMessagesSurviveTheWire(t *testing.T) {
	name := rapid.StringN(1, 20, maxName)
	instance := rapid.Uint64Range(1, 1<<63)
	rapid.Check(t, func(t *rapid.T) {
		m := message{
			kind:     kind(rapid.Uint8().Draw(t, "kind")),
			sender:   name.Draw(t, "sender"),
			instance: instance.Draw(t, "instance"),
			wants:    rapid.SliceOfN(name, 0, 5).Draw(t, "wants"),
		}
		for range rapid.IntRange(0, 5).Draw(t, "records") {
			r := record{node: name.Draw(t, "node"), version: version{instance.Draw(t, "of"), rapid.Uint64().Draw(t, "revision")}}
			if rapid.Bool().Draw(t, "with offer") {
				r.data = rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "offer")
			}
			require.Len(t, r.append(nil), r.size())
			m.records = append(m.records, r)
		}
		got, err := parseMessage(m.append(nil))
		require.NoError(t, err)
		if len(m.wants) == 0 {
			m.wants = nil
		}
		require.Equal(t, m, got)
	})
}

func FuzzMessage(f *testing.F) {
	m := message{
		kind: kindOffer, sender: "a", instance: 5,
		records: []record{{"a", version{5, 6}, []byte("offer")}}, wants: []string{"b"},
	}
	f.Add(m.append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := parseMessage(b)
		if err != nil {
			if !errors.Is(err, errMalformed) {
				t.Fatalf("an error that is counted nowhere: %v", err)
			}
			return
		}
		again, err := parseMessage(m.append(nil))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(m.append(nil), again.append(nil)) {
			t.Fatal("reads differently the second time")
		}
	})
}

// FuzzReceive feeds messages to an engine that knows one member.
func FuzzReceive(f *testing.F) {
	m := message{kind: kindRequest, wants: []string{"self", "other"}}
	f.Add(m.append(nil))
	o := offer(3)
	o.Node, o.Instance = "other", 9
	data, _ := o.AppendBinary(nil)
	m = message{kind: kindOffer, sender: "other", instance: 1, records: []record{{"other", version{1, 3}, data}, {"self", version{8, 8}, nil}}}
	f.Add(m.append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		e := quietEngine(t)
		e.receive("other", 1, b, netip.AddrPort{})
		delegate{e}.MergeRemoteState(b, true)
		e.encode()
		e.send(false)
		if n := len(e.table.members); n != 1 {
			t.Fatalf("%d members in the table", n)
		}
	})
}

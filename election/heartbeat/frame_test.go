package heartbeat

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func drawFrame(t *rapid.T) *frame {
	text := rapid.StringN(0, 20, maxName)
	return &frame{
		sender:     rapid.StringN(1, 20, maxName).Draw(t, "sender"),
		instance:   rapid.Uint64Min(1).Draw(t, "instance"),
		sequence:   rapid.Uint64Min(1).Draw(t, "sequence"),
		kind:       kind(rapid.IntRange(1, 6).Draw(t, "kind")),
		interval:   time.Duration(rapid.Int64Range(500, int64(MaxInterval/time.Microsecond)).Draw(t, "interval")) * time.Microsecond,
		holds:      rapid.Bool().Draw(t, "holds"),
		address:    rapid.SampledFrom([][]byte{nil, {192, 0, 2, 1}, make([]byte, 16)}).Draw(t, "address"),
		membership: rapid.StringN(0, 10, maxMembership).Draw(t, "membership"),
		subject:    text.Draw(t, "subject"),
		missing:    rapid.Bool().Draw(t, "missing"),
		nonce:      rapid.Uint64().Draw(t, "nonce"),
		lease:      time.Duration(rapid.Int64Range(0, int64(MaxLease/time.Microsecond)).Draw(t, "lease")) * time.Microsecond,
	}
}

func TestFrameRoundTrip(t *testing.T) {
	for _, key := range [][]byte{nil, key} {
		k, err := newCodec(&Config{Cluster: DefaultCluster, Key: key})
		require.NoError(t, err)
		rapid.Check(t, func(t *rapid.T) {
			f := drawFrame(t)
			b := k.append(nil, f)
			require.LessOrEqual(t, len(b), maxFrame)
			var got frame
			require.NoError(t, k.parse(append(b, make([]byte, rapid.IntRange(0, 50).Draw(t, "padding"))...), &got))
			require.Equal(t, *f, got)
			require.Error(t, k.parse(b[:rapid.IntRange(0, len(b)-1).Draw(t, "cut")], &got))
			if key != nil {
				b[rapid.IntRange(0, len(b)-1).Draw(t, "at")] ^= rapid.ByteMin(1).Draw(t, "flip")
				require.Error(t, k.parse(b, &got))
			}
		})
	}
}

func FuzzFrame(f *testing.F) {
	k, err := newCodec(&Config{Cluster: DefaultCluster})
	require.NoError(f, err)
	f.Add(k.append(nil, &frame{sender: "a", instance: 1, sequence: 1, kind: kindBeat, interval: time.Second, address: []byte{192, 0, 2, 1}, lease: time.Second}))
	f.Add(k.append(nil, &frame{sender: "a", instance: 1, sequence: 2, kind: kindAsk, subject: "b"}))
	f.Fuzz(func(t *testing.T, b []byte) {
		var got, again frame
		if k.parse(b, &got) != nil {
			return
		}
		require.NoError(t, k.parse(k.append(nil, &got), &again))
		require.Equal(t, got, again)
	})
}

func TestConfig(t *testing.T) {
	_, err := New(Config{Cluster: "\xff", Key: []byte("short"), Interval: time.Microsecond, Misses: 1, Idle: -1})
	for _, path := range []string{"Cluster", "Key", "Interval", "Misses", "Idle"} {
		require.ErrorContains(t, err, path)
	}
	require.Equal(t, 12*time.Millisecond, Config{}.Detection())
	require.Zero(t, Config{Misses: -1}.Detection())
}

func BenchmarkFrame(b *testing.B) {
	for name, key := range map[string][]byte{"open": nil, "key": key} {
		b.Run(name, func(b *testing.B) {
			k, err := newCodec(&Config{Cluster: DefaultCluster, Key: key})
			require.NoError(b, err)
			beat := &frame{sender: "front-0", instance: 1, sequence: 1, kind: kindBeat, interval: time.Second, holds: true, address: []byte{192, 0, 2, 1}}
			buf := make([]byte, 0, maxFrame)
			var got frame
			b.ReportAllocs()
			for b.Loop() {
				buf = k.append(buf[:0], beat)
				if err := k.parse(buf, &got); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

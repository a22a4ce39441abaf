package segment

import (
	"bytes"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/l2vip/l2vip/election"
)

var (
	key     = []byte("a key of the cluster, of 32 bytes")
	station = hardwareAddr{2, 0, 0, 0, 0, 1}
)

// toAll is the route of a frame from a station to the group.
func toAll(from hardwareAddr) route { return route{from, group} }

func newTestCodec(t testing.TB, cluster string, keys ...[]byte) *codec {
	k, err := newCodec(cluster, keysOf(keys...))
	require.NoError(t, err)
	return k
}

func drawFrame(t *rapid.T) *frame {
	text := func(label string, least, most int) []byte {
		if s := rapid.StringN(least, -1, most).Draw(t, label); s != "" {
			return []byte(s)
		}
		return nil
	}
	micro := func(label string, least, most time.Duration) time.Duration {
		return time.Duration(rapid.Int64Range(int64(least/time.Microsecond), int64(most/time.Microsecond)).Draw(t, label)) * time.Microsecond
	}
	f := &frame{
		sender:     text("sender", 1, maxName),
		instance:   rapid.Uint64Min(1).Draw(t, "instance"),
		sequence:   rapid.Uint64Min(1).Draw(t, "sequence"),
		kind:       kind(rapid.IntRange(1, 9).Draw(t, "kind")),
		link:       rapid.Uint32().Draw(t, "link"),
		membership: text("membership", 0, maxMembership),
	}
	switch f.kind {
	case kindBeat:
		f.interval, f.lease = micro("interval", MinInterval, MaxInterval), micro("lease", 0, MaxLease)
		f.holds, f.fenced, f.isolated = rapid.Bool().Draw(t, "holds"), rapid.Bool().Draw(t, "fenced"), rapid.Bool().Draw(t, "isolated")
		f.address = rapid.SampledFrom([][]byte{nil, {192, 0, 2, 1}, make([]byte, 16)}).Draw(t, "address")
		f.revision, f.digest = rapid.Uint64().Draw(t, "revision"), rapid.Uint64().Draw(t, "digest")
		if n := rapid.IntRange(0, maxMembers).Draw(t, "hears"); n > 0 {
			f.hears = bytes.Repeat([]byte{1, 2, 3, 4}, n)
		}
	case kindPart:
		f.membership = nil
		f.data = rapid.SliceOfN(rapid.Byte(), 1, partLen).Draw(t, "data")
		f.offset = rapid.IntRange(0, MaxOffer-partLen).Draw(t, "offset")
		f.total = rapid.IntRange(f.offset+len(f.data), MaxOffer).Draw(t, "total")
		f.revision = rapid.Uint64().Draw(t, "revision")
	case kindRequest:
		f.offset = rapid.IntRange(0, MaxOffer).Draw(t, "offset")
	default:
		f.subject, f.about, f.nonce = text("subject", 0, maxName), rapid.Uint64().Draw(t, "about"), rapid.Uint64().Draw(t, "nonce")
		f.missing = rapid.Bool().Draw(t, "missing")
	}
	return f
}

func TestFrameRoundTrip(t *testing.T) {
	for _, keys := range [][][]byte{nil, {key}, {key, []byte("another key, just as long as it")}} {
		k := newTestCodec(t, string(bytes.Repeat([]byte("c"), maxCluster)), keys...)
		rapid.Check(t, func(t *rapid.T) {
			f := drawFrame(t)
			b := k.append(nil, toAll(station), f)
			require.LessOrEqual(t, len(b), maxFrame)
			var got frame
			require.NoError(t, k.parse(append(b, make([]byte, rapid.IntRange(0, 50).Draw(t, "padding"))...), toAll(station), &got))
			require.Equal(t, *f, got)
			signs := len(keys) * macLen
			require.Error(t, k.parse(b[:rapid.IntRange(0, len(b)-max(1, signs-macLen)-1).Draw(t, "cut")], toAll(station), &got))
			if keys != nil {
				require.ErrorIs(t, k.parse(b, toAll(hardwareAddr{2, 0, 0, 0, 0, 2}), &got), errForged, "from another station")
				require.ErrorIs(t, k.parse(b, route{station, hardwareAddr{2, 0, 0, 0, 0, 2}}, &got), errForged, "to another station")
				b[rapid.IntRange(0, len(b)-signs-1).Draw(t, "at")] ^= rapid.ByteMin(1).Draw(t, "flip")
				require.Error(t, k.parse(b, toAll(station), &got))
			}
		})
	}
}

// Members understand each other as long as they have one key in common, whichever of
// theirs comes first.
func TestKeysInCommon(t *testing.T) {
	a, b, c := bytes.Repeat([]byte("a"), 32), bytes.Repeat([]byte("b"), 32), bytes.Repeat([]byte("c"), 32)
	f := &frame{sender: []byte("a"), instance: 1, sequence: 1, kind: kindBeat, interval: time.Second}
	sets := [][][]byte{{a}, {a, b}, {b, a}, {b}, {b, c}, {c}, {c, a, b}}
	for _, one := range sets {
		for _, other := range sets {
			common := slices.ContainsFunc(one, func(k []byte) bool {
				return slices.ContainsFunc(other, func(o []byte) bool { return bytes.Equal(k, o) })
			})
			err := newTestCodec(t, "l2vip", other...).parse(newTestCodec(t, "l2vip", one...).append(nil, toAll(station), f), toAll(station), new(frame))
			if common {
				require.NoError(t, err)
			} else {
				require.ErrorIs(t, err, errForged)
			}
		}
	}
}

func TestReplaysAgainstASet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var r replays
		seen, highest := make(map[uint64]bool), uint64(0)
		for _, n := range rapid.SliceOf(rapid.Uint64Range(1, 300)).Draw(t, "sequences") {
			fresh := !seen[n] && n+64 >= highest
			require.Equal(t, fresh, r.take(n), n)
			seen[n], highest = true, max(highest, n)
		}
		require.True(t, r.take(1<<63))
		require.False(t, r.take(1<<63))
		require.False(t, r.take(highest))
	})
}

func TestTheLongestBeatFits(t *testing.T) {
	k := newTestCodec(t, string(bytes.Repeat([]byte("c"), maxCluster)), slices.Repeat([][]byte{key}, election.MaxKeys)...)
	b := k.append(nil, toAll(station), &frame{
		sender: bytes.Repeat([]byte("n"), maxName), instance: 1 << 63, sequence: 1 << 63, kind: kindBeat, link: 1<<32 - 1,
		interval: MaxInterval, holds: true, fenced: true, isolated: true, address: make([]byte, 16),
		membership: bytes.Repeat([]byte("m"), maxMembership), lease: MaxLease, revision: 1 << 63, digest: 1 << 63,
		hears: make([]byte, tagLen*maxMembers),
	})
	require.LessOrEqual(t, len(b), maxFrame)
}

func TestWhatIsNoFrame(t *testing.T) {
	k := newTestCodec(t, "l2vip")
	good := func() *frame {
		return &frame{sender: []byte("a"), instance: 1, sequence: 1, kind: kindBeat, interval: time.Second}
	}
	for name, change := range map[string]func(*frame){
		"no sender":           func(f *frame) { f.sender = nil },
		"a long name":         func(f *frame) { f.sender = bytes.Repeat([]byte("n"), maxName+1) },
		"a name not in UTF-8": func(f *frame) { f.sender = []byte("\xff") },
		"no instance":         func(f *frame) { f.instance = 0 },
		"no sequence":         func(f *frame) { f.sequence = 0 },
		"a short interval":    func(f *frame) { f.interval = MinInterval - time.Microsecond },
		"an odd address":      func(f *frame) { f.address = make([]byte, 5) },
		"odd tags":            func(f *frame) { f.hears = make([]byte, 6) },
		"a long membership":   func(f *frame) { f.membership = make([]byte, maxMembership+1) },
		"an empty part":       func(f *frame) { f.kind, f.total = kindPart, 5 },
		"a long part":         func(f *frame) { f.kind, f.data, f.total = kindPart, make([]byte, partLen+1), MaxOffer },
		"a part beyond":       func(f *frame) { f.kind, f.data, f.offset, f.total = kindPart, make([]byte, 10), 5, 14 },
		"a part of too much":  func(f *frame) { f.kind, f.data, f.total = kindPart, make([]byte, 10), MaxOffer+1 },
		"a request beyond":    func(f *frame) { f.kind, f.offset = kindRequest, MaxOffer+1 },
	} {
		f := good()
		change(f)
		require.ErrorIs(t, k.parse(k.append(nil, toAll(station), f), toAll(station), new(frame)), errMalformed, name)
	}
	other := newTestCodec(t, "other")
	require.ErrorIs(t, k.parse(other.append(nil, toAll(station), good()), toAll(station), new(frame)), errForeign)
	b := k.append(nil, toAll(station), good())
	b[len(magic)]++
	require.ErrorIs(t, k.parse(b, toAll(station), new(frame)), errVersion)
	keyed, open := newTestCodec(t, "", []byte("secret")), newTestCodec(t, "")
	require.ErrorIs(t, open.parse(keyed.append(nil, toAll(station), good()), toAll(station), new(frame)), errForged, "the one has a secret, the other none")
	require.NoError(t, open.parse(append(open.append(nil, toAll(station), good()), make([]byte, 20)...), toAll(station), new(frame)), "padding")
	require.ErrorIs(t, k.parse([]byte("l2vH\x01"), toAll(station), new(frame)), errForeign, "another protocol")
}

func FuzzFrame(f *testing.F) {
	k := newTestCodec(f, "l2vip")
	f.Add(k.append(nil, toAll(station), &frame{sender: []byte("a"), instance: 1, sequence: 1, kind: kindBeat, interval: time.Second, address: []byte{192, 0, 2, 1}, lease: time.Second, hears: []byte("abcd")}))
	f.Add(k.append(nil, toAll(station), &frame{sender: []byte("a"), instance: 1, sequence: 2, kind: kindPart, revision: 1, total: 9, offset: 4, data: []byte("hello")}))
	f.Fuzz(func(t *testing.T, b []byte) {
		var got, again frame
		if k.parse(b, toAll(station), &got) != nil {
			return
		}
		b = k.append(nil, toAll(station), &got)
		require.NoError(t, k.parse(b, toAll(station), &again))
		require.Equal(t, b, k.append(nil, toAll(station), &again))
	})
}

// FuzzReceive gives a core frames from members that it knows and from strangers. It
// must neither panic nor grow beyond its bounds.
func FuzzReceive(f *testing.F) {
	k := newTestCodec(f, "l2vip")
	add := func(frames ...*frame) {
		var b []byte
		for _, x := range frames {
			p := k.append(nil, toAll(station), x)
			b = append(append(b, byte(len(p)>>8), byte(len(p))), p...)
		}
		f.Add(b)
	}
	known := func(sequence uint64, kind kind) *frame {
		return &frame{sender: []byte("node-1"), instance: 5, sequence: 1<<40 + sequence, kind: kind, link: 1, interval: time.Millisecond}
	}
	ask := known(2, kindAsk)
	ask.subject, ask.about = []byte("node-0"), 1
	part := known(4, kindPart)
	part.revision, part.total, part.data = 3, 2000, make([]byte, 1000)
	request := known(5, kindRequest)
	request.revision, request.offset = 1, 1
	add(known(1, kindBeat), ask, part, request, known(6, kindLeave))
	add(&frame{sender: []byte("x"), instance: 1, sequence: 1, kind: kindChallenge, subject: []byte("node-0"), about: 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		s := newSimulation(t, 1)
		h := s.member("node-0", Config{})
		h.offer(100, true)
		l := h.core.links[0]
		m := &member{name: "node-1", instance: 5, tag: tagOf("node-1", 5), lastBeat: lastBeat{interval: time.Second, heard: s.now}}
		m.addRow(&row{link: l, hw: station, origin: 1, replays: replays{highest: 1}, heardOn: heardOn{heard: s.now, interval: time.Second}})
		h.core.members, h.core.byName["node-1"] = []*member{m}, []*member{m}
		for range 100 {
			if len(b) < 2 {
				break
			}
			n := min(int(b[0])<<8|int(b[1]), len(b)-2)
			frame := slices.Clone(b[2 : 2+n])
			b = b[2+n:]
			h.arrive(func(now time.Duration) { h.core.receive(now, 1, toAll(station), frame) })
			s.run(time.Millisecond)
		}
		before := s.order
		s.run(time.Second)
		require.Less(t, s.order-before, 10_000, "it does not turn for nothing")
		h.core.report()
		require.LessOrEqual(t, len(h.core.members), maxMembers)
		require.LessOrEqual(t, len(l.pending), maxMembers)
		require.LessOrEqual(t, len(m.transfer.data), MaxOffer)
	})
}

func TestDigest(t *testing.T) {
	entry := func(addr string, holds bool) election.Entry {
		return election.Entry{Addr: netip.MustParseAddr(addr), Holds: holds}
	}
	of := func(entries ...election.Entry) uint64 { return digestOf(&election.Offer{Entries: entries}) }
	a, b := entry("10.0.0.1", true), entry("2001:db8::1", true)
	require.Zero(t, of())
	require.Zero(t, of(entry("10.0.0.1", false)))
	require.NotZero(t, of(a))
	require.Equal(t, of(a, b), of(b, a))
	require.NotEqual(t, of(a), of(a, b))
	require.Equal(t, of(a), of(a, entry("10.0.0.2", false)))
}

func TestConfig(t *testing.T) {
	_, err := New(Config{Interval: time.Microsecond, Misses: 1, Idle: -1})
	for _, path := range []string{"Interval", "Misses", "Idle"} {
		require.ErrorContains(t, err, path)
	}
	require.Equal(t, 12*time.Millisecond, Config{}.Detection())
	require.Zero(t, Config{Misses: -1}.Detection())
	s, err := New(Config{Interval: time.Second})
	require.NoError(t, err)
	require.Equal(t, time.Second, s.config.Idle)
}

// How the delays relate.
func TestTimings(t *testing.T) {
	for _, interval := range []time.Duration{MinInterval, DefaultInterval, DefaultIdle, time.Second, MaxInterval} {
		ask := askTime(interval)
		require.Less(t, extraBeat, ask/2+1, "a member that is asked for beats before it is judged, at the second question at the latest")
		require.Less(t, patience(interval, minMisses)+ask, forgetAfter)
		require.Greater(t, listTime(interval, interval), patience(interval, DefaultMisses), "some beats may be lost before a member is said not to hear this one")
	}
	require.Greater(t, challengeEvery, time.Second/provePerSecond-1, "a member that is challenged as often as it may be answers each time")
	require.Less(t, serveEvery, requestFirst, "a part that is asked for again is sent again")
	require.Less(t, requestFirst, requestMost)
	require.LessOrEqual(t, provokeLeast, askTime(MinInterval)/2, "each question asks the stations, too")
	require.Less(t, settleTime, DefaultInterval)
	require.Greater(t, startTime, forgetAfter)
}

func BenchmarkBeat(b *testing.B) {
	for name, key := range map[string][]byte{"open": nil, "key": key} {
		b.Run(name, func(b *testing.B) {
			_, all := benchMembers(b, 3, key)
			c := all[0].core
			now := all[0].now
			c.out = discard{}
			b.ReportAllocs()
			for b.Loop() {
				c.beat(now)
			}
		})
	}
}

func BenchmarkReceive(b *testing.B) {
	for name, key := range map[string][]byte{"open": nil, "key": key} {
		b.Run(name, func(b *testing.B) {
			s, all := benchMembers(b, 3, key)
			c, from := all[1].core, all[0]
			c.out = discard{}
			var beat []byte
			from.tap = func(_ int, to hardwareAddr, payload []byte) { beat = slices.Clone(payload) }
			from.core.beat(s.now)
			var f frame
			require.NoError(b, c.codec.parse(beat, toAll(from.hw(1)), &f))
			r := c.find(f.sender, f.instance).rows[0]
			b.ReportAllocs()
			for b.Loop() {
				r.replays = replays{}
				c.receive(s.now, 1, toAll(from.hw(1)), beat)
			}
			require.Zero(b, c.count.replayed.Load())
		})
	}
}

func benchMembers(b *testing.B, n int, key []byte) (*simulation, []*host) {
	s := newSimulation(b, 1)
	s.key = key
	all := s.addMembers(n, Config{})
	all[0].hold(true)
	s.run(time.Second)
	return s, all
}

// discard is an output that does nothing.
type discard struct{}

func (discard) send(int, hardwareAddr, []byte, bool) bool   { return true }
func (discard) probe(int, hardwareAddr, netip.Addr)         {}
func (discard) provoke(int)                                 {}
func (discard) probePort(netip.AddrPort)                    {}
func (discard) capture(int, bool)                           {}
func (discard) decode([]byte, func(*election.Offer, error)) {}

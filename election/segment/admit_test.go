package segment

import (
	"encoding/binary"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/l2vip/l2vip/election"
)

// keyed returns members of a cluster with a key.
func keyed(t testing.TB, seed uint64, n int, links ...int) (*simulation, []*host) {
	s := newSimulation(t, seed)
	s.key = key
	all := s.addMembers(n, Config{}, links...)
	s.station("gateway", links...)
	all[0].hold(true)
	s.run(time.Second)
	return s, all
}

// sent is a frame as it was on the wire.
type sent struct {
	link    int
	from    hardwareAddr
	to      hardwareAddr
	payload []byte
}

// record keeps what a host sends, until stop.
func (h *host) record() (all *[]sent, stop func()) {
	all = new([]sent)
	h.tap = func(link int, to hardwareAddr, payload []byte) {
		*all = append(*all, sent{link, h.hw(link), to, slices.Clone(payload)})
	}
	return all, func() { h.tap = nil }
}

// However the frames of a member are recorded, they cannot keep it alive, nor bring it
// back, nor be used against others that have just started.
func TestReplayedAndForgedFramesChangeNothing(t *testing.T) {
	s, all := keyed(t, 9, 3)
	spy := s.station("spy")
	frames, stop := all[0].record()
	s.run(100 * time.Millisecond)
	stop()
	require.NotEmpty(t, *frames)
	replay := func(from func(sent) hardwareAddr) {
		for _, f := range *frames {
			spy.inject(1, from(f), group, f.payload)
		}
	}
	same := func(f sent) hardwareAddr { return f.from }
	all[0].off = true
	for range 200 {
		replay(same)
		s.run(time.Millisecond)
	}
	for _, h := range all[1:] {
		require.Equal(t, 1, h.given["node-0"], "replays do not keep it alive")
		require.NotZero(t, h.count.replayed.Load())
		require.Equal(t, Unreachable, h.row("node-0", 1).State, "nor bring it back")
		require.Equal(t, all[0].hw(1), hardwareAddr(h.row("node-0", 1).HardwareAddr))
	}
	forged := all[1].count.forged.Load()
	replay(func(sent) hardwareAddr { return spy.hw(1) })
	s.run(10 * time.Millisecond)
	require.Equal(t, forged+uint64(len(*frames)), all[1].count.forged.Load(), "from another station they are forged")
	fresh := s.member("node-9", Config{})
	for range 50 {
		replay(same)
		s.run(time.Millisecond)
	}
	require.Zero(t, fresh.peer("node-0"), "it cannot prove that it is alive now")
	require.NotZero(t, fresh.count.unproven.Load())
	require.Zero(t, all[1].count.isolations.Load())

	// Without the key nothing can be made.
	before := all[1].core.report()
	for _, k := range []*codec{newTestCodec(t, "l2vip", []byte("another key, just as long as it")), newTestCodec(t, "l2vip"), newTestCodec(t, "other", key)} {
		spy.inject(1, all[2].hw(1), group, k.append(nil, toAll(all[2].hw(1)), &frame{sender: []byte("node-2"), instance: all[2].instance, link: 1, sequence: 1 << 60, kind: kindLeave}))
		spy.inject(1, spy.hw(1), group, k.append(nil, toAll(spy.hw(1)), &frame{sender: []byte("node-7"), instance: 1, sequence: 1, kind: kindBeat, interval: time.Millisecond, holds: true}))
	}
	for _, b := range [][]byte{nil, {1}, []byte(magic), binary.BigEndian.AppendUint16(append([]byte(magic), major), 600)} {
		spy.inject(1, spy.hw(1), group, b)
	}
	s.run(2 * time.Millisecond)
	after := all[1].core.report()
	require.Equal(t, before.Links, after.Links)
	require.Len(t, after.Peers, len(before.Peers))
	require.Equal(t, Up, all[1].row("node-2", 1).State)
	require.NotZero(t, all[1].count.forged.Load())
	require.NotZero(t, all[1].count.malformed.Load())
	require.NotZero(t, all[1].count.foreign.Load())
}

// What is sent back to where it came from is no sign of life.
func TestReflections(t *testing.T) {
	s, all := keyed(t, 30, 2)
	spy := s.station("spy")
	for _, h := range all {
		h.tap = func(link int, to hardwareAddr, payload []byte) {
			spy.inject(link, h.hw(link), to, slices.Clone(payload))
		}
	}
	s.run(time.Second)
	require.NotZero(t, all[0].count.reflected.Load())
	require.NotZero(t, all[1].count.replayed.Load())
	require.Empty(t, all[0].core.report().Namesakes)
	s.hosts[2].off, all[1].cut = true, true // the gateway
	s.run(time.Second)
	require.True(t, all[1].linkReport(1).Isolated)
}

// A member that is cut off on one link is not kept alive there by what it sends on the
// other, even if that is carried over at once.
func TestFramesOfAnotherLink(t *testing.T) {
	s, all := keyed(t, 31, 3, 1, 2)
	spy := s.station("spy", 1, 2)
	all[0].cutOn = 2
	all[0].tap = func(link int, to hardwareAddr, payload []byte) {
		if link == 1 && to == group {
			spy.inject(2, all[0].hw(2), group, slices.Clone(payload))
			spy.inject(2, all[0].hw(1), group, slices.Clone(payload))
		}
	}
	s.run(3 * time.Second)
	require.Equal(t, Up, all[1].row("node-0", 1).State)
	require.Equal(t, Unreachable, all[1].row("node-0", 2).State)
}

// A member whose Ethernet address changes proves that it is alive there.
func TestAnotherEthernetAddress(t *testing.T) {
	s, all := keyed(t, 32, 3)
	before := all[1].row("node-0", 1).HardwareAddr
	all[0].number = 77
	all[0].state.Links[0].HardwareAddr = all[0].hw(1)
	all[0].set()
	s.run(8 * time.Millisecond)
	require.NotEqual(t, before, all[1].row("node-0", 1).HardwareAddr)
	require.Equal(t, Up, all[1].row("node-0", 1).State)
	require.Empty(t, all[1].given)
}

func TestChallengesAreAnsweredAtABoundedRate(t *testing.T) {
	s, all := members(t, 33, 2, Config{})
	spy := s.station("spy")
	k := newTestCodec(t, "l2vip")
	proofs := 0
	all[0].tap = func(_ int, to hardwareAddr, payload []byte) {
		var f frame
		require.NoError(t, k.parse(payload, route{all[0].hw(1), to}, &f))
		if f.kind == kindProof && to == spy.hw(1) {
			proofs++
		}
	}
	challenge := func(subject string, about uint64, sequence uint64) {
		spy.inject(1, spy.hw(1), group, k.append(nil, toAll(spy.hw(1)), &frame{
			sender: []byte("made-up"), instance: 1, sequence: sequence, kind: kindChallenge, nonce: 1, subject: []byte(subject), about: about,
		}))
		s.run(time.Millisecond)
	}
	challenge("node-0", all[0].instance+1, 1)
	challenge("node-1", all[0].instance, 1)
	require.Zero(t, proofs, "others were asked")
	for i := range 900 {
		challenge("node-0", all[0].instance, uint64(i+1))
	}
	require.Equal(t, provePerSecond, proofs)
	require.NotZero(t, all[0].count.unanswered.Load())
	s.run(time.Second)
	challenge("node-0", all[0].instance, 1000)
	require.Equal(t, provePerSecond+1, proofs)
	require.LessOrEqual(t, len(all[0].core.proofs), maxProofs)
}

// However many names are made up, memory is bounded, and the members that were known
// stay.
func TestManyNames(t *testing.T) {
	s, all := members(t, 10, 3, Config{})
	spy := s.station("spy")
	k := newTestCodec(t, "l2vip")
	for i := range 5000 {
		hw := hardwareAddr{2, 9, 0, 0, byte(i >> 8), byte(i)}
		f := &frame{sender: fmt.Append(nil, "made-up-", i), instance: 1, sequence: 1, kind: kindBeat, interval: time.Second, holds: true}
		if i%2 == 0 {
			f.kind, f.subject, f.about = kindChallenge, []byte("node-1"), all[1].instance
		}
		spy.inject(1, hw, group, k.append(nil, toAll(hw), f))
		s.run(100 * time.Microsecond)
		require.LessOrEqual(t, len(all[1].core.links[0].pending), maxMembers)
		require.LessOrEqual(t, len(all[1].core.proofs), maxProofs)
	}
	require.Len(t, all[1].core.report().Peers, 2)
	require.NotZero(t, all[1].count.overflow.Load())
	require.Empty(t, all[1].given)
	fresh := s.member("fresh", Config{})
	s.run(time.Second)
	require.Len(t, fresh.core.report().Peers, 3)
}

// Members that rotate their secrets in three steps, in whatever order and however late,
// hear each other all the time; and one that was left behind at the end is not heard.
func TestRotation(t *testing.T) {
	former, next := key, []byte("the next secret")
	s, all := keyed(t, 37, 3)
	for i, step := range []*election.Keys{keysOf(former, next), keysOf(next, former), keysOf(next)} {
		for n := range all {
			all[(n+i)%3].keys = step
			s.run(10 * time.Second)
		}
		for _, h := range all {
			require.Empty(t, h.given, "step %d", i)
			require.Zero(t, h.count.forged.Load(), "step %d", i)
			require.Len(t, h.core.report().Peers, 2)
		}
	}
	all[2].keys = keysOf(former)
	s.run(time.Second)
	require.Equal(t, Stalled, all[0].row("node-2", 1).State, "its kernel answers, and its frames are forged")
	require.NotZero(t, all[0].count.forged.Load())
	require.Equal(t, Up, all[0].row("node-1", 1).State)
}

// One station can't fill the tables with names, and what it has not proven is forgotten.
func TestManyNamesOfOneStation(t *testing.T) {
	s, all := members(t, 12, 2, Config{})
	spy := s.station("spy")
	k := newTestCodec(t, "l2vip")
	for i := range 100 {
		f := &frame{sender: fmt.Append(nil, "made-up-", i), instance: 1, sequence: 1, kind: kindBeat, interval: time.Second}
		spy.inject(1, spy.hw(1), group, k.append(nil, toAll(spy.hw(1)), f))
		s.run(time.Millisecond)
		require.LessOrEqual(t, len(all[0].core.links[0].pending), maxAtStation)
		all[0].core.admit(s.now, all[0].core.links[0], spy.hw(1), f)
	}
	require.Len(t, all[0].core.report().Peers, 1+maxAtStation)
	require.NotZero(t, all[0].count.overflow.Load())
	s.run(2 * time.Second)
	spy.inject(1, spy.hw(1), group, k.append(nil, toAll(spy.hw(1)), &frame{sender: []byte("z"), instance: 1, sequence: 1, kind: kindBeat, interval: time.Second}))
	s.run(time.Millisecond)
	require.Len(t, all[0].core.links[0].pending, 1)
}

// A frame that was overtaken by a few others counts, if it is not a beat.
func TestOvertakenFrames(t *testing.T) {
	s, all := keyed(t, 36, 2)
	var held []func()
	all[0].tap = nil
	late := func(f *frame) func() {
		c := all[0].core
		c.sequence++
		f.sender, f.instance, f.sequence, f.link = c.name, c.instance, c.sequence, 1
		payload := c.codec.append(nil, toAll(all[0].hw(1)), f)
		return func() { all[0].inject(1, all[0].hw(1), group, payload) }
	}
	held = append(held,
		late(&frame{kind: kindBeat, interval: time.Millisecond, isolated: true}),
		late(&frame{kind: kindPart, revision: 1 << 40, total: 2, data: []byte("x")}))
	s.run(10 * time.Millisecond)
	for _, f := range held {
		f()
		f() // again it is a replay
	}
	replayed := all[1].count.replayed.Load()
	s.run(time.Millisecond)
	require.False(t, all[1].row("node-0", 1).Isolated)
	require.EqualValues(t, 1, all[1].count.overtaken.Load())
	require.Equal(t, replayed+2, all[1].count.replayed.Load())
	require.EqualValues(t, 1<<40, all[1].core.find([]byte("node-0"), all[0].instance).transfer.revision)
}

// Members that are alive stay when more come than are remembered; of the others the one
// that was silent for longest goes.
func TestMoreMembersThanAreRemembered(t *testing.T) {
	s := newSimulation(t, 34)
	a := s.member("a", Config{})
	admit := func(name string, hw byte) {
		f := &frame{sender: []byte(name), instance: uint64(hw) + 1, sequence: 1, link: 1}
		a.core.admit(s.now, a.core.links[0], hardwareAddr{2, 8, 0, 0, 0, hw}, f)
	}
	for i := range maxMembers {
		admit(fmt.Sprint("node-", i), byte(i))
		s.run(time.Microsecond)
	}
	require.Len(t, a.core.members, maxMembers)
	admit("late", 1)
	require.Zero(t, a.peer("late"), "all others are alive")
	require.NotZero(t, a.count.overflow.Load())

	leave := func() {
		for _, m := range a.core.members {
			a.core.change(s.now, m, m.rows[0], Left, hasLeft)
		}
	}
	leave()
	admit("late", 1)
	require.Len(t, a.core.members, maxMembers)
	require.NotZero(t, a.peer("late"))
	require.Zero(t, a.peer("node-0"), "it was silent for longest")
	require.NotZero(t, a.peer("node-1"))

	leave()
	s.run(forgetAfter + time.Minute)
	require.Zero(t, len(a.core.report().Peers), "they are forgotten")
	require.Zero(t, len(a.core.byName))
}

// A process that restarts before anything is noticed is a new one at once.
func TestAFastRestart(t *testing.T) {
	s, all := members(t, 7, 3, Config{})
	all[0].offer(5, true)
	s.run(time.Second)
	before := all[0].instance
	all[0].start(Config{})
	s.run(time.Millisecond)
	p := all[1].peer("node-0")
	require.Equal(t, all[0].instance, p.Instance)
	require.NotEqual(t, before, p.Instance)
	require.Nil(t, p.Offer, "what the former one offered is void")
	require.Empty(t, all[1].core.report().Namesakes)
	s.run(time.Second)
	require.False(t, all[1].linkReport(1).Isolated || all[1].linkReport(1).Unheard || all[0].linkReport(1).Unheard)
	require.Equal(t, Up, all[1].row("node-0", 1).State)
	require.True(t, all[1].peer("node-0").HoldsNothing)
	require.Empty(t, all[1].given)
	require.Zero(t, all[1].count.suspicions.Load(), "the former one is not missed")
}

func TestNamesakes(t *testing.T) {
	for _, key := range [][]byte{nil, key} {
		s := newSimulation(t, 35)
		s.key = key
		all := s.addMembers(2, Config{})
		s.station("gateway")
		all[0].hold(true)
		s.run(time.Second)
		clone := s.plug("clone")
		clone.node = "node-0"
		clone.start(Config{})
		s.run(time.Second)

		third := all[1].core.report()
		require.Equal(t, all[0].instance, all[1].peer("node-0").Instance, "the one that started first")
		require.Equal(t, []Namesake{{Node: "node-0", Instance: clone.instance, HardwareAddr: clone.hw(1), Addr: clone.addr(1)}}, third.Namesakes)
		require.Equal(t, []Namesake{{Node: "node-0", Instance: clone.instance, HardwareAddr: clone.hw(1), Addr: clone.addr(1)}}, all[0].core.report().Namesakes)
		require.Equal(t, []Namesake{{Node: "node-0", Instance: all[0].instance, HardwareAddr: all[0].hw(1), Addr: all[0].addr(1)}}, clone.core.report().Namesakes)
		require.Zero(t, clone.peer("node-0"), "its own name is no peer")
		require.Equal(t, Up, clone.row("node-1", 1).State)
		require.Empty(t, all[1].given)

		// When the first one dies the other is the member, and no namesake any more.
		all[0].off = true
		s.run(time.Second)
		require.Equal(t, clone.instance, all[1].peer("node-0").Instance)
		require.Empty(t, all[1].core.report().Namesakes)
		require.Empty(t, clone.core.report().Namesakes)
	}
}

// Two processes with one name at one station: each restart supersedes the former, but
// one that goes on beating is alive.
func TestTwoProcessesOfOneNameAtOneStation(t *testing.T) {
	s, all := members(t, 36, 2, Config{})
	twin := s.plug("twin")
	twin.node, twin.number = "node-0", all[0].number
	s.lost = func(from, to *host) bool {
		return from.hw(1) == to.hw(1)
	}
	twin.start(Config{})
	s.run(time.Second)
	require.Equal(t, all[0].instance, all[1].peer("node-0").Instance)
	require.Len(t, all[1].core.report().Namesakes, 1)
}

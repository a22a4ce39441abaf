package heartbeat

import (
	"encoding/binary"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestAHolderThatIsCutOffIsDead(t *testing.T) {
	for n := 2; n <= 5; n++ {
		s, all := members(t, 1, n, Config{})
		require.Less(t, Config{}.Detection(), 15*time.Millisecond)
		all[0].cut = true
		s.run(Config{}.Detection() + 2*time.Millisecond)
		for _, h := range all[1:] {
			require.Equal(t, 1, h.deaths["node-0"], "%d members: %s", n, h.name)
		}
		s.run(time.Minute / 2)
		require.Empty(t, all[0].deaths, "it has heard nobody, and accuses nobody")

		// It returns, and is alive again; nobody accuses anybody.
		all[0].cut = false
		s.run(time.Second)
		for _, h := range all[1:] {
			require.Equal(t, 1, h.deaths["node-0"])
			require.False(t, h.core.picture()[0].Dead)
		}
	}
}

func TestAFollowerThatIsCutOffAccusesNobody(t *testing.T) {
	for n := 2; n <= 4; n++ {
		s, all := members(t, 2, n, Config{})
		all[1].cut = true
		s.run(5 * time.Second)
		require.True(t, all[1].core.picture()[0].Silent)
		require.False(t, all[1].core.picture()[0].Stalled, "who is cut off knows nothing of anybody")
		all[1].cut = false
		s.run(time.Second)
		all[1].deaf = true // only its receiver is broken
		s.run(5 * time.Second)
		for _, h := range all {
			require.Empty(t, h.deaths, h.name)
		}
		require.NotZero(t, all[1].count.vetoed.Load())
	}
}

func TestAProcessThatDoesNotRunIsNotDead(t *testing.T) {
	s, all := members(t, 3, 3, Config{})
	for range 20 {
		all[0].starved = s.now + 300*time.Millisecond // its kernel answers
		s.run(301 * time.Millisecond)
		require.Greater(t, all[0].core.interval(), DefaultInterval, "it announces a wider interval")
		s.run(time.Second)
		require.Equal(t, DefaultInterval, all[0].core.interval(), "for a while")
		require.False(t, all[1].core.picture()[0].Stalled, "it is heard again")
	}
	all[1].starved = s.now + time.Second // and a receiver that was late accuses nobody
	s.run(2 * time.Second)
	for _, h := range all {
		require.Empty(t, h.deaths, h.name)
	}
	require.NotZero(t, all[1].count.excused.Load())
}

func TestAProcessThatDoesNotRunAndDiesIsDead(t *testing.T) {
	s, all := members(t, 4, 3, Config{})
	all[0].starved = s.now + time.Hour
	s.run(time.Second)
	require.True(t, all[1].core.picture()[0].Stalled, "its kernel answers")
	all[0].off = true
	s.run(time.Second)
	require.Equal(t, 1, all[1].deaths["node-0"])
}

func TestAProcessThatDoesNotRunKeepsItsLease(t *testing.T) {
	const lease = time.Second
	s, all := members(t, 11, 3, Config{})
	all[0].lease = lease
	all[0].hold(true)
	s.run(time.Second)
	leased := func(h *host) bool { return h.core.picture()[0].Leased }
	require.True(t, leased(all[1]))

	all[0].starved = s.now + 5*time.Second
	s.run(lease)
	require.True(t, leased(all[1]))
	require.True(t, all[1].core.picture()[0].Stalled)
	s.run(2 * threshold(DefaultInterval, DefaultMisses))
	require.False(t, leased(all[1]), "it is over")
	s.run(5 * time.Second)
	require.True(t, leased(all[1]), "it runs again")

	// If its kernel does not answer, there is nothing to wait for.
	all[0].starved = s.now + time.Hour
	s.run(lease / 10)
	require.True(t, leased(all[1]))
	all[0].cut = true
	s.run(lease / 10)
	require.False(t, leased(all[1]))

	// Nor for who holds nothing.
	require.False(t, all[0].core.picture()[0].Leased)
	require.False(t, all[2].core.picture()[1].Leased)
}

func TestAProcessThatHasEndedIsGone(t *testing.T) {
	s, all := members(t, 12, 3, Config{})
	all[0].lease = time.Second
	all[0].hold(true)
	s.run(time.Second)
	all[0].ended = true
	s.run(Config{}.Detection() + 2*time.Millisecond)
	for _, h := range all[1:] {
		p := h.core.picture()[0]
		require.True(t, p.Gone)
		require.False(t, p.Leased || p.Dead)
		require.True(t, p.Stalled, "its kernel answers")
	}
	s.run(time.Second)
	require.True(t, all[1].core.picture()[0].Gone)
	all[0].ended = false
	all[0].start(Config{})
	s.run(time.Second)
	require.False(t, all[1].core.picture()[0].Gone)
	require.Empty(t, all[1].deaths)
}

func TestARefusalAloneIsNothing(t *testing.T) {
	s, all := members(t, 13, 3, Config{})
	refuse := func() { all[1].core.refused(netip.AddrPortFrom(all[0].addr, 7946).String()) }
	refuse()
	s.run(time.Second)
	require.False(t, all[1].core.picture()[0].Gone, "it beats")

	// Another member hears it.
	s.lost = func(from, to *host) bool { return from == all[0] && to == all[1] }
	for range 100 {
		s.run(time.Millisecond)
		refuse()
	}
	require.False(t, all[1].core.picture()[0].Gone)
}

func TestSeveralThatDieTogether(t *testing.T) {
	s, all := members(t, 5, 5, Config{})
	all[1].hold(true)
	s.run(time.Second)
	all[0].off, all[1].off, all[2].off = true, true, true
	s.run(100 * time.Millisecond)
	for _, h := range all[3:] {
		require.Equal(t, map[string]int{"node-0": 1, "node-1": 1}, h.deaths)
	}
}

func TestTwoMembersAndNobodyElse(t *testing.T) {
	s := newSegment(t, 6)
	a, b := s.member("a", Config{}), s.member("b", Config{})
	a.hold(true)
	s.run(time.Second)
	a.off = true
	s.run(time.Second)
	require.Empty(t, b.deaths, "b may be cut off itself: only the membership can tell")
}

func TestARestartedMemberIsANewOne(t *testing.T) {
	s, all := members(t, 7, 3, Config{})
	all[0].start(Config{})
	s.run(time.Second)
	require.Empty(t, all[1].deaths)
	require.False(t, all[1].core.peers["node-0"].holds)
	all[0].hold(true)
	s.run(time.Second)
	require.True(t, all[1].core.peers["node-0"].holds)
	require.Empty(t, all[1].deaths)
}

func TestAMemberThatLeavesIsNotMissed(t *testing.T) {
	s, all := members(t, 8, 3, Config{})
	all[0].core.leave()
	all[0].off = true
	s.run(time.Second)
	for _, h := range all[1:] {
		require.Empty(t, h.deaths)
	}
}

var key = []byte("a key of the cluster")

// Whoever records the frames of a member can't keep it alive, nor bring it back,
// nor use them against others that have just started.
func TestReplayedAndForgedFramesChangeNothing(t *testing.T) {
	c := Config{Key: key}
	s, all := members(t, 9, 3, c)
	spy := s.plug("spy")
	var recorded [][]byte
	spy.core, _ = newCore(Config{Cluster: "spy", Logger: slog.New(slog.DiscardHandler)}, "spy", 1, spy, s.random.Uint64, &spy.count)
	listen := true
	record := all[0].core.out
	all[0].core.out = tap{record, func(b []byte) {
		if listen {
			recorded = append(recorded, slices.Clone(b))
		}
	}}
	s.run(100 * time.Millisecond)
	listen = false
	require.NotEmpty(t, recorded)
	all[0].off = true
	for range 200 {
		for _, b := range recorded {
			spy.send(1, group, b)
		}
		s.run(time.Millisecond)
	}
	for _, h := range all[1:] {
		require.Equal(t, 1, h.deaths["node-0"], "replays don't keep it alive")
		require.NotZero(t, h.count.replayed.Load())
		require.True(t, h.core.peers["node-0"].state == dead, "nor bring it back")
	}
	fresh := s.member("node-9", c)
	for range 50 {
		for _, b := range recorded {
			spy.send(1, group, b)
		}
		s.run(time.Millisecond)
	}
	require.Nil(t, fresh.core.peers["node-0"], "it can't prove that it is alive now")
	require.NotZero(t, fresh.count.unproven.Load())

	// Without the key nothing can be made.
	foreign, err := newCodec(&Config{Cluster: DefaultCluster, Key: []byte("another key, as long")})
	require.NoError(t, err)
	open, err := newCodec(&Config{Cluster: DefaultCluster})
	require.NoError(t, err)
	other, err := newCodec(&Config{Cluster: "other", Key: key})
	require.NoError(t, err)
	before := all[1].core.picture()
	for _, k := range []*codec{foreign, open, other} {
		spy.send(1, group, k.append(nil, &frame{sender: "node-2", instance: 1 << 61, sequence: 1 << 60, kind: kindLeave}))
		spy.send(1, group, k.append(nil, &frame{sender: "node-7", instance: 1, sequence: 1, kind: kindBeat, interval: time.Millisecond, holds: true}))
	}
	for _, b := range [][]byte{nil, {1}, []byte(magic), binary.BigEndian.AppendUint16(append([]byte(magic), major), 600)} {
		spy.send(1, group, b)
	}
	s.run(10 * time.Millisecond)
	require.Equal(t, before, all[1].core.picture())
	require.NotZero(t, all[1].count.forged.Load())
	require.NotZero(t, all[1].count.malformed.Load())
	require.NotZero(t, all[1].count.foreign.Load()+all[1].count.forged.Load())
}

// tap is an output that shows what is sent.
type tap struct {
	output
	show func([]byte)
}

func (t tap) send(link int, to hardwareAddr, payload []byte) {
	t.show(payload)
	t.output.send(link, to, payload)
}

// However many names somebody makes up, memory is bounded, and those that were
// known stay.
func TestManyNames(t *testing.T) {
	s, all := members(t, 10, 3, Config{})
	spy := s.station("spy")
	k, err := newCodec(&Config{Cluster: DefaultCluster})
	require.NoError(t, err)
	for i := range 5000 {
		spy.send(1, group, k.append(nil, &frame{sender: fmt.Sprint("made-up-", i), instance: 1, sequence: 1, kind: kindBeat, interval: time.Second, holds: true}))
		s.run(100 * time.Microsecond)
	}
	require.LessOrEqual(t, len(all[1].core.suitors), maxPeers)
	require.Len(t, all[1].core.picture(), 2)
	require.NotZero(t, all[1].count.unknown.Load())
	require.Empty(t, all[1].deaths)
}

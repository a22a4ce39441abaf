package segment

import (
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const detection = 12 * time.Millisecond

func TestAHolderThatIsCutOffIsUnreachable(t *testing.T) {
	require.Equal(t, detection, Config{}.Detection())
	for n := 2; n <= 5; n++ {
		for _, v6 := range []bool{false, true} {
			s := newSimulation(t, 1)
			var all []*host
			for i := range n {
				h := s.plug([]string{"node-0", "node-1", "node-2", "node-3", "node-4"}[i])
				h.v6 = v6
				h.start(Config{})
				all = append(all, h)
			}
			s.station("gateway").v6 = v6
			all[0].hold(true)
			s.run(time.Second)
			all[0].cut = true
			s.run(detection + 2*time.Millisecond)
			for _, h := range all[1:] {
				require.Equal(t, Unreachable, h.row("node-0", 1).State, "%d members: %s", n, h.name)
				require.False(t, h.linkReport(1).Isolated)
			}
			s.run(time.Minute / 2)
			require.True(t, all[0].linkReport(1).Isolated, "it hears no station, and knows nothing of any")
			for _, h := range all[1:] {
				require.Equal(t, 1, h.given["node-0"])
			}

			// It returns, and is alive again; no member is given up.
			all[0].cut = false
			s.run(time.Second)
			require.False(t, all[0].linkReport(1).Isolated)
			for _, h := range all[1:] {
				require.Equal(t, 1, h.given["node-0"])
				require.Equal(t, Up, h.row("node-0", 1).State)
				require.Equal(t, Up, all[0].row(h.name, 1).State)
			}
		}
	}
}

func TestAFollowerThatIsCutOffIsIsolated(t *testing.T) {
	for n := 2; n <= 4; n++ {
		s, all := members(t, 2, n, Config{})
		all[1].cut = true
		s.run(5 * time.Second)
		require.True(t, all[1].linkReport(1).Isolated)
		require.False(t, all[1].linkReport(1).Unheard)
		for _, h := range all {
			if h != all[1] {
				require.Equal(t, Unreachable, all[1].row(h.name, 1).State)
				require.False(t, h.linkReport(1).Isolated)
			}
		}
		given := all[1].given[all[0].name]
		all[1].cut = false
		s.run(time.Second)
		require.False(t, all[1].linkReport(1).Isolated)
		require.Equal(t, given, all[1].given[all[0].name], "the end of isolation ends no member")
		all[1].deaf = true // only its receiver is broken
		s.run(5 * time.Second)
		require.True(t, all[1].linkReport(1).Isolated)
		for _, h := range all {
			if h != all[1] {
				require.Equal(t, Up, h.row("node-1", 1).State)
				require.True(t, h.row("node-1", 1).Isolated, "it says so")
				require.True(t, h.row("node-1", 1).Unheard)
				require.False(t, h.linkReport(1).Unheard, "isolated members do not count")
				if h != all[0] {
					require.Empty(t, h.given["node-0"])
				}
			}
		}
	}
}

// A frame that was heard when a member's beats were not yet missing is no reason to
// believe that it is that member which is cut off.
func TestACutBetweenTwoBeatsIsolates(t *testing.T) {
	for cut := range 40 {
		s, all := members(t, uint64(cut), 3, Config{})
		s.run(time.Duration(cut) * 5 * time.Millisecond / 2)
		all[1].cut = true
		for range 1000 {
			s.run(time.Millisecond)
			if r := all[1].row("node-0", 1).State; r == Unreachable {
				require.True(t, all[1].linkReport(1).Isolated)
			}
		}
		require.True(t, all[1].linkReport(1).Isolated)
	}
}

func TestAProcessThatDoesNotRunIsStalled(t *testing.T) {
	s, all := members(t, 3, 3, Config{})
	for range 20 {
		all[0].starved = s.now + 300*time.Millisecond // its kernel answers
		s.run(299 * time.Millisecond)
		require.Equal(t, Stalled, all[1].row("node-0", 1).State)
		s.run(2 * time.Millisecond)
		require.Greater(t, all[0].core.interval(), DefaultInterval, "it announces a wider interval")
		s.run(time.Second)
		require.Equal(t, DefaultInterval, all[0].core.interval(), "for a while")
		require.Equal(t, Up, all[1].row("node-0", 1).State, "it is heard again")
	}
	all[1].starved = s.now + time.Second // and a receiver that was late gives no member up
	s.run(2 * time.Second)
	for _, h := range all {
		require.Empty(t, h.given, h.name)
		require.Zero(t, h.count.isolations.Load())
	}
	require.NotZero(t, all[1].count.stalled.Load())
}

func TestAProcessThatDoesNotRunAndDiesIsUnreachable(t *testing.T) {
	s, all := members(t, 4, 3, Config{})
	all[0].starved = s.now + time.Hour
	s.run(time.Second)
	require.Equal(t, Stalled, all[1].row("node-0", 1).State, "its kernel answers")
	all[0].off = true
	s.run(time.Second)
	require.Equal(t, Unreachable, all[1].row("node-0", 1).State)
	require.Equal(t, 1, all[1].given["node-0"])
}

func TestAProcessThatDoesNotRunKeepsItsLease(t *testing.T) {
	const lease = time.Second
	s, all := members(t, 11, 3, Config{})
	all[0].state.Lease = lease
	all[0].hold(true)
	s.run(time.Second)
	leased := func(h *host) bool { return h.row("node-0", 1).Leased }
	require.True(t, leased(all[1]))

	all[0].starved = s.now + 5*time.Second
	s.run(lease)
	require.True(t, leased(all[1]))
	require.True(t, all[1].last.Peers[0].Rows[0].Leased)
	require.Equal(t, Stalled, all[1].row("node-0", 1).State)
	s.run(2 * patience(DefaultInterval, DefaultMisses))
	require.False(t, leased(all[1]), "it is over")
	require.False(t, all[1].last.Peers[0].Rows[0].Leased, "and told")
	s.run(5 * time.Second)
	require.True(t, leased(all[1]), "it runs again")

	// If its kernel does not answer, there is nothing to wait for.
	all[0].starved = s.now + time.Hour
	s.run(lease / 10)
	require.True(t, leased(all[1]))
	all[0].cut = true
	s.run(lease / 10)
	require.False(t, leased(all[1]))

	// Nor for one that holds nothing.
	require.False(t, all[2].row("node-1", 1).Leased)
}

func TestAProcessThatHasEnded(t *testing.T) {
	s, all := members(t, 12, 3, Config{})
	all[0].state.Lease = time.Second
	all[0].hold(true)
	s.run(time.Second)
	all[0].ended = true
	s.run(detection + 2*time.Millisecond)
	for _, h := range all[1:] {
		require.Equal(t, Ended, h.row("node-0", 1).State)
		require.True(t, h.row("node-0", 1).Leased, "its kernel may answer for what it held")
	}
	s.run(time.Second)
	require.Equal(t, Ended, all[1].row("node-0", 1).State)
	all[0].ended = false
	all[0].start(Config{})
	s.run(time.Second)
	require.Equal(t, Up, all[1].row("node-0", 1).State)
}

func TestAClosedPortAloneIsNothing(t *testing.T) {
	s, all := members(t, 13, 3, Config{})
	refuse := func() { all[1].core.portClosed(netip.AddrPortFrom(all[0].addr(1), testPort)) }
	refuse()
	s.run(time.Second)
	require.Equal(t, Up, all[1].row("node-0", 1).State, "it beats")

	// Another member hears it.
	s.lost = func(from, to *host) bool { return from == all[0] && to == all[1] }
	for range 100 {
		s.run(time.Millisecond)
		refuse()
		require.NotEqual(t, Ended, all[1].row("node-0", 1).State)
	}
}

func TestSeveralThatDieTogether(t *testing.T) {
	s, all := members(t, 5, 5, Config{})
	all[1].hold(true)
	s.run(time.Second)
	all[0].off, all[1].off, all[2].off = true, true, true
	s.run(100 * time.Millisecond)
	for _, h := range all[3:] {
		require.Equal(t, map[string]int{"node-0": 1, "node-1": 1}, h.given)
	}
}

func TestTwoMembersAndNoOtherStation(t *testing.T) {
	s := newSimulation(t, 6)
	a, b := s.member("a", Config{}), s.member("b", Config{})
	a.hold(true)
	s.run(time.Second)
	require.False(t, b.linkReport(1).Isolated)
	a.off = true
	s.run(detection + 2*time.Millisecond)
	require.True(t, b.linkReport(1).Isolated, "it may be the one that is cut off")
	require.Equal(t, Unreachable, b.row("a", 1).State)
	require.True(t, b.core.links[0].capturing)

	// The first frame of any station ends that, and it is known that a is gone.
	g := s.station("gateway")
	s.run(provokeEvery + time.Millisecond)
	require.False(t, b.linkReport(1).Isolated)
	require.Equal(t, Suspect, b.row("a", 1).State, "it has the time to beat first")
	g.off = true
	s.run(time.Second)
	require.Equal(t, Unreachable, b.row("a", 1).State)
}

func TestAMemberThatLeaves(t *testing.T) {
	s, all := members(t, 8, 2, Config{})
	all[0].core.leave()
	all[0].off = true
	s.run(time.Millisecond)
	require.Equal(t, Left, all[1].row("node-0", 1).State)
	s.hosts[2].off = true // the gateway
	s.run(time.Minute)
	require.Equal(t, Left, all[1].row("node-0", 1).State)
	require.False(t, all[1].linkReport(1).Isolated, "there is nobody to hear")
	require.Zero(t, all[1].count.suspicions.Load())
}

// A beats, B does not hear it, and C does, if there is a C.
func TestAOneWayCutBetweenTwo(t *testing.T) {
	s, all := members(t, 20, 3, Config{})
	s.lost = func(from, to *host) bool { return from == all[0] && to == all[1] }
	for range 3000 {
		s.run(time.Millisecond)
		state := all[1].row("node-0", 1).State
		require.True(t, state == Up || state == Suspect, "another member hears it")
	}
	require.Equal(t, Up, all[1].row("node-0", 1).State)
	require.NotZero(t, all[1].count.vetoed.Load())
	require.True(t, all[0].row("node-1", 1).Unheard, "it says whom it hears")
	require.False(t, all[0].row("node-2", 1).Unheard)
	require.False(t, all[0].linkReport(1).Unheard)
	s.lost = func(*host, *host) bool { return false }
	s.run(time.Second)
	require.False(t, all[0].row("node-1", 1).Unheard)

	// Of two members and a gateway that both hear, the holder knows that it is mute.
	s, all = members(t, 21, 2, Config{})
	s.lost = func(from, to *host) bool { return from == all[0] && to == all[1] }
	s.run(detection + 5*time.Millisecond)
	require.Equal(t, Unreachable, all[1].row("node-0", 1).State)
	s.run(20 * time.Millisecond)
	require.True(t, all[0].linkReport(1).Unheard)
	require.False(t, all[0].linkReport(1).Isolated)
	require.False(t, all[1].linkReport(1).Unheard)
	s.lost = func(*host, *host) bool { return false }
	s.run(time.Second)
	require.False(t, all[0].linkReport(1).Unheard)
}

func TestAMuteHolderKnowsIt(t *testing.T) {
	for n := 2; n <= 4; n++ {
		s, all := members(t, 22, n, Config{})
		all[0].mute = true
		s.run(detection + 20*time.Millisecond)
		require.True(t, all[0].linkReport(1).Unheard, "%d members", n)
		for _, h := range all[1:] {
			require.Equal(t, Unreachable, h.row("node-0", 1).State)
			require.False(t, h.linkReport(1).Unheard)
			require.False(t, h.linkReport(1).Isolated)
		}
		all[0].mute = false
		s.run(time.Second)
		require.False(t, all[0].linkReport(1).Unheard)
	}
}

func TestACutBetweenTwoFollowersChangesNothing(t *testing.T) {
	s, all := members(t, 23, 4, Config{})
	s.lost = func(from, to *host) bool {
		return from == all[1] && to == all[2] || from == all[2] && to == all[1]
	}
	s.run(10 * time.Second)
	for _, h := range all {
		require.Empty(t, h.given)
		require.False(t, h.linkReport(1).Unheard || h.linkReport(1).Isolated)
	}
	require.Equal(t, Up, all[1].row("node-2", 1).State)
}

// A member that is heard on one of two links is unreachable on the other.
func TestEachLinkIsJudgedAlone(t *testing.T) {
	s, all := members(t, 24, 3, Config{}, 1, 2)
	all[0].cutOn = 2
	s.run(2 * time.Second)
	require.Equal(t, Up, all[1].row("node-0", 1).State)
	require.Equal(t, Unreachable, all[1].row("node-0", 2).State)
	require.True(t, all[0].linkReport(2).Isolated)
	require.False(t, all[0].linkReport(1).Isolated)
	require.Empty(t, all[1].given)
}

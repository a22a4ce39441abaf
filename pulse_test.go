package l2vip

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/l2vip/l2vip/election"
	"github.com/l2vip/l2vip/election/heartbeat"
)

func TestPulse(t *testing.T) {
	offers := func(revision uint64) []election.Offer {
		return []election.Offer{{Node: "a", Instance: 1, Revision: revision}, {Node: "b", Instance: 1, Revision: 1}}
	}
	peers := func(dead bool) []heartbeat.Peer {
		return []heartbeat.Peer{{Node: "a", Dead: dead}, {Node: "b"}, {Node: "unknown", Dead: true}}
	}
	silent := func(p pulse, revision uint64) (names []string) {
		for _, o := range offers(revision) {
			if p.silent(&o) {
				names = append(names, o.Node)
			}
		}
		return names
	}
	s := &situation{now: 1}
	next := func(p pulse, dead bool, revision uint64) (pulse, *plan) {
		s.now++
		s.peers, s.others = peers(dead), offers(revision)
		after := &plan{}
		return s.pulse(after, p), after
	}
	p, _ := next(nil, false, 5)
	require.Empty(t, silent(p, 5))

	p, _ = next(p, true, 5)
	require.Equal(t, []string{"a"}, silent(p, 5))
	require.Empty(t, silent(p, 6), "a newer offer is believed")
	p, _ = next(p, true, 6)
	require.Empty(t, silent(p, 6), "and stays so, though it is not heard yet")
	p, _ = next(p, false, 6)
	require.Empty(t, p)

	// Heard again with the same offer: an exchange decides.
	p, _ = next(nil, true, 5)
	s.exchange = exchange{began: s.now, done: true}
	p, after := next(p, false, 5)
	require.Equal(t, []string{"a"}, silent(p, 5), "it was not heard yet when that began")
	require.NotZero(t, after.wake, "another one, but not at once")
	s.now += revivalPause
	p, after = next(p, false, 5)
	require.True(t, after.exchange)
	s.exchange = exchange{began: s.now, done: true}
	p, after = next(p, false, 5)
	require.False(t, after.exchange)
	require.Equal(t, []string{"a"}, silent(p, 5), "the other one may not have known more")
	require.NotZero(t, after.wake)
	s.now += revival
	p, _ = next(p, false, 5)
	require.Empty(t, silent(p, 5))

	// It falls silent once more: what it offers now is void again.
	p, _ = next(p, true, 5)
	require.Equal(t, []string{"a"}, silent(p, 5))

	// A member that the membership has lost is forgotten.
	s.others = offers(5)[1:]
	require.Empty(t, s.pulse(&plan{}, p))
}

func TestMembersThatBeatAreKept(t *testing.T) {
	b := election.Offer{Node: "b", Instance: 1, Entries: []election.Entry{{Addr: thisAddr, Service: "web", Holds: true}}}
	s := &situation{now: 1, peers: []heartbeat.Peer{{Node: "b", Instance: 7}}}
	p := &plan{others: []election.Offer{b}}
	next := func(d time.Duration, others ...election.Offer) []election.Offer {
		s.now += d
		s.others = others
		after := &plan{}
		after.others = s.members(after, p)
		p = after
		return p.others
	}
	void := election.Offer{Node: "b"}
	require.Equal(t, []election.Offer{void}, next(0, void), "the membership has never lost it: it was started again")

	p = &plan{others: []election.Offer{b}}
	require.Equal(t, []election.Offer{b}, next(0))
	require.Equal(t, keptFor, p.wake-s.now)
	require.Equal(t, []election.Offer{b}, next(time.Second, void), "found again, but not what it offers")
	require.Equal(t, []election.Offer{b}, next(time.Second))
	require.Empty(t, next(keptFor))
	require.Empty(t, next(0), "once")

	for name, change := range map[string]func(*heartbeat.Peer){
		"silent":    func(p *heartbeat.Peer) { p.Silent = true },
		"dead":      func(p *heartbeat.Peer) { p.Dead = true },
		"restarted": func(p *heartbeat.Peer) { p.Instance++ },
	} {
		p = &plan{others: []election.Offer{b}}
		s.peers = []heartbeat.Peer{{Node: "b", Instance: 7}}
		require.Len(t, next(0), 1)
		change(&s.peers[0])
		require.Empty(t, next(0), name)
	}
}

func TestClaimThatOnlyTheMembershipAsksForIsIsolated(t *testing.T) {
	silent := heartbeat.Peer{Node: "b", Holds: true, Silent: true}
	dead, stalled := silent, silent
	dead.Dead, stalled.Stalled = true, true
	for _, tt := range []struct {
		name     string
		peers    []heartbeat.Peer
		isolated bool
	}{
		{"it may be this node that is cut off", []heartbeat.Peer{silent}, true},
		{"others miss it too", []heartbeat.Peer{dead}, false},
		{"its kernel answers", []heartbeat.Peer{stalled}, false},
		{"no heartbeats", nil, false},
	} {
		w := newWorld(t)
		w.other(func(e *election.Entry) { e.Holds, e.Term = true, 7 })
		w.turn(0)
		w.others, w.peers = nil, tt.peers
		require.True(t, w.turn(0).holds)
		require.Equal(t, tt.isolated, w.plan.offer.Entries[0].Isolated, tt.name)
		w.turn(doubted - 1)
		require.Equal(t, tt.isolated, w.plan.offer.Entries[0].Isolated, "until the announcer knows whether it hears anybody")
		w.turn(1)
		require.False(t, w.plan.offer.Entries[0].Isolated)
	}
}

func TestSilentMembersAreNotSeen(t *testing.T) {
	s := &situation{others: []election.Offer{{Node: "b"}, {Node: "c"}, {Node: "d"}}}
	require.Equal(t, 4, s.heard(), "without heartbeats the membership counts")
	s.peers = []heartbeat.Peer{{Node: "b", Silent: true}, {Node: "c", Dead: true}, {Node: "e", Silent: true}}
	require.Equal(t, 3, s.heard(), "a dead one still counts: the dead one sees this node as well")
}

func TestHolderThatIsHeardAgainMayBecomeAMember(t *testing.T) {
	w := newWorld(t)
	w.other(func(e *election.Entry) { e.Holds, e.Term = true, 7 })
	w.turn(0)
	w.others, w.peers = nil, []heartbeat.Peer{{Node: "b", Holds: true}}
	w.plan.others = nil // it was lost while it was silent
	require.False(t, w.turn(0).holds)
	require.Equal(t, returning, w.plan.wake-w.now)
	require.False(t, w.turn(returning-1).holds)
	require.True(t, w.turn(1).holds)
}

package segment

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/l2vip/l2vip/election"
)

func requireOffer(t *testing.T, want *host, at *host) {
	t.Helper()
	p := at.peer(want.name)
	require.NotNil(t, p.Offer, "%s knows %+v", at.name, p)
	require.Equal(t, want.state.Offer.Revision, p.Offer.Revision)
	require.Equal(t, want.state.Offer, *p.Offer)
	require.True(t, p.HoldsAsOffered)
	require.Equal(t, p.Offer.Revision, p.Revision)
}

func TestOffersTravel(t *testing.T) {
	s, all := members(t, 40, 3, Config{})
	for _, n := range []int{0, 1, 20, 100, 1000, 10_000} {
		all[1].offer(n, n > 1)
		s.run(time.Millisecond)
		if n < 20 {
			requireOffer(t, all[1], all[0]) // with the first beat, without being asked for
		}
		s.run(200 * time.Millisecond)
		for _, h := range []*host{all[0], all[2]} {
			requireOffer(t, all[1], h)
			require.Equal(t, n <= 1, h.peer("node-1").HoldsNothing)
		}
	}
	require.Less(t, all[1].count.served.Load(), uint64(2000), "a part that all of them want is sent once")
}

func TestOffersTravelThoughPartsAreLost(t *testing.T) {
	for seed := range uint64(10) {
		s, all := members(t, seed, 3, Config{})
		s.lost = func(*host, *host) bool { return s.random.IntN(100) < 10 }
		all[0].offer(2000, true)
		s.run(5 * time.Second)
		s.lost = func(*host, *host) bool { return false }
		s.run(100 * time.Millisecond)
		for _, h := range all[1:] {
			requireOffer(t, all[0], h)
		}
	}
}

func TestAnOfferThatChangesOnItsWay(t *testing.T) {
	s, all := members(t, 41, 3, Config{})
	for i := range 50 {
		all[0].offer(1000+i, true)
		s.run(time.Duration(s.random.IntN(3000)) * time.Microsecond)
		for _, h := range all[1:] {
			if p := h.peer("node-0"); p.Offer != nil && p.HoldsAsOffered {
				require.Equal(t, p.Revision, p.Offer.Revision)
			}
		}
	}
	s.run(100 * time.Millisecond)
	for _, h := range all[1:] {
		requireOffer(t, all[0], h)
		require.Zero(t, h.count.badOffers.Load())
	}
}

// What a member holds and what it offers are seen to change together.
func TestOfferAndDigestChangeTogether(t *testing.T) {
	s, all := members(t, 42, 2, Config{})
	for i := range 20 {
		all[0].hold(i%2 == 0)
		for range 30 {
			s.run(20 * time.Microsecond)
			p := all[1].peer("node-0")
			require.True(t, p.HoldsAsOffered)
			require.Equal(t, p.HoldsNothing, !p.Offer.Entries[0].Holds)
		}
	}
}

func TestAnOfferWithoutRevisionIsNotSent(t *testing.T) {
	s := newSimulation(t, 43)
	all := s.addMembers(2, Config{})
	s.run(time.Second)
	require.Nil(t, all[1].peer("node-0").Offer)
	require.True(t, all[1].peer("node-0").HoldsNothing)
	require.Zero(t, all[0].count.served.Load())
}

// An offer of another node or revision is not taken, and is not asked for again.
func TestBadOffers(t *testing.T) {
	s, all := members(t, 44, 2, Config{})
	requests := func() uint64 { return all[1].count.sent.Load() }
	for _, change := range []func(*election.Offer){
		func(o *election.Offer) { o.Node = "node-7" },
		func(o *election.Offer) { o.Instance++ },
	} {
		all[0].state.Offer.Revision++
		o := all[0].state.Offer
		change(&all[0].state.Offer)
		all[0].set()
		all[0].state.Offer = o
		before := all[1].count.badOffers.Load()
		s.run(10 * time.Millisecond)
		require.Equal(t, before+1, all[1].count.badOffers.Load())
		require.False(t, all[1].peer("node-0").Offer.Revision == o.Revision)
		require.Equal(t, o.Revision, all[1].peer("node-0").Revision)
	}
	count := requests()
	s.run(time.Second)
	require.Less(t, requests()-count, uint64(20), "only beats")
}

// What all members offer together is bounded, however many a stranger makes up, and the
// offers of those that were there before are kept.
func TestOffersOfAllMembersAreBounded(t *testing.T) {
	s, all := members(t, 45, 2, Config{})
	c := all[1].core
	for i := range 100 {
		f := &frame{sender: fmt.Append(nil, "made-up-", i), instance: 1, sequence: 1, link: 1}
		c.admit(s.now, c.links[0], hardwareAddr{2, 8, 0, 0, 0, byte(i)}, f)
		m := c.find(f.sender, 1)
		c.takePart(s.now, m, &frame{kind: kindPart, revision: 5, total: MaxOffer, data: make([]byte, partLen)})
	}
	var bytes int
	for _, m := range c.members {
		bytes += m.transfer.total
		require.LessOrEqual(t, len(m.transfer.data), partLen)
	}
	require.LessOrEqual(t, bytes, maxOffers+100*partLen)
	require.NotZero(t, all[1].count.overflow.Load())
	requireOffer(t, all[0], all[1])
}

func TestAMemberThatIsFenced(t *testing.T) {
	s, all := members(t, 45, 2, Config{})
	valid := true
	all[0].state.Valid = func() bool { return valid }
	all[0].state.Lease = time.Second
	all[0].hold(true)
	s.run(10 * time.Millisecond)
	require.True(t, all[1].row("node-0", 1).Leased)
	valid = false
	s.run(3 * time.Millisecond)
	p := all[1].peer("node-0")
	require.True(t, p.Fenced)
	require.True(t, p.HoldsNothing)
	require.False(t, p.HoldsAsOffered)
	require.False(t, p.Rows[0].Leased)
	require.Equal(t, DefaultInterval, p.Interval, "it beats as before")
	valid = true
	s.run(3 * time.Millisecond)
	p = all[1].peer("node-0")
	require.True(t, p.HoldsAsOffered && !p.Fenced && p.Rows[0].Leased)
}

func TestEpoch(t *testing.T) {
	s, all := members(t, 46, 3, Config{})
	all[1].state.Epoch = 7
	all[1].set()
	s.run(3 * time.Millisecond)
	require.Equal(t, uint64(7), all[1].peer("node-0").Epoch)
	require.Equal(t, uint64(0), all[1].peer("node-2").Epoch, "it beats slowly")
	reported := all[1].reports
	s.run(100 * time.Millisecond)
	require.Equal(t, uint64(7), all[1].peer("node-2").Epoch)
	require.Greater(t, all[1].reports, reported)

	// As long as something may lie unread there is no new epoch.
	all[1].state.Epoch = 8
	all[1].said = prepare(all[1].state, all[1].said)
	all[1].core.set(s.now, all[1].said, all[1].state.Links)
	all[1].core.advance(s.now, false)
	require.Equal(t, uint64(7), all[1].core.epoch)
	all[1].core.advance(s.now, true)
	require.Equal(t, uint64(8), all[1].core.epoch)
}

// The report is not made anew while nothing changes.
func TestNothingNewNoReport(t *testing.T) {
	s, all := members(t, 47, 3, Config{})
	before := all[1].reports
	s.run(10 * time.Second)
	require.Equal(t, before, all[1].reports)
}

// A link that goes takes what was known there with it, and not the members.
func TestALinkThatGoesAndComes(t *testing.T) {
	s, all := members(t, 48, 3, Config{}, 1, 2)
	links := all[1].state.Links
	all[1].state.Links = links[:1]
	all[1].set()
	s.run(10 * time.Millisecond)
	require.Len(t, all[1].core.report().Links, 1)
	require.Len(t, all[1].peer("node-0").Rows, 1)
	all[1].state.Links = nil
	all[1].set()
	s.run(time.Second)
	require.Empty(t, all[1].core.report().Links)
	p := all[1].peer("node-0")
	require.Empty(t, p.Rows)
	require.NotNil(t, p.Offer)

	since := s.now
	all[1].state.Links = links
	all[1].set()
	s.run(20 * time.Millisecond)
	require.GreaterOrEqual(t, all[1].linkReport(1).Since, since)
	require.Equal(t, Up, all[1].row("node-0", 1).State)
	requireOffer(t, all[0], all[1])
}

// Everything is known of everybody soon, though all start at once.
func TestManyMembers(t *testing.T) {
	const n, addresses = 50, 1000
	s := newSimulation(t, 49)
	all := s.addMembers(n, Config{Interval: 20 * time.Millisecond})
	for i, h := range all {
		h.offer(addresses, i%2 == 0)
	}
	s.run(time.Second)
	for _, h := range all {
		r := h.core.report()
		require.Len(t, r.Peers, n-1)
		for _, p := range r.Peers {
			require.NotNil(t, p.Offer, "%s of %s", h.name, p.Node)
			require.Len(t, p.Offer.Entries, addresses)
			require.True(t, p.HoldsAsOffered)
			require.False(t, p.Rows[0].Unheard)
		}
		require.Empty(t, h.given)
	}

	// Everything changes again, and a member that holds dies meanwhile.
	for _, h := range all {
		h.offer(addresses+1, false)
	}
	all[0].off = true
	s.run(time.Second)
	for _, h := range all[1:] {
		for _, p := range h.core.report().Peers {
			if p.Node == all[0].name {
				require.Equal(t, Unreachable, p.Rows[0].State)
			} else {
				require.Len(t, p.Offer.Entries, addresses+1, fmt.Sprint(h.name, p.Node))
			}
		}
	}
}

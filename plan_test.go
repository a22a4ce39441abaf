package l2vip

import (
	"context"
	"math"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/l2vip/l2vip/announce"
	"github.com/l2vip/l2vip/election"
	"github.com/l2vip/l2vip/health"
)

// world is a situation that a test changes, and the plans that follow.
type world struct {
	*testing.T
	situation
	plan *plan
}

var thisAddr = netip.MustParseAddr("192.0.2.1")

// newWorld is the world of node "a", alone, joined and healthy.
func newWorld(t *testing.T) *world {
	config, err := Config{
		Name: "a", Membership: Alone, MinMembers: 1, Announcer: idle{},
		Services: []Service{{Name: "web", Addresses: []netip.Addr{thisAddr}}},
	}.validated()
	require.NoError(t, err)
	ro, err := config.newRoster(config.Services)
	require.NoError(t, err)
	w := &world{T: t, plan: &plan{positions: make([]position, 1)}}
	w.situation = situation{
		now: time.Second, config: &config, roster: ro, joined: true,
		health: map[string]health.State{"web": {Ready: true}},
	}
	w.fact(func(*announce.Address) {})
	return w
}

// idle is an Announcer that does nothing.
type idle struct{}

func (idle) Run(context.Context, func(announce.Facts)) error { return nil }
func (idle) Set([]announce.Assignment) error                 { return nil }
func (idle) Renew(time.Duration)                             {}

// fact changes what the announcer reports of the address.
func (w *world) fact(change func(*announce.Address)) {
	f := announce.Address{Addr: thisAddr, Links: []string{"eth0"}}
	if a := w.plan.assignments; len(a) > 0 {
		f.Mode, f.Claim = a[0].Mode, a[0].Claim
	}
	if before := w.facts.Addresses; len(before) > 0 {
		f.Sightings = before[0].Sightings
	}
	change(&f)
	w.facts = announce.Facts{Addresses: []announce.Address{f}}
}

// sight makes the announcer report that a station claims the address.
func (w *world) sight(station election.HardwareAddr) {
	w.fact(func(f *announce.Address) { f.Rival, f.Sightings = station[:], f.Sightings+1 })
}

// The hardware addresses of member "b" and of a stranger.
var (
	memberB  = election.HardwareAddr{2, 0, 0, 0, 0, 0xb}
	stranger = election.HardwareAddr{2, 0, 0, 0, 0, 9}
)

// other makes "b" the only other member, with what change does to its entry.
func (w *world) other(change func(*election.Entry)) {
	e := election.Entry{Addr: thisAddr, Service: "web"}
	change(&e)
	w.others = []election.Offer{{Node: "b", Instance: 1, Members: 2, Hardware: []election.HardwareAddr{memberB}, Entries: []election.Entry{e}}}
}

// turn makes the next plan, after d, and returns what it does about the address.
func (w *world) turn(d time.Duration) *position {
	w.now += d
	w.plan = w.next(w.plan)
	return &w.plan.positions[0]
}

// claimed is the world in which "a" has claimed the address.
func claimed(t *testing.T) *world {
	w := newWorld(t)
	w.turn(0)
	w.fact(func(f *announce.Address) { f.Probe = announce.Clear })
	require.True(t, w.turn(0).holds)
	return w
}

func TestFirstClaimIsProbed(t *testing.T) {
	w := newWorld(t)
	pos := w.turn(0)
	require.False(t, pos.holds)
	require.Equal(t, announce.Probe, w.plan.assignments[0].Mode)

	w.fact(func(f *announce.Address) { f.Probe, f.Claim = announce.Clear, f.Claim-1 })
	require.False(t, w.turn(0).holds, "the outcome of an earlier probe says nothing")
	w.fact(func(f *announce.Address) { f.Probe = announce.Clear })
	pos = w.turn(0)
	require.True(t, pos.holds)
	require.EqualValues(t, 1, pos.term)
	require.Equal(t, announce.Answer, w.plan.assignments[0].Mode)
	require.True(t, w.plan.offer.Entries[0].Holds)
}

func TestTakeoverIsNotProbed(t *testing.T) {
	w := newWorld(t)
	w.other(func(e *election.Entry) { e.Holds, e.Term = true, 7 })
	require.False(t, w.turn(0).probing)
	w.others = nil
	pos := w.turn(0)
	require.True(t, pos.holds)
	require.EqualValues(t, 8, pos.term)
	require.Empty(t, pos.from)
}

func TestHandOverIsTakenInSightOfTheHolder(t *testing.T) {
	w := newWorld(t)
	w.other(func(e *election.Entry) { e.Holds, e.Term, e.Reason = true, 7, election.Draining })
	pos := w.turn(0)
	require.True(t, pos.holds)
	require.Equal(t, "b", pos.from)
	require.True(t, pos.contested, "b still answers")
	claim := pos.claim
	w.other(func(e *election.Entry) { e.Term, e.Reason = 7, election.Draining })
	pos = w.turn(0)
	require.Equal(t, claim+1, pos.claim, "b has withdrawn: announce once more")
	require.False(t, pos.contested)
}

func TestHolderThatYieldsRaisesTheTerm(t *testing.T) {
	w := claimed(t)
	w.other(func(e *election.Entry) { e.Holds, e.Term = true, 9 })
	w.others[0].Members = 2
	require.False(t, w.turn(0).holds)
	require.EqualValues(t, 10, w.plan.offer.Entries[0].Term, "b learns of it even if it never saw two holders")
	w.turn(time.Second)
	require.EqualValues(t, 10, w.plan.offer.Entries[0].Term)

	w = claimed(t)
	w.health["web"] = health.State{}
	w.other(func(e *election.Entry) { e.Holds, e.Term, e.From = true, 2, "a" })
	require.False(t, w.turn(0).holds)
	require.EqualValues(t, 2, w.plan.offer.Entries[0].Term, "a hand-over settles nothing")
}

func TestHolderClaimsAgainAfterALaterClaim(t *testing.T) {
	w := claimed(t)
	claim := w.turn(0).claim
	w.other(func(e *election.Entry) { e.Term = 10 })
	pos := w.turn(0)
	require.Equal(t, claim+1, pos.claim, "have the last word")
	require.EqualValues(t, 11, pos.term)
	require.Equal(t, claim+1, w.turn(time.Second).claim, "once")

	w.other(func(e *election.Entry) { e.Term = math.MaxUint64 })
	require.Equal(t, claim+2, w.turn(0).claim)
	require.Equal(t, claim+2, w.turn(time.Second).claim, "there is no higher term")
}

func TestHolderAnswersUntilTheSuccessorHolds(t *testing.T) {
	w := claimed(t)
	w.other(func(*election.Entry) {})
	w.health["web"] = health.State{}
	require.True(t, w.turn(0).holds)
	require.Equal(t, "b", w.plan.decision(0).Owner)
	w.other(func(e *election.Entry) { e.Holds, e.Term, e.From = true, 2, "a" })
	require.False(t, w.turn(0).holds)
}

func TestHolderGivesUpAfterTheHandoverTimeout(t *testing.T) {
	w := claimed(t)
	w.other(func(*election.Entry) {}) // and never claims
	w.health["web"] = health.State{}
	require.True(t, w.turn(0).holds)
	require.Equal(t, w.now+w.config.HandoverTimeout, w.plan.wake)
	require.True(t, w.turn(w.config.HandoverTimeout-1).holds)
	require.False(t, w.turn(1).holds)
}

func TestHolderThatRecoversWhileHandingOverKeepsTheAddress(t *testing.T) {
	w := claimed(t)
	w.health["web"] = health.State{}
	require.NotZero(t, w.turn(0).handoverBy)
	w.health["web"] = health.State{Ready: true}
	pos := w.turn(0)
	require.True(t, pos.holds)
	require.Zero(t, pos.handoverBy)
}

func TestHolderWithoutALinkGivesUpAtOnce(t *testing.T) {
	w := claimed(t)
	w.fact(func(f *announce.Address) { f.Problem = announce.LinkDown })
	require.False(t, w.turn(0).holds)
	require.Equal(t, election.LinkDown, w.plan.offer.Entries[0].Reason)
	w.other(func(*election.Entry) {}) // elected meanwhile, for all that this node knows
	w.turn(0)
	w.others = nil
	w.fact(func(*announce.Address) {})
	require.True(t, w.turn(0).probing, "another may have it by now")
}

func TestDisputedAddressIsTriedAgainWithGrowingPauses(t *testing.T) {
	w := newWorld(t)
	var pauses []time.Duration
	for range 9 {
		require.True(t, w.turn(0).probing)
		w.fact(func(f *announce.Address) { f.Probe, f.Rival = announce.Conflict, stranger[:] })
		require.False(t, w.turn(0).holds)
		require.Equal(t, election.Disputed, w.plan.offer.Entries[0].Reason)
		pauses = append(pauses, w.plan.wake-w.now)
		w.turn(w.plan.wake - w.now) // a candidate again
		require.Equal(t, election.Offered, w.plan.offer.Entries[0].Reason)
	}
	s := time.Second
	require.Equal(t, []time.Duration{s, 2 * s, 4 * s, 8 * s, 16 * s, 32 * s, 60 * s, 60 * s, 60 * s}, pauses)
}

func TestMemberIsNoStranger(t *testing.T) {
	w := newWorld(t)
	w.other(func(e *election.Entry) { e.Reason = election.NotReady })
	w.turn(0)
	w.others = nil // gone, but its hardware address is remembered
	require.True(t, w.turn(0).probing)
	w.fact(func(f *announce.Address) { f.Probe, f.Rival = announce.Conflict, memberB[:] })
	w.turn(0)
	require.Equal(t, election.Offered, w.plan.offer.Entries[0].Reason)
	require.Equal(t, crossedPause, w.plan.wake-w.now)
}

func TestDesertedHolderYieldsToAnyOther(t *testing.T) {
	w := claimed(t)
	w.deserted = true
	pos := w.turn(0)
	require.True(t, pos.holds, "the lease keeps it silent, the claim stands while nobody else has one")
	require.True(t, w.plan.offer.Entries[0].Isolated)

	w.deserted = false
	w.other(func(e *election.Entry) { e.Holds, e.Term = true, 2 })
	w.others[0].Members = 1 // fewer than this node saw
	require.False(t, w.turn(0).holds)
}

func TestDesertedHolderGoesOnIfNobodyElseClaimed(t *testing.T) {
	w := claimed(t)
	w.deserted = true
	w.turn(0)
	w.deserted = false
	pos := w.turn(0)
	require.True(t, pos.holds)
	require.False(t, pos.isolated)
}

func TestDesertedNodeClaimsNothing(t *testing.T) {
	w := newWorld(t)
	w.other(func(e *election.Entry) { e.Holds, e.Term = true, 7 })
	w.turn(0)
	w.others, w.deserted = nil, true
	require.False(t, w.turn(0).holds)
	w.deserted = false
	require.True(t, w.turn(0).holds)
}

func TestStarvedNodeIsInTouchWhenItKnowsAllOffers(t *testing.T) {
	self, known, void := election.Offer{Node: "a"}, election.Offer{Node: "b", Instance: 1}, election.Offer{Node: "c"}
	view := func(live ...election.Offer) *plan {
		var v *election.View
		return &plan{view: v.Next(election.Policy{}, live)}
	}
	require.True(t, inTouch(view(self), "a", nil), "alone before, alone now")
	require.False(t, inTouch(view(self), "a", []string{"a", "b"}), "its own timers may have taken all others for dead")
	require.True(t, inTouch(view(self, known), "a", []string{"a", "b"}))
	require.False(t, inTouch(view(self, known), "a", []string{"a", "b", "c"}), "or some: c may hold what this node held")
	require.False(t, inTouch(view(self, known, void), "a", []string{"b"}), "so it may if its offer is not known")
	require.False(t, inTouch(view(self, void), "a", nil))
	stale := view(self, known)
	stale.kept = map[string]kept{"b": {}}
	require.False(t, inTouch(stale, "a", []string{"b"}), "b may have claimed meanwhile")
}

func TestMembersSeenAreTheFewestLately(t *testing.T) {
	var m memberCount
	at := func(now time.Duration, members, held, contested int) uint32 {
		m, _ = m.next(now, members, held, contested)
		return m.count
	}
	require.EqualValues(t, 3, at(1, 3, 0, 0), "holding nothing: the truth")
	require.EqualValues(t, 1, at(2, 1, 1, 0), "fewer: at once")
	require.EqualValues(t, 1, at(3, 3, 1, 0), "more: not yet")
	require.EqualValues(t, 1, at(2+membersHold, 3, 1, 0))
	require.EqualValues(t, 3, at(3+membersHold, 3, 1, 0))
	require.EqualValues(t, 2, at(4+membersHold, 2, 1, 0))
	require.EqualValues(t, 2, at(5+membersHold, 3, 1, 0))
	require.EqualValues(t, 2, at(5+3*membersHold, 3, 1, 1), "not while two holders meet")
}

func TestCarryKeepsPositionsOfTheSameService(t *testing.T) {
	w := claimed(t)
	config := *w.config
	other := netip.MustParseAddr("192.0.2.0")
	after, err := config.newRoster([]Service{{Name: "mail", Addresses: []netip.Addr{other}}, {Name: "web", Addresses: []netip.Addr{thisAddr}}})
	require.NoError(t, err)
	next := w.plan.carry(w.roster, after)
	require.Len(t, next.positions, 2)
	require.False(t, next.positions[0].holds)
	require.True(t, next.positions[1].holds)

	after, err = config.newRoster([]Service{{Name: "mail", Addresses: []netip.Addr{thisAddr}}})
	require.NoError(t, err)
	require.False(t, w.plan.carry(w.roster, after).positions[0].holds)
}

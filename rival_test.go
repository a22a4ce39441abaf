package l2vip

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/l2vip/l2vip/announce"
	"github.com/l2vip/l2vip/election"
)

func TestStrangerIsDefendedAgainstOnceInTenSeconds(t *testing.T) {
	w := claimed(t)
	w.turn(time.Second)
	defense, claim := w.plan.positions[0].defense, w.plan.positions[0].claim
	w.sight(stranger)
	pos := w.turn(time.Second)
	require.True(t, pos.holds)
	require.Equal(t, defense+1, w.plan.assignments[0].Defense, "at once")
	began := w.now
	for range 9 {
		w.sight(stranger)
		require.Equal(t, defense+1, w.turn(time.Second).defense)
	}
	require.Equal(t, began+defendInterval, w.plan.wake)
	require.Equal(t, defense+2, w.turn(w.plan.wake-w.now).defense, "it went on meanwhile")
	require.Equal(t, defense+2, w.turn(defendInterval).defense, "and then no more")
	require.Equal(t, claim, w.turn(0).claim, "a defense is no claim")
}

func TestRivalThatIsNotSeenAnyMoreIsForgotten(t *testing.T) {
	w := claimed(t)
	w.sight(stranger)
	pos := w.turn(time.Second)
	require.Equal(t, stranger, pos.rival.hardware)
	require.Equal(t, w.now, pos.rival.told)
	require.NotZero(t, w.turn(rivalGone-1).rival)
	require.Equal(t, w.now+1, w.plan.wake)
	require.Zero(t, w.turn(1).rival)
}

func TestManyStrangersMakeNoMoreNoiseThanOne(t *testing.T) {
	w := claimed(t)
	told := make(map[time.Duration]bool)
	for n := range 40 {
		w.sight(election.HardwareAddr{2, 0, 0, 0, 1, byte(n)})
		pos := w.turn(time.Second)
		require.Equal(t, byte(n), pos.rival.hardware[5], "the latest one")
		told[pos.rival.told] = true
	}
	delete(told, 0)
	require.Len(t, told, 4, "one in ten seconds")
	require.EqualValues(t, 4, w.plan.positions[0].defense)
}

func TestYieldingGivesTheAddressUpAndGrowsMorePatient(t *testing.T) {
	w := claimed(t)
	w.config.Strangers = Yield
	var pauses []time.Duration
	for range 3 {
		w.sight(stranger)
		pos := w.turn(time.Second)
		require.False(t, pos.holds, "at once")
		require.Equal(t, election.Disputed, w.plan.offer.Entries[0].Reason)
		pauses = append(pauses, w.plan.wake-w.now)
		w.fact(func(*announce.Address) {})
		require.True(t, w.turn(w.plan.wake-w.now).probing)
		w.fact(func(f *announce.Address) { f.Probe = announce.Clear }) // it never answers
		require.True(t, w.turn(0).holds)
		w.fact(func(*announce.Address) {})
	}
	require.Equal(t, []time.Duration{time.Second, 2 * time.Second, 4 * time.Second}, pauses)
	w.turn(rivalGone)
	w.sight(stranger)
	w.turn(time.Second)
	require.Equal(t, time.Second, w.plan.wake-w.now, "that was another story")
}

func TestSightingsOfAnEarlierClaimMeanNothing(t *testing.T) {
	w := newWorld(t)
	w.turn(0)
	w.sight(stranger) // while it is probed for
	w.facts.Addresses[0].Probe = announce.Clear
	require.True(t, w.turn(0).holds)
	w.fact(func(f *announce.Address) { f.Rival = stranger[:] })
	require.Zero(t, w.turn(0).rival)
}

// beside is the world in which "b" is a member beside "a", which holds.
func beside(t *testing.T) *world {
	w := claimed(t)
	w.other(func(*election.Entry) {})
	w.turn(time.Minute)
	w.fact(func(*announce.Address) {})
	w.turn(0)
	return w
}

func TestMemberThatIsSightedIsAskedFirst(t *testing.T) {
	w := beside(t)
	w.sight(memberB)
	pos := w.turn(0)
	require.True(t, w.plan.exchange)
	require.Zero(t, pos.defense)
	require.Equal(t, noGuilt, pos.rival.guilt)
	w.exchange.began = w.now
	w.turn(exchangeTimeout / 2)
	require.False(t, w.plan.exchange, "it is under way")

	// It holds, and saw more.
	w.exchange.done = true
	w.other(func(e *election.Entry) { e.Holds, e.Term = true, 9 })
	w.others[0].Members = 3
	require.False(t, w.turn(0).holds)
}

func TestMemberThatHasGivenUpCausesNoNoise(t *testing.T) {
	w := beside(t)
	claim := w.plan.positions[0].claim
	w.sight(memberB)
	w.turn(0)
	w.exchange = exchange{began: w.now, done: true}
	pos := w.turn(exchangeTimeout)
	require.Equal(t, claim+1, pos.claim, "neighbors may have believed it")
	for range 3 { // what was on its way
		w.sight(memberB)
		pos = w.turn(straggling / 4)
		require.False(t, w.plan.exchange)
	}
	require.Equal(t, claim+1, pos.claim)
	require.Equal(t, noGuilt, w.turn(rivalGone).rival.guilt)
	require.Zero(t, pos.defense)
}

func TestHandOverNeedsNoExchange(t *testing.T) {
	w := newWorld(t)
	w.other(func(e *election.Entry) { e.Holds, e.Term, e.Reason = true, 7, election.Draining })
	require.True(t, w.turn(0).holds)
	w.sight(memberB)
	w.turn(0)
	require.False(t, w.plan.exchange, "it says itself that it holds")
}

func TestMemberThatClaimsAgainAndAgainHasAKernelThatAnswers(t *testing.T) {
	w := beside(t)
	claim := w.plan.positions[0].claim
	for n := range 3 {
		w.sight(memberB)
		w.turn(exchangePause)
		require.True(t, w.plan.exchange)
		require.Equal(t, n > 1, w.plan.positions[0].rival.guilt == aKernel, "not yet: it may hold by now")
		w.exchange = exchange{began: w.now, done: true}
		w.turn(exchangeTimeout)
		require.Equal(t, claim+1+uint64(n), w.plan.positions[0].claim, "have the last word each time")
	}
	pos := w.turn(0)
	require.Equal(t, aKernel, pos.rival.guilt)
	require.Less(t, pos.rival.told, w.now-exchangePause, "told once")
	require.Zero(t, w.turn(rivalGone).rival)
}

func TestFloodOfSightingsCausesOneExchangeASecond(t *testing.T) {
	w := beside(t)
	began := w.now
	exchanges := 0
	for w.now < began+10*time.Second {
		w.sight(memberB)
		w.turn(10 * time.Millisecond)
		if w.plan.exchange {
			exchanges++
			w.exchange = exchange{began: w.now, done: exchanges%2 == 0}
		}
	}
	require.InDelta(t, 10, exchanges, 2)
}

func TestFormerMemberIsAStrangerUnlessItComesBack(t *testing.T) {
	w := beside(t)
	w.others = nil
	w.turn(0)
	w.sight(memberB)
	w.turn(0)
	w.exchange = exchange{began: w.now, done: true} // nobody is there
	pos := w.turn(meeting - 1)
	require.Equal(t, noGuilt, pos.rival.guilt, "on a segment that heals it may become a member again")
	pos = w.turn(1)
	require.Equal(t, aStranger, pos.rival.guilt)
	require.Equal(t, "b", pos.rival.member)
	require.EqualValues(t, 1, pos.defense)

	// It does come back, after all.
	w.other(func(*election.Entry) {})
	w.sight(memberB)
	w.turn(exchangePause)
	require.True(t, w.plan.exchange)
}

func TestMemberThatDoesNotAnswerIsNoStranger(t *testing.T) {
	w := beside(t)
	w.config.Strangers = Yield
	w.sight(memberB)
	w.turn(0)
	w.exchange = exchange{began: w.now} // and fails
	pos := w.turn(meeting)
	require.True(t, pos.holds)
	require.Equal(t, noGuilt, pos.rival.guilt)
}

func TestSilenceMakesAHolderIsolated(t *testing.T) {
	w := beside(t)
	w.facts.Links = []announce.Link{{Name: "eth0", Silent: true}}
	w.turn(0)
	require.True(t, w.plan.offer.Entries[0].Isolated)

	// It hears somebody, before it hears from the members.
	w.facts.Links[0].Silent = false
	w.turn(0)
	require.Equal(t, w.now+membersHold, w.plan.wake)
	w.turn(membersHold - 1)
	require.True(t, w.plan.offer.Entries[0].Isolated)
	w.turn(1)
	require.False(t, w.plan.offer.Entries[0].Isolated)

	// Two links: one that hears others is enough.
	w.facts.Addresses[0].Links = []string{"eth0", "eth1"}
	w.facts.Links = []announce.Link{{Name: "eth0", Silent: true}, {Name: "eth1"}}
	w.turn(0)
	require.False(t, w.plan.offer.Entries[0].Isolated)
}

func TestSilenceStandsStillWhileTwoHoldersMeet(t *testing.T) {
	q := silence{}
	at := func(now time.Duration, silent, contested bool) bool {
		q, _ = q.next(now, silent, contested)
		return q.fell
	}
	require.False(t, at(1, true, true))
	require.True(t, at(2, true, false))
	require.True(t, at(3, false, false))
	require.True(t, at(2+membersHold, false, true))
	require.True(t, at(5+membersHold, false, true))
	require.True(t, at(6+membersHold, false, false), "from now on")
	require.True(t, at(5+2*membersHold, false, false))
	require.False(t, at(6+2*membersHold, false, false))
}

func TestHolderThatWasCutOffYieldsWhateverItsTerm(t *testing.T) {
	w := beside(t)
	w.facts.Links = []announce.Link{{Name: "eth0", Silent: true}}
	w.turn(0)
	w.facts.Links[0].Silent = false
	w.other(func(e *election.Entry) { e.Holds = true })
	w.others[0].Members = 1
	require.False(t, w.turn(0).holds)
}

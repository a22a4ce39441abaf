package announce

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/l2vip/l2vip/internal/clock"
)

// listening is an engine with one interface that is listened on in a bubble.
type listening struct {
	*engine
	*hearing
	t *testing.T
}

func listen(t *testing.T, test func(l *listening)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		// In a bubble the clock does not begin at zero.
		long := clock.Now() - time.Hour
		l := &listening{&engine{Announcer: new(Announcer), hearings: make(map[int]*hearing)}, &hearing{since: long, fresh: long, asked: long}, t}
		l.heard.Store(int64(long))
		l.hearings[1] = l.hearing
		test(l)
	})
}

// pass lets time pass in which the loop turns when it has to.
func (l *listening) pass(d time.Duration, each func()) {
	for end := time.Now().Add(d); ; {
		next := l.listen()
		if each != nil {
			each()
		}
		if next.IsZero() || next.After(end) {
			time.Sleep(time.Until(end))
			return
		}
		require.True(l.t, next.After(time.Now()), "the loop spins")
		time.Sleep(time.Until(next))
	}
}

// margin is for clocks that are read one after the other.
const margin = 5 * time.Millisecond

func TestSilenceAfterAskingInVain(t *testing.T) {
	listen(t, func(l *listening) {
		l.need(true, false)
		l.pass(quietAfter-margin, nil)
		before := l.asked
		require.False(t, l.silent.Load())
		l.pass(2*margin, nil)
		require.Greater(t, l.asked, before, "the neighbors are asked first")
		l.pass(askWait-3*margin, nil)
		require.False(t, l.silent.Load())
		l.changes = false
		l.pass(4*margin, nil)
		require.True(t, l.silent.Load())
		require.True(t, l.changes)

		// It goes on asking, so that it learns soon when somebody is there.
		questions := 0
		before = l.asked
		l.pass(time.Minute, func() {
			require.True(t, l.silent.Load())
			if l.asked != before {
				questions, before = questions+1, l.asked
			}
		})
		require.InDelta(t, time.Minute/askWait, questions, 2)

		// One frame ends it.
		require.True(t, l.note(clock.Now()), "the loop is woken")
		l.changes = false
		l.listen()
		require.False(t, l.silent.Load())
		require.True(t, l.changes)
		require.False(t, l.note(clock.Now()), "no news")
	})
}

// After a claim it is concluded sooner: the claim may be one of many.
func TestSilenceAfterAClaim(t *testing.T) {
	listen(t, func(l *listening) {
		l.need(true, true)
		l.pass(quietFresh+askWait-margin, nil)
		require.False(t, l.silent.Load())
		l.pass(2*margin, nil)
		require.True(t, l.silent.Load())
	})
}

func TestNoSilenceWhileNothingIsAnswered(t *testing.T) {
	listen(t, func(l *listening) {
		asked := l.asked
		never := func() { require.False(t, l.silent.Load()); require.Equal(t, asked, l.asked) }
		l.need(false, false)
		require.True(t, l.listen().IsZero(), "there is nothing to look at")
		l.pass(time.Hour, never)
		// What was not heard before does not count.
		l.need(true, false)
		l.pass(quietAfter-margin, never)
		l.pass(time.Hour, nil)
		require.True(t, l.silent.Load())
		l.need(false, false)
		l.listen()
		require.False(t, l.silent.Load())
	})
}

// Where neighbors answer when they are asked there is no silence, nor where so
// much is heard that none is asked.
func TestNoSilenceWhereSomebodyIsHeard(t *testing.T) {
	listen(t, func(l *listening) {
		l.need(true, true)
		var questions int
		before := l.asked
		l.pass(time.Hour, func() {
			require.False(t, l.silent.Load())
			if l.asked != before {
				questions, before = questions+1, l.asked
				l.note(clock.Now() + time.Millisecond)
			}
		})
		require.InDelta(t, time.Hour/quietAfter, questions, float64(time.Hour/quietAfter)/100)

		for range 1000 {
			l.note(clock.Now())
			l.pass(quietAfter-margin-heardEvery, func() { require.Equal(t, before, l.asked) })
		}
	})
}

// A process that did not run may have the answers to read still: it asks again
// before it concludes anything.
func TestNoSilenceFromHavingSlept(t *testing.T) {
	listen(t, func(l *listening) {
		l.need(true, false)
		for range 5 {
			l.pass(quietAfter+margin, nil)
			before := l.asked
			time.Sleep(time.Minute)
			l.listen()
			require.False(t, l.silent.Load())
			require.Greater(t, l.asked, before)
			l.note(clock.Now())
		}
		l.pass(quietAfter+askWait+margin, nil)
		require.True(t, l.silent.Load())
	})
}

package l2vip

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/l2vip/l2vip/announce"
)

// idle is an Announcer that does nothing.
type idle struct{}

func (idle) Run(context.Context, func(announce.Facts)) error { return nil }
func (idle) Set([]announce.Assignment) error                 { return nil }
func (idle) Renew(time.Duration)                             {}

// renewed is an Announcer that notes until when it may answer.
type renewed struct {
	idle
	clock *time.Duration
	until time.Duration
}

func (r *renewed) Renew(d time.Duration) { r.until = *r.clock + d }

func newLease(t *testing.T) (*lease, *renewed, *time.Duration) {
	now := new(time.Duration)
	*now = time.Second
	a := &renewed{clock: now}
	l := &lease{announcer: a, now: func() time.Duration { return *now }, byTurn: 300 * time.Millisecond}
	require.Zero(t, l.turn(*now))
	l.limit(l.byTurn, time.Second, *now)
	require.Equal(t, *now+l.byTurn, a.until)
	return l, a, now
}

func TestLeaseIsExtendedByTurnsAndBeats(t *testing.T) {
	l, a, now := newLease(t)
	*now += 100 * time.Millisecond
	require.Zero(t, l.turn(*now))
	require.Equal(t, *now+l.byTurn, a.until)
	l.beaten(10 * time.Millisecond)
	require.Equal(t, *now+990*time.Millisecond, a.until, "from just before the beat")
	until := a.until
	require.Zero(t, l.turn(*now+time.Millisecond))
	require.Equal(t, until, a.until, "a turn takes nothing away")

	*now += 800 * time.Millisecond
	l.beaten(0)
	until = a.until
	require.Equal(t, *now+201*time.Millisecond, until, "no longer than the loop may stand still")
	*now += 201 * time.Millisecond
	l.beaten(0)
	require.Equal(t, until, a.until, "the loop hangs")
}

func TestLeaseThatRanOutIsOver(t *testing.T) {
	l, a, now := newLease(t)
	*now += l.byTurn
	l.beaten(0)
	require.LessOrEqual(t, a.until, *now, "no beat revives it")
	require.NotZero(t, l.turn(*now), "just over is over")
	require.Equal(t, 5*time.Millisecond, l.turn(*now+5*time.Millisecond))
	l.limit(l.byTurn, 100*time.Millisecond, *now)
	l.beaten(0)
	require.LessOrEqual(t, a.until, *now)
	l.reset(*now)
	require.Equal(t, *now+l.byTurn, a.until)
	require.Zero(t, l.turn(*now))
}

func TestLeaseIsCutShortAmongOthers(t *testing.T) {
	l, a, now := newLease(t)
	l.beaten(0)
	l.limit(l.byTurn, l.byTurn, *now)
	require.Equal(t, *now+l.byTurn, a.until)
	l.beaten(0)
	require.Equal(t, *now+l.byTurn, a.until)
	l.limit(l.byTurn, time.Second, *now)
	l.beaten(0)
	require.Equal(t, *now+time.Second, a.until)
}

// A process that is stopped while it renews the lease, and goes on when that is
// over, has none.
func TestLeaseOfAProcessThatIsStoppedInTheMiddle(t *testing.T) {
	l, a, now := newLease(t)
	calls := 0
	l.now = func() time.Duration {
		if calls++; calls == 2 {
			*now += 5 * time.Second
		}
		return *now
	}
	l.beaten(0)
	require.LessOrEqual(t, a.until, *now)
}

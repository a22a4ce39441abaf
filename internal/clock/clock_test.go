package clock

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestNowFollowsTheBubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		before := Now()
		time.Sleep(time.Hour)
		require.InDelta(t, time.Hour, Now()-before, float64(time.Millisecond))
	})
}

// The suspended time is asked for when the time of day has moved against the monotonic
// time, by a suspension or by somebody, and then only.
func TestAsksForTheSuspendedTime(t *testing.T) {
	var last atomic.Pointer[asked]
	slept, asks := time.Duration(0), 0
	read := func(now time.Time) time.Duration {
		return at(now, &last, func() time.Duration { asks++; return slept })
	}
	// No time can be made whose clocks have moved so, but the origin can be moved.
	now := time.Now()
	first := read(now)
	require.Equal(t, 1, asks)
	require.Equal(t, time.Minute, read(now.Add(time.Minute))-first, "both clocks move")
	require.Equal(t, 1, asks)

	before := start
	defer func() { start = before }()
	slept = time.Hour // in which the monotonic time stood still
	start = before.Add(time.Hour)
	require.Equal(t, first-time.Hour+slept, read(now))
	require.Equal(t, 2, asks)
	read(now)
	require.Equal(t, 2, asks)
}

func TestNowAllocatesNothing(t *testing.T) {
	require.Zero(t, testing.AllocsPerRun(100, func() { Now() }))
}

func BenchmarkNow(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		Now()
	}
}

package clock

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A process that is stopped between the readings takes no part of that time for
// suspended.
func TestMeasureLeavesPausesOut(t *testing.T) {
	const slept = time.Hour // of the machine
	for pausedAt := range 6 {
		var now time.Duration
		calls := 0
		tick := func() time.Duration {
			if calls == pausedAt {
				now += time.Minute
			}
			calls++
			now += 100 * time.Nanosecond
			return now
		}
		got := measure(tick, func() time.Duration { return tick() + slept })
		require.InDelta(t, slept, got, float64(precision), "paused before reading %d", pausedAt)
	}
}

// Where every system call is slow, it comes to an end all the same.
func TestMeasureEndsOnSlowClocks(t *testing.T) {
	var now time.Duration
	tick := func() time.Duration { now += time.Millisecond; return now }
	require.InDelta(t, time.Hour, measure(tick, func() time.Duration { return tick() + time.Hour }), float64(time.Millisecond))
}

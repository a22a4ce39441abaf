package clock_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/l2vip/l2vip/internal/clock"
)

func TestNowFollowsTheBubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r clock.Reader
		before, readerBefore := clock.Now(), r.Now()
		time.Sleep(time.Hour)
		// Two system calls apart, the suspended time is off by their distance.
		require.InDelta(t, time.Hour, clock.Now()-before, float64(time.Minute))
		require.InDelta(t, time.Hour, r.Now()-readerBefore, float64(time.Minute))
		r.Forget()
		require.InDelta(t, time.Hour, r.Now()-readerBefore, float64(time.Minute))
	})
}

// A Reader keeps the suspended time, never the time.
func TestReaderMovesWithinItsAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r clock.Reader
		before := r.Now()
		time.Sleep(clock.MaxAge / 2)
		require.Equal(t, clock.MaxAge/2, r.Now()-before)
	})
}

func TestReaderAllocatesNothing(t *testing.T) {
	var r clock.Reader
	require.Zero(t, testing.AllocsPerRun(100, func() { r.Forget(); r.Now(); r.Now() }))
}

func BenchmarkNow(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		clock.Now()
	}
}

func BenchmarkReader(b *testing.B) {
	b.ReportAllocs()
	var r clock.Reader
	for b.Loop() {
		r.Now()
	}
}

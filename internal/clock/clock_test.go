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
		before := clock.Now()
		time.Sleep(time.Hour)
		// Two system calls apart, the suspended time is off by their distance.
		require.InDelta(t, time.Hour, clock.Now()-before, float64(time.Minute))
	})
}

func BenchmarkNow(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		clock.Now()
	}
}

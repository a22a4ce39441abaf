package segment

import (
	"flag"
	"fmt"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// What TestLoss plays.
var (
	lossSeeds  = flag.Int("seeds", 4, "how many `seeds` TestLoss plays with")
	lossLasts  = flag.Duration("lasts", 20*time.Second, "how much simulated `time` each of them takes")
	lossBeat   = flag.Duration("beat", DefaultInterval, "the time between two beats in TestLoss")
	lossMisses = flag.Int("misses", DefaultMisses, "how many beats must be missed in TestLoss")
)

// 2% of the frames at the holder's port are lost in each direction: the holder is
// given up by none, neither of two nodes nor of three. What came of it are attributes
// of the test, which internal/bench reads; everything that others do about a holder
// begins with a row that is not alive any more.
//
//	go test ./election/segment -run 'TestLoss$' -v -seeds 100 -lasts 10m
func TestLoss(t *testing.T) {
	const percent = 2
	var beats, suspicions, takeovers atomic.Uint64
	t.Run("seeds", func(t *testing.T) {
		for n := 2; n <= 3; n++ {
			for seed := range *lossSeeds {
				t.Run(fmt.Sprintf("%d nodes, %d", n, seed), func(t *testing.T) {
					t.Parallel()
					s, all := members(t, uint64(seed), n, Config{Interval: *lossBeat, Misses: *lossMisses})
					before := all[0].count.load()
					s.lost = func(from, to *host) bool { return (from == all[0] || to == all[0]) && s.random.IntN(100) < percent }
					s.run(*lossLasts)
					beats.Add(all[0].count.load().Sent - before.Sent)
					for _, h := range all {
						stats := h.count.load()
						suspicions.Add(stats.Suspicions)
						takeovers.Add(stats.Unreachable + stats.Ended + stats.Isolations)
						for _, l := range h.core.links {
							require.False(t, l.unheard)
						}
					}
				})
			}
		}
	})
	t.Attr("beats", strconv.FormatUint(beats.Load(), 10))
	t.Attr("suspicions", strconv.FormatUint(suspicions.Load(), 10))
	t.Attr("takeovers", strconv.FormatUint(takeovers.Load(), 10))
	require.Zero(t, takeovers.Load())
}

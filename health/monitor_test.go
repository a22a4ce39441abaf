package health_test

import (
	"context"
	"errors"
	"math"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/l2vip/l2vip/health"
)

// script returns a check whose results are given by letters: '+' is a success,
// every other one a failure with that letter as its reason. The last result
// repeats.
func script(results string) health.Check {
	var n int
	return func(context.Context) error {
		result := results[min(n, len(results)-1)]
		n++
		if result == '+' {
			return nil
		}
		return errors.New(string(result))
	}
}

func TestMonitorJudgesResultsInARow(t *testing.T) {
	tests := []struct {
		name       string
		rise, fall int
		results    string
		want       string // '+' for ready, else the reason
	}{
		{"first success decides", 3, 3, "+", "+"},
		{"first failure decides", 3, 3, "a", "a"},
		{"one failure is forgiven", 2, 2, "+a+a+a+", "+"},
		{"failures in a row are not", 2, 2, "+aa", "+a"},
		{"the last failure gives the reason", 2, 3, "+abc", "+c"},
		{"one success is not enough", 2, 2, "a+a+a", "a"},
		{"successes in a row are", 2, 2, "a++", "a+"},
		{"a new reason is reported", 2, 2, "aabbba", "aba"},
		{"a failure between starts anew", 3, 1, "a++a+++", "a+"},
		{"one of each", 1, 1, "+a+b+", "+a+b+"},
		{"defaults are two", 0, 0, "+a+aa+a++", "+a+"},
		{"counts start over after a change", 2, 2, "+aa+b++c+", "+ab+"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := start(t, health.Monitor{Check: script(tt.results), Rise: tt.rise, Fall: tt.fall})
				time.Sleep(time.Duration(len(tt.results)+5) * 100 * time.Millisecond)
				var got string
				for _, s := range r.stop() {
					if s.Ready {
						assert.Empty(t, s.Reason)
						s.Reason = "+"
					}
					got += s.Reason
				}
				assert.Equal(t, tt.want, got)
			})
		})
	}
}

func TestMonitorStartsAtOnceAndKeepsItsPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		var starts []time.Time
		r := start(t, health.Monitor{
			Check:    func(context.Context) error { starts = append(starts, time.Now()); return nil },
			Interval: time.Second,
			Jitter:   0.25,
		})
		time.Sleep(1000 * time.Second)
		r.stop()

		require.True(t, starts[0].Equal(begin))
		shortest, longest := time.Hour, time.Duration(0)
		for i := 1; i < len(starts); i++ {
			pause := starts[i].Sub(starts[i-1])
			shortest, longest = min(shortest, pause), max(longest, pause)
		}
		assert.GreaterOrEqual(t, shortest, 750*time.Millisecond)
		assert.LessOrEqual(t, longest, time.Second)
		assert.Greater(t, longest-shortest, 200*time.Millisecond, "a thousand pauses spread")
	})
}

func TestMonitorKnowsARefusalWithinFallTimesInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var down atomic.Bool
		r := start(t, health.Check(func(context.Context) error {
			if down.Load() {
				return errors.New("refused")
			}
			return nil
		}))
		require.True(t, r.next().Ready)
		time.Sleep(12345 * time.Millisecond)
		down.Store(true)
		failed := time.Now()
		require.Equal(t, health.State{Reason: "refused"}, r.next())
		require.LessOrEqual(t, time.Since(failed), 200*time.Millisecond)
	})
}

func TestMonitorEndsACheckAtItsTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		r := start(t, health.Check(func(ctx context.Context) error {
			<-ctx.Done()
			return context.Cause(ctx)
		}))
		require.Equal(t, health.State{Reason: "no result within 500ms"}, r.next())
		require.Equal(t, 500*time.Millisecond, time.Since(begin))
	})
}

func TestMonitorTakesALateSuccessForAFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, health.Monitor{
			Check:   func(context.Context) error { time.Sleep(1010 * time.Millisecond); return nil },
			Timeout: time.Second,
		})
		require.Equal(t, health.State{Reason: "no result within 1s"}, r.next())
		require.Empty(t, r.stop())
	})
}

func TestMonitorRunsChecksThatTakeLongOneAfterAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var busy, checks atomic.Int32
		r := start(t, health.Check(func(context.Context) error {
			assert.EqualValues(t, 1, busy.Add(1))
			defer busy.Add(-1)
			checks.Add(1)
			time.Sleep(400 * time.Millisecond)
			return nil
		}))
		time.Sleep(3900 * time.Millisecond)
		r.stop()
		require.EqualValues(t, 10, checks.Load())
	})
}

func TestMonitorCountsACheckThatIgnoresItsTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		var checks int
		r := start(t, health.Check(func(context.Context) error {
			if checks++; checks == 2 {
				<-release
			}
			return nil
		}))
		require.True(t, r.next().Ready)
		stuck := time.Now()
		require.Equal(t, health.State{Reason: "still busy after its timeout of 500ms"}, r.next())
		require.LessOrEqual(t, time.Since(stuck), 1300*time.Millisecond, "one Interval, then twice Timeout plus Interval")

		close(release) // late, so this was a failure too
		require.Equal(t, health.State{Reason: "no result within 500ms"}, r.next())
		require.True(t, r.next().Ready)
	})
}

func TestMonitorReportsNothingOnceItIsCancelled(t *testing.T) {
	for _, result := range []error{nil, errors.New("failed"), context.Canceled} {
		synctest.Test(t, func(t *testing.T) {
			begin := time.Now()
			var ctxErr error
			r := start(t, health.Monitor{
				Check: func(ctx context.Context) error {
					<-ctx.Done()
					ctxErr = ctx.Err()
					return result
				},
				Timeout: time.Hour,
			})
			synctest.Wait()
			require.Empty(t, r.stop())
			require.Zero(t, time.Since(begin))
			require.ErrorIs(t, ctxErr, context.Canceled)
		})
	}
}

func TestMonitorWaitsForACheckThatIgnoresCancellation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		r := start(t, health.Check(func(context.Context) error { time.Sleep(5 * time.Second); return nil }))
		synctest.Wait()
		require.Empty(t, r.stop())
		require.Equal(t, 5*time.Second, time.Since(begin))
	})
}

func TestMonitorEndsBetweenChecks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		r := start(t, health.Monitor{Check: script("+"), Interval: time.Hour})
		require.True(t, r.next().Ready)
		require.Empty(t, r.stop())
		require.Zero(t, time.Since(begin))
	})
}

func TestMonitorBoundsReasons(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		text := "two\nlines, \x1b[31mred\x1b[0m, \xff, " + strings.Repeat("ü", 1000)
		r := start(t, health.Check(func(context.Context) error { return errors.New(text) }))
		got := r.next().Reason
		assert.LessOrEqual(t, len(got), 256)
		assert.True(t, strings.HasPrefix(got, "two lines,  [31mred [0m, ?, üüü"), got)
		assert.True(t, strings.HasSuffix(got, "ü…"), got)
	})
}

func TestMonitorNamesAllThatIsWrong(t *testing.T) {
	m := health.Monitor{Interval: -1, Timeout: -1, Rise: -1, Fall: -1, Jitter: math.NaN()}
	require.Equal(t, []string{"Check", "Interval", "Timeout", "Rise", "Fall", "Jitter"}, findings(m.Validate()))
	require.Equal(t, m.Validate().Error(), m.Run(t.Context(), nil).Error())
	m = health.Monitor{Check: script("+"), Interval: math.MaxInt64, Timeout: math.MaxInt64, Jitter: 1.1}
	require.Equal(t, []string{"Interval", "Timeout", "Jitter"}, findings(m.Validate()))
	require.NoError(t, health.Monitor{Check: script("+"), Timeout: 24 * time.Hour, Jitter: 1}.Validate())

	require.Equal(t, []string{"Check"}, findings(health.Check(nil).Validate()))
	require.Error(t, health.Check(nil).Run(t.Context(), nil))
	require.NoError(t, script("+").Validate())
}

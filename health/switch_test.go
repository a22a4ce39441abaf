package health_test

import (
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/l2vip/l2vip/health"
)

func TestSwitchStartsNotReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, new(health.Switch))
		require.Equal(t, health.State{}, r.next())
		require.Empty(t, r.stop())
	})
}

func TestSwitchReportsToEveryRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s health.Switch
		s.Set(health.State{Ready: true})
		one, two := start(t, &s), start(t, &s)
		for _, want := range []health.State{{Ready: true}, {Reason: "full"}, {Ready: true, Score: -3}} {
			s.Set(want)
			require.Equal(t, want, one.next())
			require.Equal(t, want, two.next())
		}
		require.Empty(t, one.stop())
		s.Set(health.State{Ready: true, Score: -3}) // no change
		s.Set(health.State{Reason: "again"})
		require.Equal(t, health.State{Reason: "again"}, two.next())
		require.Empty(t, two.stop())
	})
}

func TestSwitchNeverSkipsTheLastState(t *testing.T) {
	var s health.Switch
	r := start(t, &s)
	var setters sync.WaitGroup
	for i := range 8 {
		setters.Go(func() {
			for j := range 100 {
				s.Set(health.State{Score: 100*i + j})
			}
		})
	}
	setters.Wait()
	s.Set(health.State{Ready: true})
	last := r.next()
	for !last.Ready {
		next := r.next()
		require.NotEqual(t, last, next)
		last = next
	}
	require.Empty(t, r.stop())
}

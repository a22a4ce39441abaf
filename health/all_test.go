package health_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/l2vip/l2vip/health"
)

// sourceFunc makes a function a Source.
type sourceFunc func(ctx context.Context, report func(health.State)) error

func (f sourceFunc) Run(ctx context.Context, report func(health.State)) error { return f(ctx, report) }

// manual is a source that reports what it is told, and nothing before that.
type manual chan health.State

func (m manual) Run(ctx context.Context, report func(health.State)) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case s := <-m:
			report(s)
		}
	}
}

func TestAllJoinsStates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b, c := make(manual), make(manual), make(manual)
		r := start(t, health.All(a, b, c))
		unchanged := func() {
			t.Helper()
			synctest.Wait()
			require.Empty(t, r.states)
		}

		unchanged()
		b <- health.State{Ready: true, Score: 5}
		unchanged() // a and c may be anything
		c <- health.State{Score: -2, Reason: "c is down"}
		require.Equal(t, health.State{Score: 3, Reason: "c is down"}, r.next())
		a <- health.State{Ready: true}
		unchanged()
		c <- health.State{Ready: true}
		require.Equal(t, health.State{Ready: true, Score: 5}, r.next())

		b <- health.State{Reason: "b is down"}
		require.Equal(t, health.State{Reason: "b is down"}, r.next())
		a <- health.State{Reason: "a is down"}
		require.Equal(t, health.State{Reason: "a is down"}, r.next(), "the first in order")
		b <- health.State{Ready: true}
		unchanged()
		a <- health.State{Ready: true}
		require.Equal(t, health.State{Ready: true}, r.next())
		require.Empty(t, r.stop())
	})
}

func TestAllOfNothingIsReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, health.All())
		require.Equal(t, health.State{Ready: true}, r.next())
		require.Empty(t, r.stop())
	})
}

func TestAllEndsTheOthersWhenOneFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := errors.New("broken")
		fail := make(chan struct{})
		ended := false
		source := health.All(
			sourceFunc(func(ctx context.Context, report func(health.State)) error {
				report(health.State{Ready: true})
				<-fail
				return broken
			}),
			sourceFunc(func(ctx context.Context, report func(health.State)) error {
				report(health.State{Ready: true})
				<-ctx.Done()
				ended = true
				return nil
			}),
		)
		r := start(t, source)
		require.True(t, r.next().Ready)
		close(fail)
		require.ErrorIs(t, <-r.err, broken)
		require.True(t, ended)
	})
}

func TestAllTakesASourceThatEndsByItselfForBroken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		quits := sourceFunc(func(_ context.Context, report func(health.State)) error {
			report(health.State{Ready: true})
			return nil
		})
		err := health.All(new(health.Switch), quits).Run(t.Context(), func(health.State) {})
		require.ErrorContains(t, err, "source 1 (health_test.sourceFunc) ended by itself")
	})
}

func TestAllNamesAllThatIsWrong(t *testing.T) {
	source := health.All(
		health.HTTP{URL: "ftp://x", MinStatus: 1},
		nil,
		new(health.Switch),
		health.All(health.TCP{}),
	)
	err := source.(interface{ Validate() error }).Validate()
	assert.Equal(t, []string{"[0].URL", "[0].MinStatus", "[1]", "[3][0].Address"}, findings(err))
	require.Equal(t, err.Error(), source.Run(t.Context(), nil).Error())
}

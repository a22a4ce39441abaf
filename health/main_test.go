package health_test

import (
	"context"
	"io"
	"log"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/l2vip/l2vip/health"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// discard is the log of servers that clients are expected to fail with.
var discard = log.New(io.Discard, "", 0)

// running is a source that runs in the background of a test.
type running struct {
	t      *testing.T
	states chan health.State
	cancel context.CancelFunc
	err    chan error
}

// start runs the source until the test stops it or ends.
func start(t *testing.T, source health.Source) *running {
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{t: t, states: make(chan health.State, 1000), cancel: cancel, err: make(chan error, 1)}
	go func() {
		r.err <- source.Run(ctx, func(s health.State) { r.states <- s })
		close(r.states)
	}()
	t.Cleanup(func() {
		cancel()
		for range r.states { // until Run has returned
		}
	})
	return r
}

// next returns the next state that is reported.
func (r *running) next() health.State {
	r.t.Helper()
	select {
	case s, ok := <-r.states:
		require.True(r.t, ok, "the source has ended")
		return s
	case <-time.After(time.Minute):
		require.FailNow(r.t, "no state was reported")
		panic("unreachable")
	}
}

// stop ends the source and returns the states that were not taken yet.
func (r *running) stop() (rest []health.State) {
	r.t.Helper()
	r.cancel()
	for s := range r.states {
		rest = append(rest, s)
	}
	require.NoError(r.t, <-r.err)
	return rest
}

// findings returns the paths of the errors of a configuration.
func findings(err error) (paths []string) {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range joined.Unwrap() {
			paths = append(paths, e.(*health.ConfigError).Path)
		}
	}
	return paths
}

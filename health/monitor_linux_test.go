package health_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/l2vip/l2vip/health"
)

// alone runs the test again in a process of its own, with one of Go's
// processors, and reports whether this is that process.
func alone(t *testing.T) bool {
	const key = "L2VIP_TEST_ALONE"
	if os.Getenv(key) != "" {
		return true
	}
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), self, "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), key+"=1", "GOMAXPROCS=1")
	output, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", output)
	return false
}

// outOfTime waits until the check's time is up.
func outOfTime(ctx context.Context) error {
	<-ctx.Done()
	return context.Cause(ctx)
}

func TestMonitorRepeatsWhatRanOutOfTimeWhileTheProcessWasStopped(t *testing.T) {
	if !alone(t) {
		return
	}
	stop := func(seconds string) error {
		return exec.Command("sh", "-c", "kill -STOP $PPID; sleep "+seconds+"; kill -CONT $PPID").Run()
	}
	hang := func(ctx context.Context) error { return errors.Join(stop("0.2"), outOfTime(ctx)) }
	fail := func(context.Context) error { return errors.Join(stop("0.7"), errors.New("refused")) }
	for _, tt := range []struct {
		name    string
		checks  []health.Check // the last repeats
		timeout time.Duration
		ran     int // how many of them before the first report
		want    health.State
	}{
		{"an application that answers", []health.Check{hang, hang, script("+")}, 50 * time.Millisecond, 3, health.State{Ready: true}},
		{"one that hangs", []health.Check{hang}, 50 * time.Millisecond, 4, health.State{Reason: "no result within 50ms"}},
		{"one that refuses in time", []health.Check{fail}, 4 * time.Second, 1, health.State{Reason: "refused"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var ran int
			var ended time.Time
			r := start(t, health.Monitor{
				Check: func(ctx context.Context) error {
					deadline, _ := ctx.Deadline()
					if ran++; ran > 1 {
						assert.GreaterOrEqual(t, deadline.Sub(ended), 2*tt.timeout)
					}
					defer func() { ended = time.Now() }()
					return tt.checks[min(ran, len(tt.checks))-1](ctx)
				},
				Interval: time.Hour, // what is void is repeated at once
				Timeout:  tt.timeout,
			})
			require.Equal(t, tt.want, r.next())
			require.Empty(t, r.stop())
			require.Equal(t, tt.ran, ran)
		})
	}
}

func TestMonitorRepeatsWhatRanOutOfTimeWhileTheProgramWasBusy(t *testing.T) {
	if !alone(t) {
		return
	}
	var idle atomic.Bool
	defer idle.Store(true)
	for range 32 {
		go func() {
			for !idle.Load() {
			}
		}()
	}
	var ran int
	r := start(t, health.Monitor{
		Check: func(ctx context.Context) error {
			if ran++; ran == 1 {
				return outOfTime(ctx)
			}
			return nil
		},
		Interval: time.Hour,
		Timeout:  time.Second,
	})
	require.Equal(t, health.State{Ready: true}, r.next())
}

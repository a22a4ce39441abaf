package health

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestWakeups(t *testing.T) {
	const ms = time.Millisecond
	tests := []struct {
		name    string
		took    []time.Duration // of steps of 50 ms
		ran     time.Duration
		late    time.Duration
		starved bool
	}{
		{"none yet", nil, 0, 0, false},
		{"in time", []time.Duration{50 * ms, 50 * ms, 50 * ms}, 150 * ms, 0, false},
		{"woken before the step was over", []time.Duration{50 * ms, ms}, 51 * ms, 0, false},
		{"woken at once", []time.Duration{0}, 0, 0, false},
		{"an idle machine", []time.Duration{51 * ms, 51 * ms, 50 * ms}, 150 * ms, 2 * ms, false},
		{"a quarter", []time.Duration{50 * ms, 50 * ms, 100 * ms}, 150 * ms, 50 * ms, false},
		{"more than a quarter", []time.Duration{50 * ms, 50 * ms, 101 * ms}, 150 * ms, 51 * ms, true},
		{"each a little", []time.Duration{67 * ms, 67 * ms, 67 * ms}, 150 * ms, 51 * ms, true},
		{"what was early makes up for nothing", []time.Duration{0, 100 * ms}, 50 * ms, 50 * ms, true},
		{"stopped for an hour", []time.Duration{50 * ms, time.Hour}, 100 * ms, time.Hour - 50*ms, true},
		{"once, long ago", []time.Duration{100 * ms, 50 * ms, 50 * ms, 50 * ms}, 200 * ms, 50 * ms, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var w wakeups
			for _, took := range tt.took {
				w.add(50*ms, took)
			}
			require.Equal(t, wakeups{ran: tt.ran, late: tt.late}, w)
			require.Equal(t, tt.starved, w.starved())
		})
	}
}

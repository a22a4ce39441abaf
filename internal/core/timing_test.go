package core

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/l2vip/l2vip/announce"
)

// profile is one of the profiles of the Runner, in numbers.
type profile struct {
	name string
	// beat is the time between two beats of a holder, and idle of another member.
	beat, idle time.Duration
	// detection is within what time a silent holder is taken for dead, and lease is
	// for how long it answers after its process has last run.
	detection, lease time.Duration
}

var profiles = []profile{
	{"fast", 2 * time.Millisecond, 100 * time.Millisecond, 10 * time.Millisecond, time.Second},
	{"default", 40 * time.Millisecond, 100 * time.Millisecond, 280 * time.Millisecond, time.Second},
	{"slow", 250 * time.Millisecond, 250 * time.Millisecond, 2290 * time.Millisecond, time.Second},
}

const (
	// What the Runner waits by default at a start, and for a successor.
	defaultStartHold       = 500 * time.Millisecond
	defaultHandoverTimeout = 500 * time.Millisecond
	// probeTail is how long a probe lasts after its last frame, and probeLength is
	// how long it lasts as a whole.
	probeTail   = 100 * time.Millisecond
	probeLength = 2*75*time.Millisecond + probeTail
)

// TestDelays checks how the delays lie to each other.
func TestDelays(t *testing.T) {
	for _, p := range profiles {
		t.Run(p.name, func(t *testing.T) {
			less := func(a, b time.Duration, why string) { t.Helper(); require.Less(t, a, b, why) }
			atMost := func(a, b time.Duration, why string) { t.Helper(); require.LessOrEqual(t, a, b, why) }

			// Start and hand-over.
			atMost(2*p.idle, defaultStartHold, "a member that beats is heard before the start hold is over, even if one of its beats is lost")
			atMost(2*p.idle, defaultHandoverTimeout, "a successor that beats as one that holds nothing is waited for")

			// The lease.
			atMost(3*p.beat, p.lease, "a process that runs renews its lease long before it is over, even if beats are lost")
			less(2*p.idle, resyncTimeout, "each member beats before the others are no longer waited for")

			// Conflicts.
			less(p.idle, conflictWait, "a member whose station claims an address beats before it is judged")
			less(conflictWait, inFlightGrace, "a member is asked once about the frames that were on their way")
			less(conflictWait+2*p.idle, rejoinGrace, "a former member that comes back is known and has told what it holds before it is a foreign station")
			less(conflictWait, rejoinGrace, "a former member gets more time than one that is heard")

			// What was while holders were apart is told until they have met: they hear each
			// other's beats, and get each other's offers.
			less(rejoinHold(p.detection)+conflictWait, countHold, "how many members were seen is told until two holders have met")
			less(rejoinHold(p.detection)+conflictWait, isolatedHold, "that a holder was isolated is told until two holders have met")
			less(2*p.idle, aloneAfter, "a member that is there is heard before it is taken that none is")

			// Links.
			less(3*p.idle, rejoinHold(p.detection), "a node hears each member before it is a candidate, even if beats are lost")
			less(p.detection, rejoinHold(p.detection), "a node that is back is not taken for dead by then, if it was not heard at first")
			less(rejoinHold(p.detection), dampedFor(2), "a link that fails again and again counts later than one that comes up")
			less(rejoinHold(p.detection), flapWindow, "a link that was never a candidate in between has failed soon")
		})
	}

	// Frames of a foreign station, and what is done about them.
	require.Equal(t, 10*time.Second, defendInterval, "DEFEND_INTERVAL of RFC 5227")
	require.Greater(t, conflictOver, defendInterval, "a defense that has to wait is made before the station is forgotten")
	require.Greater(t, conflictOver, 3*announce.DefaultRivalProbe, "three probes for a station are lost before it is gone")

	// Probes.
	require.Greater(t, backoffPause, probeTail, "the probe of the other member is over, if its last frame was the one that was heard")
	require.Less(t, backoffPause, probeLength, "two members that wait for one another lose less than a probe")
	require.Greater(t, disputePause, probeLength, "a foreign station is asked less often than one probe after the other")

	// Growing pauses.
	require.Equal(t, disputePause, disputedFor(1))
	require.Equal(t, 2*disputePause, disputedFor(2))
	require.Equal(t, dampFirst, dampedFor(1))
	require.Equal(t, 2*dampFirst, dampedFor(2))
	for n := 1; n < 1<<6; n++ {
		require.LessOrEqual(t, disputedFor(n), disputedFor(n+1), "pauses never shrink")
		require.LessOrEqual(t, dampedFor(n), dampedFor(n+1), "pauses never shrink")
	}
	require.Equal(t, disputePauseMost, disputedFor(1<<40))
	require.Equal(t, dampMost, dampedFor(1<<40))
	require.GreaterOrEqual(t, flapWindow, dampMost, "a link that fails while it is damped has failed soon, however long it is damped")
}

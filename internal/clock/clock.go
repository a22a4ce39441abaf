// Package clock is a clock for leases. Setting the time of day does not move
// it, and it counts the time in which the machine was suspended, which Go's
// monotonic clock leaves out. Within a testing/synctest bubble it follows the
// bubble's time.
//
// Such a reading is Go's monotonic time plus what CLOCK_BOOTTIME is ahead of
// CLOCK_MONOTONIC. The second takes system calls, and changes only when the machine
// was suspended. Then, and when it is set, the time of day moves against the monotonic
// time. So that is looked at with each reading, which costs tens of nanoseconds and no
// system call, and the rest is asked for when it has moved.
package clock

import (
	"sync/atomic"
	"time"
)

// start is an arbitrary origin; only differences of readings mean anything.
var start = time.Now()

// tolerance is by how much the time of day may move against the monotonic time before
// the suspended time is asked for. Adjusting a clock moves both, and no machine is
// suspended for so short a time.
const tolerance = 5 * time.Millisecond

// asked is what was found when the suspended time was asked for last.
type asked struct {
	ahead     time.Duration // what the time of day was ahead of the monotonic time
	suspended time.Duration
}

var last atomic.Pointer[asked]

// Now returns the time since an arbitrary moment, suspended time included. Two
// readings may be off by some 50 microseconds against each other.
func Now() time.Duration { return at(time.Now(), &last, suspended) }

// at returns the reading at a time of both clocks.
func at(now time.Time, last *atomic.Pointer[asked], suspended func() time.Duration) time.Duration {
	monotonic := now.Sub(start)
	ahead := time.Duration(now.UnixNano()) - monotonic
	known := last.Load()
	if known == nil || (ahead-known.ahead).Abs() > tolerance {
		known = &asked{ahead: ahead, suspended: suspended()}
		last.Store(known)
	}
	return monotonic + known.suspended
}

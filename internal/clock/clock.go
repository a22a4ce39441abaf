// Package clock is a clock for leases. Setting the time of day does not move
// it, and it counts the time in which the machine was suspended, which Go's
// monotonic clock leaves out. Within a testing/synctest bubble it follows the
// bubble's time.
//
// Such a reading is Go's monotonic time plus what CLOCK_BOOTTIME is ahead of
// CLOCK_MONOTONIC. The first part costs tens of nanoseconds, without a system
// call; it moves on while this process is stopped or starved. The second takes
// system calls, and changes only when the machine was suspended. [Now] reads
// both each time, a [Reader] keeps the second for a moment.
package clock

import "time"

// start is an arbitrary origin; only differences of readings mean anything.
var start = time.Now()

// Now returns the time since an arbitrary moment, suspended time included. Two
// readings may be off by some 50 microseconds against each other.
func Now() time.Duration { return time.Since(start) + suspended() }

// MaxAge is for how long a [Reader] keeps the suspended time.
const MaxAge = time.Millisecond

// Reader is a cheaper clock, for one goroutine that reads it often: it asks
// for the suspended time only each MaxAge, and after Forget. So it misses a
// suspension for at most the MaxAge that the machine runs after it; everything
// else it notices like Now. The zero value is ready to use.
type Reader struct {
	known     bool
	asked     time.Duration // when, by Go's monotonic clock
	suspended time.Duration
}

// Now returns what the function Now does.
func (r *Reader) Now() time.Duration {
	now := time.Since(start)
	if !r.known || now-r.asked >= MaxAge {
		*r = Reader{known: true, asked: now, suspended: suspended()}
	}
	return now + r.suspended
}

// Forget makes the next reading exact. Who waits for something calls it, because
// machines are suspended when everybody waits.
func (r *Reader) Forget() { r.known = false }

// Package clock is a clock for leases. Setting the time of day does not move
// it, and it counts the time in which the machine was suspended, which Go's
// monotonic clock leaves out. Within a testing/synctest bubble it follows the
// bubble's time.
package clock

import "time"

// start is an arbitrary origin; only differences of readings mean anything.
var start = time.Now()

// Now returns the time since an arbitrary moment, suspended time included. Two
// readings may be off by some 50 microseconds against each other.
func Now() time.Duration { return time.Since(start) + suspended() }

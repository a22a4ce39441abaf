package main

import (
	"errors"
	"time"

	"golang.org/x/sys/unix"
)

// now returns the time by the machine's monotonic clock, which is the same in
// every process.
func now() time.Duration {
	var t unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &t) // cannot fail: there is such a clock
	return time.Duration(t.Nano())
}

// sleepUntil blocks the thread until a time by now. Go's own timers wait for
// whole milliseconds.
func sleepUntil(at time.Duration) {
	t := unix.NsecToTimespec(int64(at))
	for errors.Is(unix.ClockNanosleep(unix.CLOCK_MONOTONIC, unix.TIMER_ABSTIME, &t, nil), unix.EINTR) {
	}
}

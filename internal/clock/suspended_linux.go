package clock

import (
	"time"

	"golang.org/x/sys/unix"
)

// precision bounds how far the reading of suspended may be off.
const precision = 50 * time.Microsecond

// suspended returns for how long the machine has been suspended since it
// booted: what CLOCK_BOOTTIME is ahead of CLOCK_MONOTONIC. The two can't be read
// at once, so it reads again if too much time passed in between.
func suspended() time.Duration {
	for range 3 {
		before := read(unix.CLOCK_MONOTONIC)
		boot := read(unix.CLOCK_BOOTTIME)
		if after := read(unix.CLOCK_MONOTONIC); after-before < precision {
			return boot - before
		}
	}
	return read(unix.CLOCK_BOOTTIME) - read(unix.CLOCK_MONOTONIC)
}

func read(id int32) time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(id, &ts); err != nil {
		return 0 // both clocks exist on every kernel that Go supports
	}
	return time.Duration(ts.Nano())
}

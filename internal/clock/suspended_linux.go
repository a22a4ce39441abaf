package clock

import (
	"time"

	"golang.org/x/sys/unix"
)

// precision is how far the reading of suspended may be off.
const precision = 50 * time.Microsecond

// suspended returns for how long the machine has been suspended since it
// booted: what CLOCK_BOOTTIME is ahead of CLOCK_MONOTONIC. The two can't be read
// at once, so it reads the one between two readings of the other, and again if
// too much time passed between those: a process that is starved or stopped
// right there must not take that time for suspended. Where system calls are
// always so slow, as under a tracer, the best of some readings has to do.
func suspended() time.Duration {
	return measure(func() time.Duration { return read(unix.CLOCK_MONOTONIC) }, func() time.Duration { return read(unix.CLOCK_BOOTTIME) })
}

func measure(monotonic, boot func() time.Duration) (ahead time.Duration) {
	best := time.Duration(-1)
	for range 5 {
		before, now, after := monotonic(), boot(), monotonic()
		if off := after - before; best < 0 || off < best {
			best, ahead = off, now-before-off/2
		}
		if best < precision {
			break
		}
	}
	return ahead
}

func read(id int32) time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(id, &ts); err != nil {
		return 0 // both clocks exist on every kernel that Go supports
	}
	return time.Duration(ts.Nano())
}

package health

import "time"

// wakeups tells whether this process runs by how late a goroutine of it wakes
// up. The zero value has seen none.
type wakeups struct {
	ran  time.Duration // what was slept as asked
	late time.Duration // by how much it took longer
}

// add takes in that the goroutine wanted to sleep for step at most, and ran
// again after took.
func (w *wakeups) add(step, took time.Duration) {
	w.ran += min(step, took)
	w.late += max(0, took-step)
}

// starved reports whether the process was kept from running for more than a
// quarter of the time.
func (w wakeups) starved() bool { return w.late > w.ran/3 }

package announce

import (
	"math"
	"time"
)

// pacer spreads what is sent: a burst may go at once, and in the long run rate a
// second may. It is a leaky bucket, as an hour at which that is empty.
type pacer struct {
	each  time.Duration // what one frame adds
	burst time.Duration // how full it may be
	empty time.Time
}

func newPacer(burst, rate int) pacer {
	each := max(1, time.Second/time.Duration(rate))
	full := min(int64(burst-1), math.MaxInt64/int64(each)) // more would not fit a Duration
	return pacer{each: each, burst: time.Duration(full) * each}
}

// readyAt returns when something may be sent.
func (p *pacer) readyAt() time.Time { return p.empty.Add(-p.burst) }

// ready reports whether something may be sent now.
func (p *pacer) ready(now time.Time) bool { return !now.Before(p.readyAt()) }

// sent notes that so many frames were.
func (p *pacer) sent(frames int, now time.Time) {
	if p.empty.Before(now) {
		p.empty = now
	}
	p.empty = p.empty.Add(time.Duration(frames) * p.each)
}

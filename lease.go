package l2vip

import (
	"sync/atomic"
	"time"
)

// lease is until when this node may answer for what it holds, should its process
// not run from now on. Each turn of the loop and each beat extends it, a beat to no
// later than maxLoopStall after the last turn; once it has run out only the loop can
// make it hold again. Everything here is called by the
// loop, but for beaten and valid.
type lease struct {
	announcer Announcer
	now       func() time.Duration
	byTurn    time.Duration // how long it is from a turn of the loop on
	byBeat    atomic.Int64  // how long it is from a beat on
	turned    atomic.Int64  // when the loop last turned
	expires   atomic.Int64  // zero before the first time
}

const (
	// renewalsPerLease is how often a turn of the loop renews the lease within its
	// length.
	renewalsPerLease = 5
	// maxLoopStall is for how long the loop may stand still and the node holds what it
	// holds all the same.
	maxLoopStall = time.Second
)

// pause is the longest time between two turns of the loop: a part of the lease that it
// renews. Where beats renew a longer one it only has to turn in time for them, and before
// its own is over if they are not sent.
func (l *lease) pause() time.Duration {
	return max(l.byTurn/renewalsPerLease, min(l.byTurn/3, time.Duration(l.byBeat.Load())/renewalsPerLease))
}

// turn extends the lease at a turn of the loop, and returns by how much that is too
// late; zero if it is in time.
func (l *lease) turn(now time.Duration) (late time.Duration) {
	l.turned.Store(int64(now))
	expires := time.Duration(l.expires.Load())
	switch {
	case expires == 0:
		l.reset(now)
	case now >= expires:
		return max(now-expires, 1)
	default:
		l.extend(now, now+l.byTurn)
	}
	return 0
}

// beaten extends the lease from just before a beat that was sent: proof that the
// others could hear this node. It is called on the thread that beats, which runs
// when a busy program starves the loop.
func (l *lease) beaten(ago time.Duration) {
	now := l.now()
	stalled := time.Duration(l.turned.Load()) + maxLoopStall
	l.extend(now, min(now-ago+time.Duration(l.byBeat.Load()), stalled))
}

// valid reports whether the node may act on what it holds: the lease holds, and the
// loop turns. It is called on the thread that beats.
func (l *lease) valid() bool {
	now := l.now()
	return int64(now) < l.expires.Load() && now-time.Duration(l.turned.Load()) < maxLoopStall
}

// extend lets the lease hold until then if it has not run out, and would before.
func (l *lease) extend(now, until time.Duration) {
	last := l.expires.Load()
	if int64(now) >= last || int64(until) <= last || !l.expires.CompareAndSwap(last, int64(until)) {
		return
	}
	l.announcer.Renew(until - now)
	if l.now() >= until {
		l.announcer.Renew(0) // this process was stopped in the middle of that
	}
}

// reset lets the lease run from now, as long as a turn of the loop makes it.
func (l *lease) reset(now time.Duration) {
	l.expires.Store(int64(now + l.byTurn))
	l.announcer.Renew(l.byTurn)
}

// limit sets how long the lease is from a turn and from a beat on, and cuts short
// what is longer now.
func (l *lease) limit(byTurn, byBeat, now time.Duration) {
	shorter := byTurn < l.byTurn
	l.byTurn = byTurn
	if time.Duration(l.byBeat.Swap(int64(byBeat))) > byBeat || shorter {
		if int64(now) < l.expires.Load() {
			l.reset(now)
		}
	}
}

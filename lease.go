package l2vip

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"
)

// lease is until when this node may answer for what it holds, should its process
// not run from now on. Each turn of the loop and each heartbeat extends it; once it
// has run out only the loop can make it hold again. Everything here is called by the
// loop, but for beaten.
type lease struct {
	announcer Announcer
	now       func() time.Duration
	byTurn    time.Duration // how long it is from a turn of the loop on
	byBeat    atomic.Int64  // how long it is from a heartbeat on
	turned    atomic.Int64  // when the loop last turned
	expires   atomic.Int64  // zero before the first time
}

// ticks is how often a turn of the loop renews the lease within its length.
const ticks = 5

// hung is for how long the loop may stand still and heartbeats extend the lease all
// the same.
const hung = time.Second

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

// beaten extends the lease from just before a heartbeat that was sent: proof that
// the others could hear this node. It is called on the thread that beats, which runs
// when a busy program starves the loop.
func (l *lease) beaten(ago time.Duration) {
	now := l.now()
	if now-time.Duration(l.turned.Load()) < hung {
		l.extend(now, now-ago+time.Duration(l.byBeat.Load()))
	}
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

// among sets how long the lease is from a heartbeat on, and cuts short what is
// longer now. Members that all beat know it, and leave a process that does not run
// that much time; for others it must be over before the membership can have lost
// this member.
func (l *lease) among(length, now time.Duration) {
	if time.Duration(l.byBeat.Swap(int64(length))) > length && int64(now) < l.expires.Load() {
		l.reset(now)
	}
}

// distrust is for how long a node whose lease ran out holds still if it can't
// complete an exchange with another: by then the others have judged it.
const distrust = time.Second

// renew extends the lease at a turn of the loop. If it has run out meanwhile, this
// process was stopped or starved or the machine suspended, and the others may have
// taken over: then it is void, which renew reports once, until they were heard or
// have had the time to judge.
func (l *loop) renew(now time.Duration) (lost bool) {
	late := l.lease.turn(now)
	if l.deserted > 0 {
		if !l.syncing && now-l.deserted > distrust {
			l.trust()
		}
		return false
	}
	if late == 0 {
		return false
	}
	l.deserted = now
	l.company = l.company[:0]
	for o := range l.plan.view.Offers() {
		l.company = append(l.company, o.Node)
	}
	l.config.Logger.Warn("the lease has run out: this process did not run in time", "late", late)
	l.events.emit(Event{Kind: LeaseLost, Detail: fmt.Sprintf("%v late", late)})
	return true
}

// trust lets the lease hold again.
func (l *loop) trust() {
	l.deserted = 0
	l.lease.reset(l.now())
	l.events.emit(Event{Kind: LeaseRegained})
	l.signal()
}

// inTouch reports whether the offers of all live members are known, and all those
// of company are live. A process that did not run finds timers that have run out,
// and may take others for dead until they have answered; and what is kept of a
// member is of yesterday. One that is dead indeed is waited for in vain, for as long
// as distrust lasts.
func inTouch(p *plan, self string, company []string) bool {
	for o := range p.view.Offers() {
		if o.Node != self && o.Instance == 0 {
			return false
		}
	}
	return len(p.kept) == 0 && !slices.ContainsFunc(company, func(node string) bool {
		_, live := p.view.Offer(node)
		return !live
	})
}

// sync asks for a full exchange with another member.
func (l *loop) sync(g *group, now time.Duration) {
	l.syncing, l.exchange = true, exchange{began: now}
	timeout, level := exchangeTimeout, slog.LevelInfo
	if l.deserted > 0 {
		timeout, level = distrust, slog.LevelWarn
	}
	g.start(func(ctx context.Context) {
		ctx, cancel := context.WithTimeout(ctx, timeout)
		defer cancel()
		err := l.config.Membership.Sync(ctx)
		if err != nil {
			l.config.Logger.Log(ctx, level, "no exchange with another member", "error", err)
		}
		l.synced <- err == nil // one at a time: never blocks
	})
}

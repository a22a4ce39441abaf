package health

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"time"

	"github.com/l2vip/l2vip/internal/conferr"
)

// maxPatience bounds the times of a Monitor: who waits longer waits for ever.
const maxPatience = 24 * time.Hour

const (
	// maxVoid is how many checks may be void until one ends in time again, so
	// that an application that hangs on a starved machine is found.
	maxVoid = 3
	// minStep is the shortest time between two looks at whether this process
	// runs. Go's timers may be late by a millisecond on an idle machine.
	minStep = 10 * time.Millisecond
)

// A Check asks the application once whether it is healthy: nil means yes, and
// an error says why not. It must return when ctx ends.
//
// A Check is also a [Source], with the default timing of [Monitor].
type Check func(ctx context.Context) error

// Run runs the check in a [Monitor] with default timing.
func (c Check) Run(ctx context.Context, report func(State)) error {
	return Monitor{Check: c}.Run(ctx, report)
}

// Validate returns a [*ConfigError] if there is no check.
func (c Check) Validate() error { return Monitor{Check: c}.Validate() }

// A Monitor runs a [Check] again and again and judges the results. It is a
// [Source]. The first result decides at once; after that it takes Rise
// successes in a row to become ready, and Fall failures in a row to become not
// ready. The state's reason is that of the last failure.
//
// Not scheduled is not dead. A check that has failed when its time is up is
// void if this process itself was kept from running for more than a quarter of
// that time: it was stopped, or the machine overloaded, or other goroutines took
// all processors. A void check counts neither as failure nor as success, and is
// repeated at once with twice the Timeout. At most three are void until one ends
// in time again, so an application that hangs is found on a starved machine too.
// What fails before its time is up always counts.
type Monitor struct {
	// Check is required. The method Check of a probe fits here, as in
	// Monitor{Check: HTTP{URL: "http://localhost/"}.Check}.
	Check Check
	// Interval is the longest time from the start of one check to the start
	// of the next, up to a day; 0 means 100 ms. A check that takes longer is followed at
	// once by the next one; two never run at the same time.
	Interval time.Duration
	// Timeout is how long a check may take, up to a day; its context ends
	// then. 0 means 500 ms. A check that does not return even so counts as
	// failed once for each Timeout plus Interval in which this process ran, and
	// delays the return of Run.
	Timeout time.Duration
	// Rise is how many successes in a row make ready what was not; 0 means 2.
	Rise int
	// Fall is how many failures in a row make not ready what was; 0 means 2.
	// So an application that refuses connections is known to be down within
	// Fall times Interval.
	Fall int
	// Jitter is the part of Interval, from 0 to 1, by which the pause is
	// shortened at most, each time by a random amount, so that many nodes do
	// not ask a common backend in step; 0 means 0.1.
	Jitter float64
}

// Validate returns all that is wrong with the configuration, each finding as a
// [*ConfigError]. It cannot look inside Check: a probe has a Validate method of
// its own.
func (m Monitor) Validate() error {
	var l conferr.List
	if m.Check == nil {
		l.Addf("Check", "required")
	}
	if m.Interval < 0 || m.Interval > maxPatience {
		l.Addf("Interval", "not from 0 to %v: %v", maxPatience, m.Interval)
	}
	if m.Timeout < 0 || m.Timeout > maxPatience {
		l.Addf("Timeout", "not from 0 to %v: %v", maxPatience, m.Timeout)
	}
	if m.Rise < 0 {
		l.Addf("Rise", "negative: %d", m.Rise)
	}
	if m.Fall < 0 {
		l.Addf("Fall", "negative: %d", m.Fall)
	}
	if !(m.Jitter >= 0 && m.Jitter <= 1) {
		l.Addf("Jitter", "not from 0 to 1: %v", m.Jitter)
	}
	return l.Err()
}

// Run checks until ctx ends. The first check starts at once. report is called
// on the goroutine that called Run. What a check says that ctx interrupted is
// not reported. Run fails only if the configuration is not valid.
func (m Monitor) Run(ctx context.Context, report func(State)) error {
	if err := m.Validate(); err != nil {
		return err
	}
	m = m.withDefaults()
	report = changes(report)
	v := verdict{rise: m.Rise, fall: m.Fall}
	add := func(err error) {
		if ctx.Err() == nil {
			report(v.add(err))
		}
	}
	results := make(chan result)
	timeout := m.Timeout
	for ctx.Err() == nil {
		due := time.After(m.pause())
		go func() { results <- m.check(ctx, timeout) }()
		r, starved := await(results, max(m.Timeout/10, minStep), timeout+m.Interval, func() {
			add(fmt.Errorf("still busy after its timeout of %v", m.Timeout))
		})
		if v.void(r.overdue, starved) {
			timeout = 2 * m.Timeout
			continue
		}
		timeout = m.Timeout
		add(r.err)
		select {
		case <-ctx.Done():
		case <-due:
		}
	}
	return nil
}

// result is what came of a check.
type result struct {
	err     error
	overdue bool // it failed when its time was up
}

// check asks once. What succeeds too late has failed.
func (m Monitor) check(ctx context.Context, timeout time.Duration) result {
	deadline := time.Now().Add(timeout)
	ctx, cancel := context.WithDeadlineCause(ctx, deadline, fmt.Errorf("no result within %v", m.Timeout))
	defer cancel()
	err := m.Check(ctx)
	if err == nil {
		err = context.Cause(ctx)
	}
	// A dial that is given the deadline may end just before the context does.
	return result{err: err, overdue: err != nil && !time.Now().Before(deadline)}
}

// await waits for the result of a check, and tells whether this process was
// starved meanwhile. It looks at that after each step, and calls busy each time
// the process has run for limit.
func await(results <-chan result, step, limit time.Duration, busy func()) (r result, starved bool) {
	var w wakeups
	for next := limit; ; {
		start, sleep := time.Now(), min(step, next-w.ran)
		select {
		case r = <-results:
			w.add(sleep, time.Since(start))
			return r, w.starved()
		case <-time.After(sleep):
		}
		// Go's scheduler lets a timer's goroutine go first. What waits for the
		// network queues up behind all that want to run, as this does now.
		runtime.Gosched()
		w.add(sleep, time.Since(start))
		if w.ran >= next {
			busy()
			next += limit
		}
	}
}

// pause returns the time from the start of one check to the start of the next.
func (m Monitor) pause() time.Duration {
	return m.Interval - rand.N(time.Duration(m.Jitter*float64(m.Interval))+1)
}

// withDefaults returns m with the default in place of each zero.
func (m Monitor) withDefaults() Monitor {
	if m.Interval == 0 {
		m.Interval = 100 * time.Millisecond
	}
	if m.Timeout == 0 {
		m.Timeout = 500 * time.Millisecond
	}
	if m.Rise == 0 {
		m.Rise = 2
	}
	if m.Fall == 0 {
		m.Fall = 2
	}
	if m.Jitter == 0 {
		m.Jitter = 0.1
	}
	return m
}

// verdict turns the results of checks into a state.
type verdict struct {
	rise, fall int
	known      bool // there has been a result
	against    int  // results in a row that contradict state
	voids      int  // void checks since the last that ended in time
	state      State
}

// void reports whether a check says nothing about the application. It is asked
// once for each check.
func (v *verdict) void(overdue, starved bool) bool {
	if !overdue {
		v.voids = 0
		return false
	}
	if !starved || v.voids == maxVoid {
		return false
	}
	v.voids++
	return true
}

// add takes in one more result and returns the state after it.
func (v *verdict) add(err error) State {
	healthy := err == nil
	if healthy == v.state.Ready {
		v.against = 0
	} else {
		v.against++
	}
	enough := v.fall
	if healthy {
		enough = v.rise
	}
	if !v.known || v.against >= enough {
		v.known = true
		v.against = 0
		v.state = State{Ready: healthy}
	}
	if !healthy && !v.state.Ready {
		v.state.Reason = reason(err)
	}
	return v.state
}

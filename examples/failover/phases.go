package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
)

const (
	// calm is how many requests in a row must be served until a failure is
	// taken to be over: a second's.
	calm = int(time.Second / every)
	// patience is how long anything is waited for.
	patience = 15 * time.Second
)

// phase is something that happens to the leader.
type phase struct {
	name string
	// says what happens; %s stands for the front that it happens to.
	says string
	// fails tells that the leader fails, so that another must take over. If
	// not, nothing may move.
	fails bool
	// act does it to the front that leads if the phase fails it, and else to
	// the one that failed last.
	act func(context.Context, *front) error
	// repair makes the front a candidate again before the phase ends.
	repair func(*front) error
}

// phases is a run.
var phases = []phase{
	{
		name: "steady", says: "nothing happens",
	},
	{
		name: "app-failure", says: "the web server of %s is killed", fails: true,
		act: func(_ context.Context, f *front) error { return f.server.Kill() },
	},
	{
		name: "app-return", says: "the web server of %s is started again",
		act: func(_ context.Context, f *front) error { return f.startServer() },
	},
	{
		name: "node-failure", says: "the switch port of %s is unplugged", fails: true,
		act: func(_ context.Context, f *front) error { return f.node.Unplug() },
	},
	{
		name: "node-return", says: "the switch port of %s is plugged in again",
		act: func(_ context.Context, f *front) error { return f.node.Plug() },
	},
	{
		name: "speaker-crash", says: "the speaker of %s is killed, its web server is not", fails: true,
		act:    func(_ context.Context, f *front) error { return f.speaker.Kill() },
		repair: (*front).startSpeaker,
	},
	{
		name: "drain", says: "the speaker of %s is told to stop", fails: true,
		act:    func(ctx context.Context, f *front) error { return f.stopSpeaker(ctx) },
		repair: (*front).startSpeaker,
	},
}

// outcome is what came of a phase: what the client saw from its beginning to
// the beginning of the next one.
type outcome struct {
	run      int // from 1
	phase    phase
	from, to string // who led when it began, and when it ended
	first    int    // the number of its first request
	end      int    // and that of the first one after it
	requests int
	failed   int
	longest  time.Duration // the longest gap
	paused   time.Duration // the longest pause of the client itself
	moved    bool          // someone other than from has served a request
}

// ok reports whether what had to happen has happened: another front has taken
// over, or nothing has moved.
func (o outcome) ok() bool {
	if o.phase.fails {
		return isFront(o.to) && o.to != o.from
	}
	return o.to == o.from && !o.moved
}

// player plays phases in a lab, one after the other.
type player struct {
	lab    *lab
	show   *display
	lasts  time.Duration // how long a phase lasts at the least
	victim *front        // the front that failed last
	next   int           // the number of the next phase's first request
}

// playAll plays all phases a number of times. It stops at the first one that
// does not come to its end; one that ends as it must not is an error as well.
func (p *player) playAll(ctx context.Context, runs int) (outcomes []outcome, err error) {
	if err := p.begin(ctx); err != nil {
		return nil, err
	}
	following, done := context.WithCancel(ctx)
	var follower sync.WaitGroup
	follower.Go(func() { p.show.follow(following) })
	defer follower.Wait()
	defer done()
	for run := 1; run <= runs; run++ {
		for _, ph := range phases {
			o, failure := p.play(ctx, run, ph)
			if ctx.Err() != nil {
				return outcomes, errors.Join(err, context.Cause(ctx))
			}
			outcomes = append(outcomes, o)
			if failure == nil && !o.ok() {
				err = errors.Join(err, fmt.Errorf("%s: %s", ph.name, o.verdict()))
			}
			if failure != nil {
				return outcomes, errors.Join(err, failure)
			}
		}
	}
	return outcomes, err
}

// begin waits until the address is served and the fronts know each other.
func (p *player) begin(ctx context.Context) error {
	b := p.lab.board
	if err := b.waitComplete(ctx); err != nil {
		return err
	}
	err := b.Wait(ctx, "the address was served", func() bool {
		by := b.served(calm / 10)
		return by != "" && by == b.leader()
	})
	if err != nil {
		return err
	}
	p.next, err = b.mark(ctx)
	p.show.skip(p.next)
	return err
}

// play plays a phase. With an error the outcome is what was seen until then.
func (p *player) play(ctx context.Context, run int, ph phase) (outcome, error) {
	b := p.lab.board
	o := outcome{run: run, phase: ph, first: p.next}
	b.Read(func() { o.from = b.leader() })
	if ph.fails {
		p.victim = p.lab.fronts[o.from]
		if p.victim == nil {
			return o, fmt.Errorf("%s: no front leads", ph.name)
		}
	}
	p.show.sayf("%s: %s", ph.name, p.describe(ph))
	err := p.perform(ctx, ph, o.from)
	end, markErr := b.mark(ctx)
	if err = errors.Join(err, markErr); err != nil {
		err = fmt.Errorf("%s: %w", ph.name, err)
	}
	p.next = end
	p.show.strip(end, false)
	b.Read(func() { o.look(b.requests[:end]) })
	return o, err
}

// describe says what happens in a phase.
func (p *player) describe(ph phase) string {
	if strings.Contains(ph.says, "%s") {
		return fmt.Sprintf(ph.says, p.victim.node.Name)
	}
	return ph.says
}

// perform acts, and waits until the phase is over.
func (p *player) perform(ctx context.Context, ph phase, from string) error {
	b := p.lab.board
	over := time.Now().Add(p.lasts)
	if ph.act != nil {
		if err := ph.act(ctx, p.victim); err != nil {
			return err
		}
	}
	// The client's requests keep changing the board, so the time is looked at.
	err := b.Wait(ctx, "the address was served again", func() bool {
		by := b.served(calm)
		return time.Now().After(over) && by != "" && by == b.leader() && (by != from) == ph.fails
	})
	if err != nil {
		return err
	}
	if ph.repair != nil {
		if err := ph.repair(p.victim); err != nil {
			return err
		}
	}
	if ph.fails && ph.repair == nil {
		return nil // the next phase repairs it
	}
	return b.waitComplete(ctx)
}

// look takes in what the client saw: all requests up to the end of the phase.
func (o *outcome) look(requests []request) {
	o.end = len(requests)
	own := requests[o.first:]
	o.requests = len(own)
	o.failed = failures(own)
	o.longest = longestGap(requests, o.first, o.end)
	o.paused = longestPause(requests[max(0, o.first-1):])
	for _, r := range own {
		if r.By != "" {
			o.to = r.By
			o.moved = o.moved || r.By != o.from
		}
	}
}

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/l2vip/l2vip/internal/labprog"
)

// standing is what a speaker last said of itself. The zero value is that of one
// that is not running.
type standing struct {
	Ready     bool // it has joined and made its first plan
	Members   int  // how many it knows, itself included
	Candidate bool // it offers the address
	Holds     bool // it answers for the address
}

// board is what is known of the lab: what the client and the speakers reported.
type board struct {
	labprog.Board

	start    time.Time // the zero of all times
	requests []request // by number; those without an end are still under way
	settled  int       // the requests before this one have all ended
	speakers map[string]standing
	answered map[string]bool // the nodes that ever answered for the address, as the network or they themselves say
}

func newBoard() *board {
	return &board{
		Board:    labprog.Board{Patience: patience},
		start:    time.Now(),
		speakers: make(map[string]standing),
		answered: make(map[string]bool),
	}
}

// add enters a request that has ended.
func (b *board) add(r request) {
	b.Update(func() {
		if len(b.requests) == 0 {
			b.start = time.Now().Add(-r.Sent - r.Took)
		}
		for len(b.requests) <= r.Number {
			b.requests = append(b.requests, request{})
		}
		b.requests[r.Number] = r
		for b.settled < len(b.requests) && b.requests[b.settled].Took > 0 {
			b.settled++
		}
	})
}

// mark returns the number of the first request of what begins now. All requests
// before it have ended: they do not see what is done next.
func (b *board) mark(ctx context.Context) (int, error) {
	var number int
	b.Read(func() { number = len(b.requests) })
	return number, b.Wait(ctx, "the client's requests ended", func() bool { return b.settled >= number })
}

// served returns who served the last n requests that have ended; empty if they
// were not all served, and by the same.
func (b *board) served(n int) string {
	if n == 0 || b.settled < n {
		return ""
	}
	last := b.requests[b.settled-1].By
	for _, r := range b.requests[b.settled-n : b.settled] {
		if r.By != last {
			return ""
		}
	}
	return last
}

// leader returns the node that holds the address; empty if there is none, or
// more than one.
func (b *board) leader() string {
	var leader string
	for name, s := range b.speakers {
		switch {
		case !s.Holds:
		case leader != "":
			return ""
		default:
			leader = name
		}
	}
	return leader
}

// complete reports whether the fronts know each other and are candidates for the
// address. No advertisement selects the worker: its speaker has no interface to
// announce on, and so meets no others.
func (b *board) complete() bool { return len(b.lacking()) == 0 }

// lacking says what keeps the lab from being complete.
func (b *board) lacking() []string {
	var lacks []string
	for _, at := range speakers() {
		s, running := b.speakers[at.name]
		switch {
		case !running:
			lacks = append(lacks, at.name+" has no speaker")
		case !s.Ready:
			lacks = append(lacks, at.name+" is not ready")
		case isFront(at.name) && s.Members != len(fronts):
			lacks = append(lacks, fmt.Sprintf("%s knows %d of %d members", at.name, s.Members, len(fronts)))
		case s.Candidate != isFront(at.name):
			lacks = append(lacks, fmt.Sprintf("%s is a candidate: %t", at.name, s.Candidate))
		}
	}
	return lacks
}

// waitComplete waits until the lab is complete.
func (b *board) waitComplete(ctx context.Context) error {
	err := b.Wait(ctx, "all fronts were ready", b.complete)
	if err != nil {
		b.Read(func() { err = fmt.Errorf("%w: %s", err, strings.Join(b.lacking(), ", ")) })
	}
	return err
}

// intruder returns an error if a node other than a front has ever answered for
// the address or served a request.
func (b *board) intruder() error {
	var errs []error
	b.Read(func() {
		for name := range b.answered {
			if !isFront(name) {
				errs = append(errs, fmt.Errorf("%q answered for the address", name))
			}
		}
		i := slices.IndexFunc(b.requests, func(r request) bool { return r.By != "" && !isFront(r.By) })
		if i >= 0 {
			errs = append(errs, fmt.Errorf("%q served a request", b.requests[i].By))
		}
	})
	return errors.Join(errs...)
}

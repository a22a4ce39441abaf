package main

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// patience is how long anything is waited for: several times what the slowest
// system takes.
const patience = 20 * time.Second

// board is what is known of a stage: what the client and the speakers reported.
// Whoever waits for something waits for the board to say it.
type board struct {
	mu       sync.Mutex
	places   []place
	changed  chan struct{} // closed and replaced with every change
	speakers map[string]standing
	progress progress // of the client
	trace    *trace   // what the client has seen, once it has ended
	sighting *sighting
}

func newBoard(places []place) *board {
	return &board{places: places, changed: make(chan struct{}), speakers: make(map[string]standing)}
}

// update changes the board and wakes all who wait.
func (b *board) update(change func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	change()
	close(b.changed)
	b.changed = make(chan struct{})
}

// read calls look, which may read the board.
func (b *board) read(look func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	look()
}

// wait waits until met, which may read the board, says so. It gives up after
// patience, and says what it has waited for.
func (b *board) wait(ctx context.Context, what string, met func() bool) error {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("waited %v until %s", patience, what))
	defer cancel()
	for {
		b.mu.Lock()
		ok, changed := met(), b.changed
		b.mu.Unlock()
		if ok {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// leader returns the node that holds the address while all others are ready to
// take it; empty if it is not so.
func (b *board) leader() string {
	leader := ""
	for _, at := range b.places {
		switch s := b.speakers[at.name]; {
		case !s.Ready || s.Holds && leader != "":
			return ""
		case s.Holds:
			leader = at.name
		}
	}
	return leader
}

// served reports whether the last datagrams, as many as streak, were all
// answered, and by the same node, which is not the one named.
func (b *board) served(notBy string, streak int) bool {
	return b.progress.By != "" && b.progress.By != notBy && b.progress.Streak >= streak
}

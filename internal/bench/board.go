package main

import (
	"time"

	"github.com/l2vip/l2vip/internal/labprog"
)

// patience is how long anything is waited for: several times what the slowest
// system takes.
const patience = 20 * time.Second

// board is what is known of a lab: what the client and the speakers reported.
type board struct {
	labprog.Board

	places   []place
	speakers map[string]standing
	progress progress // of the client
	trace    *trace   // what the client has seen, once it has ended
	sighting *sighting
}

func newBoard(places []place) *board {
	return &board{Board: labprog.Board{Patience: patience}, places: places, speakers: make(map[string]standing)}
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

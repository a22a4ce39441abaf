package health

import (
	"context"

	"github.com/l2vip/l2vip/internal/conferr"
)

// State is what a [Source] knows about an application. States are compared
// with ==. The zero value is not ready, for no stated reason.
type State struct {
	// Ready says whether clients can be sent to this node.
	Ready bool
	// Score is added to the node's weight for the addresses of the service:
	// positive to draw them here, negative to push them away, 0 for neither.
	Score int
	// Reason says to people why the application is not ready. It is empty
	// when it is ready. The sources of this package keep it stable while the
	// cause is the same, on one line, and at most 256 bytes long where it
	// holds text that others wrote.
	Reason string
}

// A Source watches an application.
type Source interface {
	// Run watches until ctx ends and then returns nil. An error means that
	// the source itself is broken and says nothing about the application any
	// more; it is then taken as not ready.
	//
	// Run calls report when the state is first known, and again whenever it
	// changes. Until the first call the application is not ready. The calls
	// come one after another, from the goroutine that called Run or one that
	// Run started and waits for; so there is none after Run has returned.
	// report never blocks.
	Run(ctx context.Context, report func(State)) error
}

// ConfigError is one thing that is wrong with a configuration: Path names the
// field, as in "MinStatus", and Err says what is wrong with it.
type ConfigError = conferr.Error

// validator is a source that can be checked before it runs.
type validator interface{ Validate() error }

// changes returns a function that passes on the states that differ from the
// one before.
func changes(report func(State)) func(State) {
	var last State
	known := false
	return func(s State) {
		if known && s == last {
			return
		}
		known, last = true, s
		report(s)
	}
}

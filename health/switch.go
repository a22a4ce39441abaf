package health

import (
	"context"
	"sync"
)

// A Switch is a [Source] that the program itself sets. The zero value is not
// ready. It may be set and run from several goroutines at the same time, and
// must not be copied.
type Switch struct {
	mu      sync.Mutex
	state   State
	changed chan struct{} // closed when state is set; nil while nobody waits
}

// Set makes s the state. It never blocks. States that are set faster than they
// are reported may be skipped, the last one never.
func (w *Switch) Set(s State) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.state = s
	if w.changed != nil {
		close(w.changed)
		w.changed = nil
	}
}

// Run reports the state at once and whenever it changes, on the goroutine that
// called Run, until ctx ends. It never fails.
func (w *Switch) Run(ctx context.Context, report func(State)) error {
	report = changes(report)
	for {
		state, changed := w.get()
		report(state)
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		}
	}
}

// get returns the state and a channel that is closed when it is set again.
func (w *Switch) get() (State, <-chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.changed == nil {
		w.changed = make(chan struct{})
	}
	return w.state, w.changed
}

package l2vip

import (
	"maps"
	"sync"

	"github.com/l2vip/l2vip/announce"
	"github.com/l2vip/l2vip/election"
	"github.com/l2vip/l2vip/election/segment"
	"github.com/l2vip/l2vip/health"
	"github.com/l2vip/l2vip/internal/core"
)

// inbox is what the streams have told last. Its lock is held for no longer than it
// takes to copy a few words.
type inbox struct {
	wake chan struct{} // capacity 1: something has changed

	mu         sync.Mutex
	catalog    *catalog
	facts      *announce.Facts      // nil before the first report
	membership *election.Membership // nil before the first report
	segment    segment.Report
	health     map[string]health.State // of services with a source; replaced, never changed
	draining   bool
}

// change changes what was told under the lock, and makes the loop turn. It never
// blocks.
func (b *inbox) change(f func()) {
	b.mu.Lock()
	f()
	b.mu.Unlock()
	b.signal()
}

// signal makes the loop turn.
func (b *inbox) signal() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// read returns what was told as the input of a step.
func (b *inbox) read() (*catalog, core.Input) {
	b.mu.Lock()
	defer b.mu.Unlock()
	in := core.Input{
		Table: b.catalog.table, Facts: b.facts, Membership: b.membership, Segment: b.segment,
		Health: make(map[string]health.State, len(b.catalog.services)), Draining: b.draining,
	}
	for i := range b.catalog.services {
		service := &b.catalog.services[i]
		in.Health[service.Name] = health.State{Ready: true}
		if service.Health != nil {
			in.Health[service.Name] = b.health[service.Name]
		}
	}
	return b.catalog, in
}

// drain asks for everything to be handed over.
func (b *inbox) drain() { b.change(func() { b.draining = true }) }

// setHealth takes the state of a service.
func (b *inbox) setHealth(service string, s health.State) {
	b.change(func() {
		b.health = maps.Clone(b.health)
		b.health[service] = s
	})
}

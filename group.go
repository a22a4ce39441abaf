package l2vip

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"
)

// group is goroutines that are stopped together, each with a name for what it runs.
type group struct {
	ctx    context.Context
	cancel context.CancelFunc
	ended  chan struct{} // capacity 1: one has ended

	mu      sync.Mutex
	running map[string]int
}

func newGroup(ctx context.Context) *group {
	ctx, cancel := context.WithCancel(ctx)
	return &group{ctx: ctx, cancel: cancel, ended: make(chan struct{}, 1), running: make(map[string]int)}
}

// start runs f in a goroutine.
func (g *group) start(name string, f func(context.Context)) {
	g.count(name, 1)
	go func() {
		defer g.count(name, -1)
		f(g.ctx)
	}()
}

func (g *group) count(name string, change int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.running[name] += change; g.running[name] == 0 {
		delete(g.running, name)
	}
	select {
	case g.ended <- struct{}{}:
	default:
	}
}

// names returns what runs still.
func (g *group) names() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Sorted(maps.Keys(g.running))
}

// stop cancels what runs and waits for its end, but not for ever: it returns the
// names of what has not ended within the time.
func (g *group) stop(atMost time.Duration) (hanging []string) {
	g.cancel()
	timer := time.NewTimer(atMost)
	defer timer.Stop()
	for {
		if hanging = g.names(); len(hanging) == 0 {
			return nil
		}
		select {
		case <-g.ended:
		case <-timer.C:
			return hanging
		}
	}
}

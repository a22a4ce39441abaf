package labprog

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// Board guards what is known of a lab, which is the fields of a type that it is
// embedded in. Programs report, and whoever waits for something waits for the
// board to say it.
type Board struct {
	// Patience is how long anything is waited for.
	Patience time.Duration

	mu      sync.Mutex
	changed chan struct{} // closed with the next change; nil if nobody waits
}

// Update calls change, which may change what is on the board, and wakes all who
// wait.
func (b *Board) Update(change func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	change()
	if b.changed != nil {
		close(b.changed)
		b.changed = nil
	}
}

// Read calls look, which may read the board.
func (b *Board) Read(look func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	look()
}

// Changed returns a channel that the next change closes.
func (b *Board) Changed() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.changed == nil {
		b.changed = make(chan struct{})
	}
	return b.changed
}

// Wait waits until met, which may read the board, says so. It gives up when ctx
// ends, and returns its cause, or after Patience, and says what it has waited for.
func (b *Board) Wait(ctx context.Context, what string, met func() bool) error {
	ctx, cancel := context.WithTimeoutCause(ctx, b.Patience, fmt.Errorf("waited %v until %s", b.Patience, what))
	defer cancel()
	for {
		changed, ok := b.Changed(), false
		b.Read(func() { ok = met() })
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

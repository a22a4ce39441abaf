package gossip

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// syncFanout is how many members Sync asks at once.
const syncFanout = 3

// sync is Gossip.Sync.
func (e *engine) sync(ctx context.Context) error {
	e.mu.Lock()
	joined := e.news.joined
	e.mu.Unlock()
	if !joined || e.trans.tasks.ctx.Err() != nil {
		return ErrNotJoined
	}
	members := e.live()
	patience := time.NewTimer(e.gossip.cfg.probeTimeout())
	defer patience.Stop()
	sought := e.seeds.seek()
	if err := e.askAny(ctx, members); err != nil {
		return err
	}
	select {
	case <-sought:
	case <-patience.C:
	case <-ctx.Done():
	}
	return e.settled(ctx)
}

// askAny exchanges everything with one of the members, or returns an error if there are
// some and none answers.
func (e *engine) askAny(ctx context.Context, members []location) error {
	if len(members) == 0 {
		return nil
	}
	rand.Shuffle(len(members), func(i, j int) { members[i], members[j] = members[j], members[i] })
	next := make(chan location, len(members))
	for _, m := range members {
		next <- m
	}
	close(next)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	outcomes := make(chan error, len(members))
	for range min(syncFanout, len(members)) {
		started := e.trans.tasks.spawn(func() {
			for m := range next {
				if ctx.Err() != nil {
					return
				}
				outcomes <- e.exchange(m.addr)
			}
		})
		if !started {
			return ErrNotJoined
		}
	}
	var errs []error
	for range members {
		select {
		case err := <-outcomes:
			if err == nil {
				return nil
			}
			errs = append(errs, err)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return fmt.Errorf("gossip: no live member answers: %w", errors.Join(errs...))
}

// settled returns when report has been called with all that is known.
func (e *engine) settled(ctx context.Context) error {
	for {
		e.mu.Lock()
		dirty, delivered := e.news.dirty || e.news.calling, e.news.delivered
		e.mu.Unlock()
		if !dirty {
			return nil
		}
		select {
		case <-delivered:
		case <-e.trans.tasks.ctx.Done():
			return ErrNotJoined
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

package gossip

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"
)

const (
	// syncFanout is how many members Sync asks at once.
	syncFanout = 3
	// maxSought is how many missing members Sync tries to join at once.
	maxSought = 64
)

// sync is Gossip.Sync.
func (e *engine) sync(ctx context.Context) error {
	e.mu.Lock()
	if !e.joined || e.over {
		e.mu.Unlock()
		return ErrNotJoined
	}
	var addrs []netip.AddrPort
	for _, m := range e.table.nodes {
		if m.live {
			addrs = append(addrs, m.addr)
		}
	}
	e.mu.Unlock()
	patience := time.NewTimer(e.gossip.cfg.probeTimeout())
	defer patience.Stop()
	sought := e.seek()
	if err := e.askAny(ctx, addrs); err != nil {
		return err
	}
	select {
	case <-sought:
	case <-patience.C:
	case <-ctx.Done():
	}
	return e.settled(ctx)
}

// seek tries once to join what is missing of the peers and of the learned peers,
// in the background, and returns what is closed when that is done.
func (e *engine) seek() <-chan struct{} {
	done := make(chan struct{})
	e.mu.Lock()
	addrs := slices.Concat(e.seeds...)
	e.mu.Unlock()
	addrs = e.missing(append(addrs, e.learned.addresses()...))
	addrs = addrs[:min(len(addrs), maxSought)]
	if len(addrs) == 0 {
		close(done)
		return done
	}
	select {
	case e.seeks <- struct{}{}:
	default: // enough of that is under way
		close(done)
		return done
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	started := e.spawn(func() {
		defer close(done)
		defer func() { <-e.seeks }()
		_, _ = e.joinAll(addrs) // keepPeers and keepLearned tell of errors
	})
	if !started {
		<-e.seeks
		close(done)
	}
	return done
}

// askAny exchanges everything with one of the members, or returns an error if
// there are some and none answers.
func (e *engine) askAny(ctx context.Context, addrs []netip.AddrPort) error {
	if len(addrs) == 0 {
		return nil
	}
	rand.Shuffle(len(addrs), func(i, j int) { addrs[i], addrs[j] = addrs[j], addrs[i] })

	outcomes := make(chan error, len(addrs))
	var errs []error
	for next, asked := 0, 0; ; {
		for ; next < len(addrs) && asked < syncFanout; next, asked = next+1, asked+1 {
			if err := e.ask(ctx, addrs[next], outcomes); err != nil {
				return err
			}
		}
		if asked == 0 {
			return fmt.Errorf("gossip: no live member answers: %w", errors.Join(errs...))
		}
		select {
		case err := <-outcomes:
			if err == nil {
				return nil
			}
			asked--
			errs = append(errs, err)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// ask exchanges everything with a member in the background.
func (e *engine) ask(ctx context.Context, addr netip.AddrPort, outcomes chan<- error) error {
	select {
	case e.syncs <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	started := e.spawn(func() {
		defer func() { <-e.syncs }()
		outcomes <- e.exchange(addr)
	})
	if !started {
		<-e.syncs
		return ErrNotJoined
	}
	return nil
}

// settled returns when report has been called with all that is known.
func (e *engine) settled(ctx context.Context) error {
	for {
		e.mu.Lock()
		dirty, delivered := e.dirty || e.calling, e.delivered
		e.mu.Unlock()
		if !dirty {
			return nil
		}
		select {
		case <-delivered:
		case <-e.ctx.Done():
			return ErrNotJoined
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

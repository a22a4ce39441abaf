package gossip

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"
)

const (
	// retryPause and retryJitter make the time between the beginnings of two attempts to
	// join a seed: less than a quarter of a second.
	retryPause  = 200 * time.Millisecond
	retryJitter = 40 * time.Millisecond
	// resolveTimeout bounds a look-up, and maxAddresses the addresses of one name.
	resolveTimeout = time.Second
	maxAddresses   = 32
	// maxLearned bounds the learned seeds. learnedMemory is for how long one is tried at
	// which there is no member.
	maxLearned    = 256
	learnedMemory = 5 * time.Minute
	// fanout is how many learned seeds are tried at once: a few, as the first member that
	// is joined makes most of the others known.
	fanout = 16
)

// seeds are where members may be: Config.Peers, and what [election.Local] delivers. One
// loop joins them: at once, and again for as long as they are missing. A learned seed at
// which no member has been for learnedMemory, and which is not delivered again, is
// forgotten; so are those that were delivered the longest ago when there are more than
// maxLearned.
type seeds struct {
	engine *engine
	news   chan struct{} // wakes the loop

	mu      sync.Mutex
	all     []*seed
	trying  int             // learned ones
	joined  bool            // one was joined, or each configured one has failed once
	waiting []chan struct{} // closed when none is due for an attempt
}

// seed is one of them.
type seed struct {
	peer
	learned bool
	addrs   []netip.AddrPort // where it is, as far as is known
	seen    time.Time        // when it was delivered last, or a live member was there
	tried   time.Time        // when the last attempt began; zero: never
	trying  bool
	ended   bool // an attempt has
	failed  bool // the last one that has
	due     bool // seek waits for an attempt
}

func newSeeds(e *engine, peers []peer) *seeds {
	s := &seeds{engine: e, news: make(chan struct{}, 1)}
	for _, p := range peers {
		s.all = append(s.all, &seed{peer: p, addrs: p.addrs()})
	}
	return s
}

// addrs returns the address of a peer that is no name.
func (p *peer) addrs() []netip.AddrPort {
	if p.addr.IsValid() {
		return []netip.AddrPort{p.addr}
	}
	return nil
}

// wake makes the loop look for what is to be done.
func (s *seeds) wake() {
	select {
	case s.news <- struct{}{}:
	default:
	}
}

// learn takes the addresses that are delivered, until ctx ends.
func (s *seeds) learn(ctx context.Context, addrs <-chan netip.AddrPort) {
	for {
		select {
		case addr, open := <-addrs:
			if !open {
				return
			}
			addr = netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port())
			if addr.IsValid() && addr.Port() != 0 && !addr.Addr().IsUnspecified() && unsuitable(addr.Addr()) == nil {
				s.add(addr, time.Now())
			}
		case <-ctx.Done():
			return
		}
	}
}

// addSome notes that a member that is not known may be at addr, unless there are many seeds.
func (s *seeds) addSome(addr netip.AddrPort, now time.Time) {
	s.mu.Lock()
	many := len(s.all) >= maxLearned/2
	s.mu.Unlock()
	if !many {
		s.add(addr, now)
	}
}

// add notes that another member is said to be at addr.
func (s *seeds) add(addr netip.AddrPort, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var oldest *seed
	count := 0
	for _, d := range s.all {
		if d.addr == addr {
			d.seen = now
			return
		}
		if d.learned {
			if count++; oldest == nil || d.seen.Before(oldest.seen) {
				oldest = d
			}
		}
	}
	if count >= maxLearned {
		s.all = slices.DeleteFunc(s.all, func(d *seed) bool { return d == oldest })
	}
	p := peer{text: addr.String(), addr: addr}
	s.all = append(s.all, &seed{peer: p, addrs: p.addrs(), learned: true, seen: now})
	s.wake()
}

// run joins the seeds, and joins them again while they are missing, until ctx ends.
func (s *seeds) run(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		due, pause := s.due(time.Now())
		for _, d := range due {
			wg.Go(func() { s.try(ctx, d) })
		}
		timer := time.NewTimer(pause + rand.N(retryJitter))
		select {
		case <-s.news:
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
		timer.Stop()
	}
}

// due returns the seeds to try now, and after what pause to look again. It forgets those
// that are not worth it.
func (s *seeds) due(now time.Time) (due []*seed, pause time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	pause = learnedMemory
	var learned []*seed
	kept := s.all[:0]
	for _, d := range s.all {
		missing := len(d.addrs) == 0 || len(s.engine.missing(d.addrs)) > 0
		if !missing {
			d.seen, d.ended, d.due = now, true, d.due && d.trying
		}
		if d.learned && !d.trying && (s.engine.trans.isOwn(d.addr) || now.Sub(d.seen) > learnedMemory) {
			continue
		}
		kept = append(kept, d)
		switch rest := retryPause - now.Sub(d.tried); {
		case d.trying: // the attempt wakes the loop when it ends
		case !missing:
		case rest > 0:
			pause = min(pause, rest)
		case d.learned:
			learned = append(learned, d)
		default:
			due = append(due, d)
		}
	}
	clear(s.all[len(kept):])
	s.all = kept
	// Of those that were never tried the newest is the first.
	slices.SortStableFunc(learned, func(a, b *seed) int {
		if a.tried.Equal(b.tried) {
			return b.seen.Compare(a.seen)
		}
		return a.tried.Compare(b.tried)
	})
	learned = learned[:min(len(learned), fanout-s.trying)]
	s.trying += len(learned)
	due = append(due, learned...)
	for _, d := range due {
		d.tried, d.trying = now, true
	}
	s.settle(false)
	return due, pause
}

// settle lets report be called once a seed was joined, or each configured one was tried,
// and lets Sync go on once no seed is due for an attempt. The lock is held.
func (s *seeds) settle(joined bool) {
	if !s.joined && (joined || !slices.ContainsFunc(s.all, func(d *seed) bool { return !d.learned && !d.ended })) {
		s.joined = true
		s.engine.nowJoined()
	}
	if !slices.ContainsFunc(s.all, func(d *seed) bool { return d.due }) {
		for _, w := range s.waiting {
			close(w)
		}
		s.waiting = nil
	}
}

// try makes one attempt to join a seed.
func (s *seeds) try(ctx context.Context, d *seed) {
	s.mu.Lock()
	addrs := d.addrs
	s.mu.Unlock()
	var err error
	if !d.addr.IsValid() {
		var found []netip.AddrPort
		if found, err = resolve(ctx, d.peer); err == nil {
			addrs = found
		}
	}
	ok, failed := s.engine.joinAll(s.engine.others(addrs))
	if ctx.Err() != nil {
		return
	}
	if err = errors.Join(err, failed); err != nil && !d.failed {
		s.engine.log.Info("cannot join a peer, trying on", "peer", d.text, "error", err)
	} else if ok && d.failed {
		s.engine.log.Info("joined a peer that was away", "peer", d.text)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	d.addrs, d.trying, d.ended, d.failed = addrs, false, true, err != nil || d.failed && !ok
	d.due = d.due && d.tried.IsZero()
	if d.learned {
		s.trying--
	}
	s.settle(ok)
	s.wake()
}

// seek has each seed that is missing tried at once, and returns what is closed when that
// is done.
func (s *seeds) seek() <-chan struct{} {
	done := make(chan struct{})
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range s.all {
		d.tried, d.due = time.Time{}, true
	}
	s.waiting = append(s.waiting, done)
	s.wake()
	return done
}

// joinAll joins all addresses at once, and reports whether any did.
func (e *engine) joinAll(addrs []netip.AddrPort) (ok bool, err error) {
	errs := make([]error, len(addrs))
	var wg sync.WaitGroup
	for i, addr := range addrs {
		wg.Go(func() {
			errs[i] = e.exchange(addr)
			if errs[i] == nil && !e.isComplete(addr) {
				// Each has taken the other for dead, and now knows and has refuted that. Say
				// so at once, so that both see each other and their offers in the same
				// moment; gossip would tell one of them a round later.
				errs[i] = e.exchange(addr)
			}
		})
	}
	wg.Wait()
	var failed []error
	for i, err := range errs {
		switch {
		case err == nil:
			ok = true
		case !e.trans.isOwn(addrs[i]):
			failed = append(failed, err)
		}
	}
	return ok, errors.Join(failed...)
}

// exchange joins a member, or exchanges everything with one that is joined.
func (e *engine) exchange(addr netip.AddrPort) error {
	_, err := e.list.Join([]string{addr.String()})
	var several interface{ WrappedErrors() []error } // memberlist's, on lines of their own
	if errors.As(err, &several) {
		err = errors.Join(several.WrappedErrors()...)
	}
	return err
}

// others returns the addresses that are not this member's own.
func (e *engine) others(addrs []netip.AddrPort) (others []netip.AddrPort) {
	for _, addr := range addrs {
		if !e.trans.isOwn(addr) {
			others = append(others, addr)
		}
	}
	return others
}

// missing returns the addresses that no live member has.
func (e *engine) missing(addrs []netip.AddrPort) (missing []netip.AddrPort) {
	others := e.others(addrs)
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, addr := range others {
		if !e.table.has(addr, false) {
			missing = append(missing, addr)
		}
	}
	return missing
}

// isComplete reports whether a live member has the address, and its offer is known.
func (e *engine) isComplete(addr netip.AddrPort) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.table.has(addr, true)
}

// resolve returns the addresses of a peer.
func resolve(ctx context.Context, p peer) ([]netip.AddrPort, error) {
	ctx, cancel := context.WithTimeout(ctx, resolveTimeout)
	defer cancel()
	found, err := net.DefaultResolver.LookupNetIP(ctx, "ip", p.host)
	if err != nil {
		return nil, err
	}
	var addrs []netip.AddrPort
	for _, addr := range found[:min(len(found), maxAddresses)] {
		addrs = append(addrs, netip.AddrPortFrom(addr.Unmap().WithZone(""), p.port))
	}
	return addrs, nil
}

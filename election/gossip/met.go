package gossip

import (
	"context"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"time"
)

const (
	// maxMet bounds the addresses that Meet was told.
	maxMet = 256
	// metMemory is for how long one is tried at which there is no member.
	metMemory = 5 * time.Minute
	// metFanout is how many of them are tried at once: a few, as the first
	// member that is joined makes most of the others known.
	metFanout = 16
)

// met has the addresses that Meet was told.
type met struct {
	mu     sync.Mutex
	places map[netip.AddrPort]*place
	trying map[netip.AddrPort]bool // attempts under way; of places that were replaced, too
	news   chan struct{}           // wakes keepMet
}

// place is one of them.
type place struct {
	seen  time.Time // when it was told last, or a live member was there
	tried time.Time // when the last attempt began; zero: never
	away  absence
}

func newMet() met {
	return met{
		places: make(map[netip.AddrPort]*place),
		trying: make(map[netip.AddrPort]bool),
		news:   make(chan struct{}, 1),
	}
}

// tell notes that another member is said to be at addr.
func (m *met) tell(addr netip.AddrPort, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if p := m.places[addr]; p != nil {
		p.seen = now
		return
	}
	if len(m.places) >= maxMet {
		delete(m.places, m.latest()[maxMet-1])
	}
	m.places[addr] = &place{seen: now}
	m.wake()
}

// wake makes keepMet look for what is to be done.
func (m *met) wake() {
	select {
	case m.news <- struct{}{}:
	default:
	}
}

// addresses returns all places, those first that were seen last.
func (m *met) addresses() []netip.AddrPort {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.latest()
}

// latest is addresses, with the lock held.
func (m *met) latest() []netip.AddrPort {
	addrs := make([]netip.AddrPort, 0, len(m.places))
	for addr := range m.places {
		addrs = append(addrs, addr)
	}
	slices.SortFunc(addrs, func(a, b netip.AddrPort) int { return m.places[b].seen.Compare(m.places[a].seen) })
	return addrs
}

// keepMet joins the members that Meet was told of, and joins them again while
// they are missing, until ctx ends.
func (e *engine) keepMet(ctx context.Context) {
	m := &e.gossip.met
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		due, pause := e.due(time.Now())
		for _, addr := range due {
			wg.Go(func() { e.visit(ctx, addr) })
		}
		timer := time.NewTimer(pause + rand.N(retryJitter))
		select {
		case <-m.news:
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
		timer.Stop()
	}
}

// due returns the places to try now, and after what pause to look again. It
// forgets those that are not worth it.
func (e *engine) due(now time.Time) (due []netip.AddrPort, pause time.Duration) {
	m := &e.gossip.met
	m.mu.Lock()
	defer m.mu.Unlock()
	addrs := m.latest()
	e.mu.Lock()
	defer e.mu.Unlock()
	pause = metMemory
	for _, addr := range addrs {
		p := m.places[addr]
		rest := retryPause - now.Sub(p.tried)
		switch {
		case m.trying[addr]: // whoever tries wakes keepMet
		case e.trans.isOwn(addr):
			delete(m.places, addr)
		case e.table.has(addr):
			p.seen = now
			pause = min(pause, retryPause)
		case now.Sub(p.seen) > metMemory:
			delete(m.places, addr)
		case rest > 0:
			pause = min(pause, rest)
		default:
			due = append(due, addr)
		}
	}
	// Of those that were never tried the newest is the first.
	slices.SortStableFunc(due, func(a, b netip.AddrPort) int { return m.places[a].tried.Compare(m.places[b].tried) })
	due = due[:min(len(due), metFanout-len(m.trying))]
	for _, addr := range due {
		m.places[addr].tried, m.trying[addr] = now, true
	}
	return due, pause
}

// visit makes one attempt to join the member at a place.
func (e *engine) visit(ctx context.Context, addr netip.AddrPort) {
	ok, err := e.joinAll([]netip.AddrPort{addr})
	m := &e.gossip.met
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.trying, addr)
	m.wake() // others may wait for their turn
	if p := m.places[addr]; p != nil && ctx.Err() == nil {
		p.away.note(e.journal, addr.String(), ok, err)
	}
}

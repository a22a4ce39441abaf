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
	// maxLearned bounds the learned peers.
	maxLearned = 256
	// learnedMemory is for how long one is tried at which there is no member.
	learnedMemory = 5 * time.Minute
	// learnedFanout is how many of them are tried at once: a few, as the first
	// member that is joined makes most of the others known.
	learnedFanout = 16
)

// learnedPeers are the addresses that [election.Local] delivered. They are joined
// like those of Config.Peers: at once, and again for as long as they are missing,
// but not for ever. One at which no member has been for learnedMemory, and which is
// not delivered again, is forgotten; so are those that were delivered the longest
// ago when there are more than maxLearned.
type learnedPeers struct {
	mu     sync.Mutex
	peers  map[netip.AddrPort]*learnedPeer
	trying map[netip.AddrPort]bool // attempts under way; of peers that were replaced, too
	news   chan struct{}           // wakes keepLearned
}

// learnedPeer is one of them.
type learnedPeer struct {
	seen  time.Time // when it was delivered last, or a live member was there
	tried time.Time // when the last attempt began; zero: never
	away  absence
}

func newLearnedPeers() learnedPeers {
	return learnedPeers{
		peers:  make(map[netip.AddrPort]*learnedPeer),
		trying: make(map[netip.AddrPort]bool),
		news:   make(chan struct{}, 1),
	}
}

// add notes that another member is said to be at addr.
func (l *learnedPeers) add(addr netip.AddrPort, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if p := l.peers[addr]; p != nil {
		p.seen = now
		return
	}
	if len(l.peers) >= maxLearned {
		delete(l.peers, l.latest()[maxLearned-1])
	}
	l.peers[addr] = &learnedPeer{seen: now}
	l.wake()
}

// wake makes keepLearned look for what is to be done.
func (l *learnedPeers) wake() {
	select {
	case l.news <- struct{}{}:
	default:
	}
}

// addresses returns all addresses, those first that were seen last.
func (l *learnedPeers) addresses() []netip.AddrPort {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.latest()
}

// latest is addresses, with the lock held.
func (l *learnedPeers) latest() []netip.AddrPort {
	addrs := make([]netip.AddrPort, 0, len(l.peers))
	for addr := range l.peers {
		addrs = append(addrs, addr)
	}
	slices.SortFunc(addrs, func(a, b netip.AddrPort) int { return l.peers[b].seen.Compare(l.peers[a].seen) })
	return addrs
}

// learn takes the addresses that are delivered, until ctx ends.
func (e *engine) learn(ctx context.Context, addrs <-chan netip.AddrPort) {
	for {
		select {
		case addr, open := <-addrs:
			if !open {
				return
			}
			if addr, ok := e.joinable(addr); ok {
				e.learned.add(addr, time.Now())
			}
		case <-ctx.Done():
			return
		}
	}
}

// joinable returns the address in its plain form, and whether a member may listen
// there that is not joined as a peer anyway.
func (e *engine) joinable(addr netip.AddrPort) (netip.AddrPort, bool) {
	addr = netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port())
	isPeer := slices.ContainsFunc(e.gossip.peers, func(p peer) bool { return p.addr == addr })
	return addr, !isPeer && addr.IsValid() && addr.Port() != 0 && !addr.Addr().IsUnspecified() && unsuitable(addr.Addr()) == nil
}

// keepLearned joins the learned peers, and joins them again while they are
// missing, until ctx ends.
func (e *engine) keepLearned(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		due, pause := e.due(time.Now())
		for _, addr := range due {
			wg.Go(func() { e.tryJoin(ctx, addr) })
		}
		timer := time.NewTimer(pause + rand.N(retryJitter))
		select {
		case <-e.learned.news:
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
		timer.Stop()
	}
}

// due returns the learned peers to try now, and after what pause to look again. It
// forgets those that are not worth it.
func (e *engine) due(now time.Time) (due []netip.AddrPort, pause time.Duration) {
	l := &e.learned
	l.mu.Lock()
	defer l.mu.Unlock()
	addrs := l.latest()
	e.mu.Lock()
	defer e.mu.Unlock()
	pause = learnedMemory
	for _, addr := range addrs {
		p := l.peers[addr]
		rest := retryPause - now.Sub(p.tried)
		switch {
		case l.trying[addr]: // the attempt wakes keepLearned when it ends
		case e.trans.isOwn(addr):
			delete(l.peers, addr)
		case e.table.has(addr):
			p.seen = now
			pause = min(pause, retryPause)
		case now.Sub(p.seen) > learnedMemory:
			delete(l.peers, addr)
		case rest > 0:
			pause = min(pause, rest)
		default:
			due = append(due, addr)
		}
	}
	// Of those that were never tried the newest is the first.
	slices.SortStableFunc(due, func(a, b netip.AddrPort) int { return l.peers[a].tried.Compare(l.peers[b].tried) })
	due = due[:min(len(due), learnedFanout-len(l.trying))]
	for _, addr := range due {
		l.peers[addr].tried, l.trying[addr] = now, true
	}
	return due, pause
}

// tryJoin makes one attempt to join a learned peer.
func (e *engine) tryJoin(ctx context.Context, addr netip.AddrPort) {
	ok, err := e.joinAll([]netip.AddrPort{addr})
	l := &e.learned
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.trying, addr)
	l.wake() // others may wait for their turn
	if p := l.peers[addr]; p != nil && ctx.Err() == nil {
		p.away.note(e.log.Logger, addr.String(), ok, err)
	}
}

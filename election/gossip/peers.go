package gossip

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"time"
)

const (
	// retryPause and retryJitter make the time between the beginnings of two
	// attempts to join a peer: less than a quarter of a second.
	retryPause  = 200 * time.Millisecond
	retryJitter = 40 * time.Millisecond
	// resolveTimeout bounds a look-up.
	resolveTimeout = time.Second
	// maxAddresses bounds the addresses of one name.
	maxAddresses = 32
)

// keepPeers joins the peers, and joins them again while they are missing, until
// ctx ends.
func (e *engine) keepPeers(ctx context.Context) {
	peers := e.gossip.peers
	if len(peers) == 0 {
		e.nowJoined()
		return
	}
	var wg sync.WaitGroup
	first := firstJoin{left: len(peers), done: e.nowJoined}
	for i, p := range peers {
		wg.Go(func() { e.keepPeer(ctx, i, p, &first) })
	}
	wg.Wait()
}

// nowJoined lets report be called from now on.
func (e *engine) nowJoined() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.joined = true
	e.wake()
}

// keepPeer keeps one peer joined, the i-th.
func (e *engine) keepPeer(ctx context.Context, i int, p peer, first *firstJoin) {
	var addrs []netip.AddrPort
	if p.addr.IsValid() {
		addrs = append(addrs, p.addr)
		e.locate(i, addrs)
	}
	var away absence
	for round := 0; ; round++ {
		began := time.Now()
		var err error
		if !p.addr.IsValid() && (round == 0 || len(addrs) == 0 || len(e.missing(addrs)) > 0) {
			var found []netip.AddrPort
			if found, err = resolve(ctx, p); err == nil {
				addrs = found
				e.locate(i, addrs)
			}
		}
		targets := e.missing(addrs)
		if round == 0 {
			targets = e.others(addrs)
		}
		ok, failed := e.joinAll(targets)
		err = errors.Join(err, failed)
		if ctx.Err() != nil {
			return
		}
		away.note(e.log.Logger, p.text, ok, err)
		if round == 0 {
			first.report(ok)
		}
		timer := time.NewTimer(time.Until(began.Add(retryPause + rand.N(retryJitter))))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
	}
}

// locate notes where the i-th peer is, for Sync.
func (e *engine) locate(i int, addrs []netip.AddrPort) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.seeds[i] = addrs
}

// absence is whether a peer was said to be away.
type absence bool

// note logs the outcome of an attempt to join the peer if it is news.
func (a *absence) note(log *slog.Logger, peer string, ok bool, err error) {
	switch {
	case ok && bool(*a):
		*a = false
		log.Info("joined a peer that was away", "peer", peer)
	case err != nil && !bool(*a):
		*a = true
		log.Info("cannot join a peer, trying on", "peer", peer, "error", err)
	}
}

// joinAll joins all addresses at once, and reports whether any did.
func (e *engine) joinAll(addrs []netip.AddrPort) (ok bool, err error) {
	errs := make([]error, len(addrs))
	var wg sync.WaitGroup
	for i, addr := range addrs {
		wg.Go(func() {
			errs[i] = e.exchange(addr)
			if errs[i] == nil && !e.complete(addr) {
				// Each has taken the other for dead, and now knows and has
				// refuted that. Say so at once, so that both see each other
				// and their offers in the same moment; gossip would tell one
				// of them a round later.
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
func (e *engine) others(addrs []netip.AddrPort) []netip.AddrPort {
	var others []netip.AddrPort
	for _, addr := range addrs {
		if !e.trans.isOwn(addr) {
			others = append(others, addr)
		}
	}
	return others
}

// missing returns the addresses that no live member has.
func (e *engine) missing(addrs []netip.AddrPort) []netip.AddrPort {
	others := e.others(addrs)
	e.mu.Lock()
	defer e.mu.Unlock()
	var missing []netip.AddrPort
	for _, addr := range others {
		if !e.table.has(addr) {
			missing = append(missing, addr)
		}
	}
	return missing
}

// complete reports whether a live member has the address, and its offer is
// known.
func (e *engine) complete(addr netip.AddrPort) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, m := range e.table.nodes {
		if m.live && m.addr == addr {
			return !m.missing()
		}
	}
	return false
}

// has reports whether a live member has the address.
func (t *table) has(addr netip.AddrPort) bool {
	for _, m := range t.nodes {
		if m.live && m.addr == addr {
			return true
		}
	}
	return false
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

// firstJoin waits for the first attempts to join: the first one that succeeds, or
// all of them.
type firstJoin struct {
	mu   sync.Mutex
	left int
	told bool
	done func()
}

// report notes the outcome of one first attempt.
func (f *firstJoin) report(ok bool) {
	f.mu.Lock()
	f.left--
	now := !f.told && (ok || f.left == 0)
	f.told = f.told || now
	f.mu.Unlock()
	if now {
		f.done()
	}
}

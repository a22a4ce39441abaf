package segment_test

import (
	"context"
	"crypto/sha256"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/l2vip/l2vip/election"
	"github.com/l2vip/l2vip/election/segment"
)

// longest is for how long a test waits for what must come.
const longest = 20 * time.Second

var instances atomic.Uint64

// watcher is a Segment that runs, and what it reports.
type watcher struct {
	*segment.Segment
	local  election.Local
	within func(run func() error) error
	cancel context.CancelFunc
	done   chan error
	said   segment.State

	mu   sync.Mutex
	last segment.Report
	news chan struct{}
}

func newWatcher(t testing.TB, c segment.Config, name string, key []byte, within func(func() error) error) *watcher {
	t.Helper()
	s, err := segment.New(c)
	require.NoError(t, err)
	return &watcher{
		Segment: s, within: within, done: make(chan error, 1), news: make(chan struct{}, 1),
		local: election.Local{Name: name, Instance: instances.Add(1), Cluster: "l2vip", Keys: keysOf(key)},
	}
}

func (w *watcher) start(t testing.TB) {
	ctx, cancel := context.WithCancel(context.Background())
	w.cancel = cancel
	go func() { w.done <- w.within(func() error { return w.Run(ctx, w.local, w.report) }) }()
	t.Cleanup(func() { require.NoError(t, w.stop()) })
}

// set sets a state with a new offer of so many addresses, all held or none.
func (w *watcher) set(s segment.State, addresses int, holds bool) {
	o := election.Offer{Node: w.local.Name, Instance: w.local.Instance, Revision: w.said.Offer.Revision + 1}
	addr := netip.MustParseAddr("10.0.0.0")
	for range addresses {
		addr = addr.Next()
		o.Entries = append(o.Entries, election.Entry{Addr: addr, Service: "service-" + addr.String(), Holds: holds})
	}
	s.Offer = o
	w.said = s
	w.Set(s)
}

func (w *watcher) report(r segment.Report) {
	w.mu.Lock()
	w.last = r
	w.mu.Unlock()
	select {
	case w.news <- struct{}{}:
	default:
	}
}

func (w *watcher) picture() segment.Report {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.last
}

func (w *watcher) stop() error {
	w.cancel()
	err := <-w.done
	w.done <- err
	return err
}

// await waits until the report is as cond wants it.
func (w *watcher) await(t testing.TB, cond func(segment.Report) bool) {
	t.Helper()
	timeout := time.After(longest)
	for {
		if cond(w.picture()) {
			return
		}
		select {
		case <-w.news:
		case <-timeout:
			require.FailNow(t, "it never came to that", "%s sees %+v, %+v", w.local.Name, w.picture(), w.Stats())
		}
	}
}

// keysOf returns what Local.Keys is for a cluster with the secret; nil for none.
func keysOf(secret []byte) func(string) *election.Keys {
	if secret == nil {
		return nil
	}
	keys := election.NewKeys(sha256.Sum256(secret))
	return func(string) *election.Keys { return keys }
}

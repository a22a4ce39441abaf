package announce

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"math"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/l2vip/l2vip/internal/clock"
)

// Announcer binds, probes, announces and answers for the addresses that it is
// assigned, and reports facts. Its methods may be called from any goroutine.
type Announcer struct {
	config Config
	logger *slog.Logger

	// lease is when answers end, by the clock of internal/clock; noLease until
	// the first Renew.
	lease   atomic.Int64
	running atomic.Bool
	changed chan struct{} // capacity 1: assignments were changed
	counter counters
	// stations are those that were heard lately, by the index of an interface in use.
	stations atomic.Pointer[map[int]func() []Station]

	mu          sync.Mutex
	assignments []Assignment // by address; replaced, never changed; nil before the first Set
	ports       []*port      // the interfaces in use
}

// noLease is the lease of an Announcer that nobody renews.
const noLease = math.MaxInt64

// New returns an Announcer that has nothing to announce, or an error that joins
// a *ConfigError for each thing that is wrong. It opens nothing: Run does.
func New(c Config) (*Announcer, error) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	a := &Announcer{
		config:  c,
		logger:  cmp.Or(c.Logger, slog.New(slog.DiscardHandler)),
		changed: make(chan struct{}, 1),
	}
	a.config.Refresh = cmp.Or(c.Refresh, DefaultRefresh)
	a.config.RivalProbe = cmp.Or(c.RivalProbe, DefaultRivalProbe)
	a.config.Burst = cmp.Or(c.Burst, DefaultBurst)
	a.config.Rate = cmp.Or(c.Rate, DefaultRate)
	a.lease.Store(noLease)
	return a, nil
}

// Set replaces all assignments, before or while Run runs. When it returns, an
// address that is no longer to be answered is neither answered nor announced any
// more, where this package answers: with the mode Interface the kernel does, a
// moment longer. Everything else follows at once, on Run's goroutine. An assignment that can't be is an
// error that joins a *ConfigError for each, and then nothing has changed.
func (a *Announcer) Set(assignments []Assignment) error {
	if err := Validate(assignments, a.config.Bind); err != nil {
		return err
	}
	sorted := append(make([]Assignment, 0, len(assignments)), assignments...)
	slices.SortFunc(sorted, func(x, y Assignment) int { return x.Addr.Compare(y.Addr) })

	a.mu.Lock()
	a.assignments = sorted
	for _, p := range a.ports {
		p.fill(sorted, a.config.Bind)
	}
	a.mu.Unlock()

	select {
	case a.changed <- struct{}{}:
	default:
	}
	return nil
}

// Renew lets the Announcer answer and announce for d from now, and no longer,
// unless it is renewed again; time in which the machine is suspended counts.
// Until the first call there is no lease: what is assigned is answered. A d of
// zero or less ends the lease. Renew is a single atomic store.
func (a *Announcer) Renew(d time.Duration) {
	a.lease.Store(int64(clock.Now() + d))
}

// leased reports whether the lease holds.
func (a *Announcer) leased() bool {
	lease := a.lease.Load()
	return lease == noLease || int64(clock.Now()) < lease
}

// Station is a host on an interface.
type Station struct {
	// Addr is its address, and HardwareAddr its Ethernet address.
	Addr         netip.Addr
	HardwareAddr [6]byte
}

// Stations returns some of the stations that were heard on the interface with that
// index, the newest first: what they said may have been true of their address only
// then. It takes no lock. The slice must not be changed.
func (a *Announcer) Stations(index int) []Station {
	if all := a.stations.Load(); all != nil && (*all)[index] != nil {
		return (*all)[index]()
	}
	return nil
}

// Stats returns the counters.
func (a *Announcer) Stats() Stats {
	a.mu.Lock()
	for _, p := range a.ports {
		p.overruns()
	}
	a.mu.Unlock()
	return a.counter.load()
}

// Run opens what it needs and works until ctx is cancelled. Then it takes back
// what it bound and returns nil. It calls report with all facts when it has
// applied the first assignments, which it waits for, and each time that something
// changed, always on its own goroutine; report must not block. An interface that
// is absent is a fact and no error.
//
// A missing capability is a *[CapabilityError]; on systems other than Linux the
// error wraps [errors.ErrUnsupported]. Run can be called once.
//
// All sockets are opened on the goroutine that calls Run: one that is locked to
// a thread in another network namespace announces there.
func (a *Announcer) Run(ctx context.Context, report func(Facts)) error {
	if a.running.Swap(true) {
		return errors.New("announce: Run was called before")
	}
	return a.run(ctx, report)
}

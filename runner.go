package l2vip

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/l2vip/l2vip/health"
	"github.com/l2vip/l2vip/internal/conferr"
	"github.com/l2vip/l2vip/internal/core"
	"github.com/l2vip/l2vip/pool"
)

// Runner announces the addresses of its services whenever the election makes
// this node their owner. Its methods may be called from any goroutine.
type Runner struct {
	config   Config
	settings *core.Settings
	running  atomic.Bool
	inbox    inbox
	outbox   outbox
}

// New checks the configuration and allocates the addresses. It opens nothing
// and starts nothing: Run does. The error joins a *[ConfigError] for each thing
// that is wrong.
func New(c Config) (*Runner, error) {
	config, err := c.validated()
	cat, catalogErr := config.newCatalog(config.Services)
	var errs conferr.List
	errs.Merge("", err)
	errs.Merge("", catalogErr)
	if err := errs.Err(); err != nil {
		return nil, err
	}
	r := &Runner{config: config, settings: config.settings(uint64(time.Now().UnixNano()))}
	r.outbox.ready, r.outbox.drained = make(chan struct{}), make(chan struct{})
	r.inbox.wake = make(chan struct{}, 1)
	r.inbox.catalog, r.inbox.health = cat, make(map[string]health.State)
	_, in := r.inbox.read()
	in.Settings = r.settings
	r.outbox.status.Store(&snapshot{state: &core.State{Table: cat.table, Addresses: make([]core.AddressState, len(cat.table.Addresses))}, input: in, catalog: cat})
	return r, nil
}

// Ready returns a channel that is closed when the sockets are open, the node has
// met the others or knows that there are none, and the first step is done.
func (r *Runner) Ready() <-chan struct{} { return r.outbox.ready }

// Addresses returns the addresses of the service, in the order in which they
// were asked for or allocated; nil for a service that is reserved or unknown.
func (r *Runner) Addresses(service string) []netip.Addr {
	cat, _ := r.inbox.read()
	return cat.allocation.Addresses(service)
}

// SetServices replaces the whole list of services. An error, which joins a
// *[ConfigError] for each thing that is wrong, changes nothing. A list that would
// move an address that is still asked for is refused with a *[pool.MovedError],
// unless Config.AllowMoves is set. The health sources of the former list end,
// those of the new one start; until one reports, a service that keeps its name
// keeps its state.
func (r *Runner) SetServices(services []Service) error {
	after, err := r.config.newCatalog(services)
	if err != nil {
		return err
	}
	r.inbox.change(func() {
		if !r.config.AllowMoves {
			if err = pool.Moved(r.inbox.catalog.allocation, after.allocation); err != nil {
				return
			}
		}
		r.inbox.catalog = after
	})
	return err
}

// SetKeys replaces the secrets of the cluster, by at most three: the first sends, all are
// accepted. Each has at least 16 bytes, as Config.Key. Members understand each other as
// long as they have one secret in common, so a rotation takes three steps, each on all
// nodes before the next one: SetKeys(old, new), SetKeys(new, old), SetKeys(new). A node that takes a
// step late is answered with a secret that it knows. Authentication is neither turned
// on nor off while the nodes run: an empty list is refused, and so is any list if the
// Config has no secret; what a stranger can do without one is said there. Whoever has a
// secret that is still accepted is no stranger: a rotation ends that with its last step.
// An error changes nothing. Before Run it replaces those of the Config.
//
// The Membership of package election/gossip and the Segment follow at once.
func (r *Runner) SetKeys(keys ...[]byte) error {
	if err := r.config.keyring.set(keys); err != nil {
		return fmt.Errorf("l2vip: SetKeys: %w", err)
	}
	return nil
}

// Drain hands all addresses over to other members and takes none any more, for
// as long as Run runs. It returns when every address has been given up, or with
// ctx's error when that ends first; the hand-over goes on then. Before Run it waits
// for Run.
func (r *Runner) Drain(ctx context.Context) error {
	r.inbox.drain()
	select {
	case <-r.outbox.drained:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Status returns what the Runner knows and does now.
func (r *Runner) Status() *Status {
	status := r.outbox.status.Load().status(&r.config)
	status.Refusals = r.outbox.refusals.read()
	return status
}

// Events returns a channel of the events that come after the one numbered after,
// as far as they are still known, the newest thousand or half of that; 0 asks for
// all. The channel has a buffer of its own and never holds the Runner up: who
// reads too slowly misses events, which shows as a gap in Seq and means to read
// Status again. It is closed when ctx is cancelled.
func (r *Runner) Events(ctx context.Context, after uint64) <-chan Event {
	return r.outbox.events.subscribe(ctx, after)
}

// Run opens what is needed, meets the other members, and announces what this
// node comes to own, until ctx is cancelled. Then it hands every address over,
// leaves, and returns nil, within Config.HandoverTimeout and Config.Linger and
// what the Membership takes to leave. Otherwise it returns the error of the
// Membership, the Segment or the Announcer that ended it: without the rights for raw
// sockets that is a *[CapabilityError]. Run can be called once.
//
// A part that does not end when it is told to, a health source of the caller's for
// example, is named in the error: Run does not wait for it for longer than seven
// seconds.
func (r *Runner) Run(ctx context.Context) error {
	if r.running.Swap(true) {
		return errors.New("l2vip: Run was called before")
	}
	logging, endLogging := context.WithCancel(context.Background())
	logged, ended := make(chan struct{}), make(chan error, 1)
	go func() { defer close(logged); r.config.log.Run(logging) }()
	go func() { ended <- newLoop(&r.config, r.settings, &r.inbox, &r.outbox).run(ctx) }()
	defer func() { endLogging(); <-logged }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	limit := r.config.HandoverTimeout + r.config.Linger + endRunSlack
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case err := <-ended:
		return err
	case <-timer.C:
		return fmt.Errorf("l2vip: the loop did not end within %v: it hangs in the Announcer, the Segment or the Membership", limit)
	}
}

package l2vip

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/l2vip/l2vip/announce"
	"github.com/l2vip/l2vip/election"
	"github.com/l2vip/l2vip/election/heartbeat"
	"github.com/l2vip/l2vip/health"
	"github.com/l2vip/l2vip/internal/clock"
	"github.com/l2vip/l2vip/internal/conferr"
	"github.com/l2vip/l2vip/pool"
)

// Runner announces the addresses of its services whenever the election makes
// this node their owner. Its methods may be called from any goroutine.
type Runner struct {
	config  Config
	running atomic.Bool
	ready   chan struct{} // closed when ready
	drained chan struct{} // closed when a drain has handed everything over
	wake    chan struct{} // capacity 1: something below has changed
	events  events
	status  atomic.Pointer[snapshot]

	mu       sync.Mutex
	roster   *roster
	facts    *announce.Facts // nil before the first report
	others   []election.Offer
	peers    []heartbeat.Peer
	health   map[string]health.State
	draining bool
}

// New checks the configuration and allocates the addresses. It opens nothing
// and starts nothing: Run does. The error joins a *[ConfigError] for each thing
// that is wrong.
func New(c Config) (*Runner, error) {
	config, err := c.validated()
	ro, rosterErr := config.newRoster(config.Services)
	var errs conferr.List
	errs.Merge("", err)
	errs.Merge("", rosterErr)
	if err := errs.Err(); err != nil {
		return nil, err
	}
	r := &Runner{
		config:  config,
		ready:   make(chan struct{}),
		drained: make(chan struct{}),
		wake:    make(chan struct{}, 1),
		roster:  ro,
		health:  make(map[string]health.State),
	}
	first := r.situation()
	first.matchFacts()
	r.status.Store(&snapshot{situation: first, plan: r.firstPlan()})
	return r, nil
}

// Ready returns a channel that is closed when the sockets are open, the node has
// joined the others or knows that there are none, and the first plan is made.
func (r *Runner) Ready() <-chan struct{} { return r.ready }

// Addresses returns the addresses of the service, in the order in which they
// were asked for or allocated; nil for a service that is reserved or unknown.
func (r *Runner) Addresses(service string) []netip.Addr {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.roster.allocation.Addresses(service)
}

// SetServices replaces the whole list of services. An error, which joins a
// *[ConfigError] for each thing that is wrong, changes nothing. A list that would
// move an address that is still asked for is refused with a *[pool.MovedError],
// unless Config.AllowMoves is set. The health sources of the former list end,
// those of the new one start; until one reports, a service that keeps its name
// keeps its state.
func (r *Runner) SetServices(services []Service) error {
	after, err := r.config.newRoster(services)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.config.AllowMoves {
		if err := pool.Moved(r.roster.allocation, after.allocation); err != nil {
			return err
		}
	}
	r.roster = after
	r.signal()
	return nil
}

// Drain hands all addresses over to other members and takes none any more, for
// as long as Run runs. It returns when every address has been given up, or with
// ctx's error when that ends first; the hand-over goes on then. Before Run it waits
// for Run.
func (r *Runner) Drain(ctx context.Context) error {
	r.drain()
	select {
	case <-r.drained:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (r *Runner) drain() {
	r.mu.Lock()
	r.draining = true
	r.mu.Unlock()
	r.signal()
}

// signal makes the loop turn. It never blocks.
func (r *Runner) signal() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// Run opens what is needed, joins the other members, and announces what this
// node comes to own, until ctx is cancelled. Then it hands every address over,
// leaves, and returns nil, within Config.HandoverTimeout and Config.Linger and
// what the Membership takes to leave. Otherwise it returns the error of the
// Membership or the Announcer that ended it: without the rights for raw sockets
// that is a *[CapabilityError]. Run can be called once.
func (r *Runner) Run(ctx context.Context) error {
	if r.running.Swap(true) {
		return errors.New("l2vip: Run was called before")
	}
	l := &loop{
		Runner:   r,
		plan:     r.firstPlan(),
		failures: make(chan error, 3),
		synced:   make(chan bool, 1),
	}
	return l.run(ctx)
}

// firstPlan is the plan of a node that knows nothing yet.
func (r *Runner) firstPlan() *plan {
	return &plan{positions: make([]position, len(r.roster.addresses))}
}

// situation returns what is known now. The caller holds the lock, or is New.
func (r *Runner) situation() situation {
	s := situation{config: &r.config, roster: r.roster, health: make(map[string]health.State), others: r.others, peers: r.peers, draining: r.draining}
	if r.facts != nil {
		s.facts = *r.facts
	}
	for _, service := range r.roster.services {
		s.health[service.Name] = health.State{Ready: true}
		if service.Health != nil {
			s.health[service.Name] = r.health[service.Name]
		}
	}
	return s
}

// update takes the other members' offers.
func (r *Runner) update(offers []election.Offer) {
	r.mu.Lock()
	r.others = slices.DeleteFunc(offers, func(o election.Offer) bool { return o.Node == r.config.Name })
	if r.others == nil {
		r.others = []election.Offer{} // joined, and alone
	}
	r.mu.Unlock()
	r.signal()
}

// beat takes what heartbeats tell of the other members. The membership learns where
// those are that nobody has configured, and who is heard.
func (r *Runner) beat(peers []heartbeat.Peer) {
	meeter, meets := r.config.Membership.(meeter)
	truster, trusts := r.config.Membership.(truster)
	var heard []string
	for i := range peers {
		p := &peers[i]
		if addr, err := netip.ParseAddrPort(p.Membership); meets && err == nil && !p.Silent {
			meeter.Meet(addr)
		}
		if !p.Silent && !p.Dead && !p.Gone {
			heard = append(heard, p.Node)
		}
		// What the kernel answers for itself (Interface) outlives the process.
		p.Dead = p.Dead || p.Gone && r.config.Bind != announce.Interface
	}
	if trusts {
		truster.Vouch(heard)
	}
	r.mu.Lock()
	r.peers = peers
	r.mu.Unlock()
	r.signal()
}

// report takes the announcer's facts.
func (r *Runner) report(f announce.Facts) {
	r.mu.Lock()
	r.facts = &f
	r.mu.Unlock()
	r.signal()
}

// setHealth takes the state of a service.
func (r *Runner) setHealth(service string, s health.State) {
	r.mu.Lock()
	r.health[service] = s
	r.mu.Unlock()
	r.signal()
}

// loop is what Run works with; all of it belongs to Run's goroutine.
type loop struct {
	*Runner
	plan    *plan
	roster  *roster // the one that plan is of
	sources *group  // the health sources of that roster

	failures chan error // of the membership, the announcer and the heartbeat
	failure  error      // the first of them
	synced   chan bool  // outcomes of Sync
	syncing  bool
	exchange exchange
	company  []string // the live members when the lease ran out

	// Times are counted from a little before Run began, suspended time
	// included; so zero can stand for never.
	origin   time.Duration
	started  time.Duration
	lease    lease
	deserted time.Duration   // since when the lease is void; zero if it holds
	released time.Duration   // when an address was last given up; zero for never
	turned   time.Time       // when the loop last turned
	beats    heartbeat.State // what was last said by heartbeats
	joined   bool
	assigned bool
	stopping bool
}

func (l *loop) run(ctx context.Context) error {
	l.mu.Lock()
	l.roster = l.Runner.roster
	l.mu.Unlock()
	l.origin = clock.Now() - time.Second
	l.started = l.now()
	l.lease.announcer, l.lease.now, l.lease.byTurn = l.config.Announcer, l.now, l.config.leaseByTurn()
	l.renew(l.started)

	// The children outlive ctx, to hand over.
	ctx, done := context.WithoutCancel(ctx), ctx.Done()
	announcer, membership, heart, background := newGroup(ctx), newGroup(ctx), newGroup(ctx), newGroup(ctx)
	l.start(announcer, "announce", func(ctx context.Context) error { return l.config.Announcer.Run(ctx, l.report) })
	l.start(membership, "membership", func(ctx context.Context) error {
		return l.config.Membership.Run(ctx, l.config.Name, l.update)
	})
	l.start(heart, "heartbeat", func(ctx context.Context) error {
		return l.config.Heartbeat.Run(ctx, l.config.Name, l.beat)
	})
	l.startSources(ctx)
	defer func() {
		l.sources.stop()
		background.stop()
		announcer.stop()
		heart.stop()
		membership.stop() // last: the others learn from it that this node leaves
	}()

	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		changed := true
		select {
		case <-done:
			done = nil
			l.stop()
		case err := <-l.failures:
			l.failure = errors.Join(l.failure, err)
			l.stop()
		case l.exchange.done = <-l.synced:
			l.syncing = false
		case <-l.wake:
		case <-timer.C:
			changed = l.plan.offer.Node == "" || l.plan.wake > 0 && l.plan.wake <= l.now()
		}
		now := l.now()
		if l.renew(now) || changed {
			if err := l.turn(background, now); err != nil {
				return errors.Join(l.failure, err)
			}
		} else {
			l.config.Membership.Publish(l.plan.offer)
		}
		if !l.syncing && (l.deserted > l.exchange.began || l.plan.exchange) {
			l.sync(background, now)
		}
		if l.deserted > 0 && l.exchange.done && l.exchange.began >= l.deserted && inTouch(l.plan, l.config.Name, l.company) {
			if l.plan.superseded() {
				l.signal() // first what the others have claimed is given up
			} else {
				l.trust()
			}
		}
		if l.stopping && l.over(now) {
			return l.failure
		}
		timer.Reset(l.pause(now))
	}
}

// now returns the time by the loop's clock.
func (l *loop) now() time.Duration { return clock.Now() - l.origin }

// start runs one of the children without which nothing works.
func (l *loop) start(g *group, name string, run func(context.Context) error) {
	g.start(func(ctx context.Context) {
		err := run(ctx)
		if err == nil && ctx.Err() == nil {
			err = errors.New("ended by itself")
		}
		if err != nil {
			l.failures <- fmt.Errorf("%s: %w", name, err)
		}
	})
}

// stop begins to hand everything over.
func (l *loop) stop() {
	l.stopping = true
	l.drain()
}

// over reports whether nothing is left to do after stop: nothing is held, and
// what was held has lingered. Without an announcer there is nothing to wait for.
func (l *loop) over(now time.Duration) bool {
	held, _ := l.plan.holding()
	return l.failure != nil || held == 0 && (l.released == 0 || now >= l.released+l.config.Linger)
}

// pause returns how long the loop may wait for something to happen.
func (l *loop) pause(now time.Duration) time.Duration {
	next := earlier(now+l.lease.byTurn/ticks, l.plan.wake)
	if lingered := l.released + l.config.Linger; l.stopping && lingered > now {
		next = min(next, lingered)
	}
	return max(0, next-now)
}

// turn makes the plan that follows from what is known now, and acts on it.
func (l *loop) turn(background *group, now time.Duration) error {
	l.turned = time.Now()
	l.mu.Lock()
	s := l.situation()
	roster, heard := l.Runner.roster, l.facts != nil
	if l.roster != roster {
		l.plan = l.plan.carry(l.roster, roster)
		l.roster = roster
		former := l.sources
		former.cancel()
		background.start(func(context.Context) { former.stop() }) // a check may take its time
		l.startSources(background.ctx)
	}
	l.mu.Unlock()

	s.now = now
	s.deserted = l.deserted > 0
	s.exchange = l.exchange
	s.joined = l.hasJoined(now, s.others)

	before := l.plan
	after := s.next(before)
	if !s.joined {
		after.wakeAt(now, l.started+l.config.StartHold)
	}
	l.plan = after
	held, _ := before.holding()
	holds, _ := after.holding()
	if holds < held {
		l.released = now
	}

	// First what is on the wire, then what the others are told, then the rest.
	if !l.assigned || !reflect.DeepEqual(before.assignments, after.assignments) {
		if err := l.config.Announcer.Set(after.assignments); err != nil {
			return fmt.Errorf("announce: %w", err)
		}
		l.assigned = true
	}
	l.config.Membership.Publish(after.offer)
	lease := l.lease.byTurn
	if s.beaten() {
		lease = l.config.Lease
	}
	l.lease.among(lease, now)
	if state := beats(s.facts, holds > 0, l.endpoint(), lease); !reflect.DeepEqual(state, l.beats) {
		l.beats = state
		state.Sent = l.lease.beaten
		l.config.Heartbeat.Set(state)
	}

	last := l.status.Swap(&snapshot{situation: s, plan: after, taken: time.Now()})
	l.tell(before, after, &last.situation, &s)
	if s.draining && holds == 0 {
		l.closeOnce(l.drained)
	}
	if s.joined && heard {
		l.closeOnce(l.ready)
	}
	return nil
}

// endpoint returns where other members reach this one's membership, if it tells.
func (l *loop) endpoint() string {
	if m, ok := l.config.Membership.(meeter); ok {
		if at := m.Endpoint(); at.IsValid() {
			return at.String()
		}
	}
	return ""
}

// closeOnce closes the channel, which only this goroutine closes.
func (l *loop) closeOnce(ch chan struct{}) {
	select {
	case <-ch:
	default:
		close(ch)
	}
}

// hasJoined reports whether the node may claim: it knows the offers of all
// members that it has joined, or the start hold has passed.
func (l *loop) hasJoined(now time.Duration, others []election.Offer) bool {
	if !l.joined {
		silent := slices.ContainsFunc(others, func(o election.Offer) bool { return o.Instance == 0 })
		l.joined = len(others) > 0 && !silent || now >= l.started+l.config.StartHold
	}
	return l.joined
}

// startSources starts the health sources of all services.
func (l *loop) startSources(ctx context.Context) {
	l.sources = newGroup(ctx)
	for _, service := range l.roster.services {
		if service.Health == nil || service.Reserved {
			continue
		}
		l.sources.start(func(ctx context.Context) {
			err := service.Health.Run(ctx, func(s health.State) {
				if ctx.Err() == nil {
					l.setHealth(service.Name, s)
				}
			})
			if err != nil && ctx.Err() == nil {
				l.config.Logger.Error("a health source is broken", "service", service.Name, "error", err)
				l.setHealth(service.Name, health.State{Reason: err.Error()})
			}
		})
	}
}

// group is goroutines that are stopped and joined together.
type group struct {
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

func newGroup(ctx context.Context) *group {
	ctx, cancel := context.WithCancel(ctx)
	return &group{ctx: ctx, cancel: cancel}
}

func (g *group) start(run func(context.Context)) {
	g.wg.Go(func() { run(g.ctx) })
}

func (g *group) stop() {
	g.cancel()
	g.wg.Wait()
}

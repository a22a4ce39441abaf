package l2vip

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/l2vip/l2vip/announce"
	"github.com/l2vip/l2vip/election"
	"github.com/l2vip/l2vip/election/segment"
	"github.com/l2vip/l2vip/health"
	"github.com/l2vip/l2vip/internal/clock"
	"github.com/l2vip/l2vip/internal/core"
)

// loop is what Run works with; all of it belongs to one goroutine. It decides
// nothing: it takes what the streams have told, calls core.Step, and acts.
type loop struct {
	config   *Config
	settings *core.Settings
	inbox    *inbox
	outbox   *outbox
	state    *core.State
	catalog  *catalog // the one that state is of
	children children
	origin   time.Duration // times count from there
	lease    lease
	learned  chan netip.AddrPort // where other members can be joined
	beating  names               // of which beats arrive
	told     told
	synced   syncing
	deadline time.Duration // when time alone changes something; zero for never
	released time.Duration // when an address was last given up; zero for never
	stopping bool
	failure  error // what ends the loop
}

// told is what was last given to the parts, so that they are told only what is new.
type told struct {
	assignments []announce.Assignment
	assigned    bool
	state       segment.State
	held        int
}

// names is a set of members that one goroutine replaces and any reads.
type names struct {
	mu      sync.Mutex
	set     map[string]bool
	changed chan struct{} // closed when the set is replaced
}

// read is election.Local's Beats.
func (n *names) read() (set map[string]bool, changed <-chan struct{}) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.set, n.changed
}

// replace replaces the set, if it has changed.
func (n *names) replace(set map[string]bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !maps.Equal(n.set, set) {
		close(n.changed)
		n.set, n.changed = set, make(chan struct{})
	}
}

// syncing is the exchange with the membership.
type syncing struct {
	outcome chan bool
	running bool
	began   time.Duration // when the last one began
	done    time.Duration // when the last one began that succeeded
}

// children are the goroutines that the loop works with.
type children struct {
	announcer, membership, segment, sources, background *group
	failures                                            chan error
}

// The times in which the parts must have ended when Run ends.
const (
	endPart     = time.Second
	endEngine   = 2 * time.Second
	endRunSlack = 3*endPart + 2*endEngine
)

func newLoop(c *Config, settings *core.Settings, in *inbox, out *outbox) *loop {
	l := &loop{
		config: c, settings: settings, inbox: in, outbox: out, state: new(core.State), origin: clock.Now() - time.Second,
		learned: make(chan netip.AddrPort, 64),
	}
	l.beating.changed = make(chan struct{})
	l.synced.outcome = make(chan bool, 1)
	l.children.failures = make(chan error, 3)
	l.lease.announcer, l.lease.now = l.config.Announcer, l.now
	l.lease.byTurn, _ = l.leases(nil)
	return l
}

// now returns the time by the loop's clock.
func (l *loop) now() time.Duration { return clock.Now() - l.origin }

func (l *loop) run(ctx context.Context) error {
	l.lease.turn(l.now())
	// The children outlive ctx, to hand over.
	ctx, done := context.WithoutCancel(ctx), ctx.Done()
	l.start(ctx)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for l.failure == nil {
		changed := true
		select {
		case <-done:
			done = nil
			l.stop()
		case l.failure = <-l.children.failures:
		case ok := <-l.synced.outcome:
			if l.synced.running = false; ok {
				l.synced.done = l.synced.began
			}
		case <-l.inbox.wake:
		case <-timer.C:
			changed = l.state.Table == nil || l.deadline > 0 && l.deadline <= l.now()
		}
		now := l.now()
		late := l.lease.turn(now)
		if late > 0 && l.state.Fence() == core.Valid || changed {
			l.turn(now, late)
		} else {
			l.config.Membership.Publish(l.state.Offer)
		}
		if l.stopping && l.over(now) {
			break
		}
		timer.Reset(l.pause(now))
	}
	return l.end()
}

// start starts the children.
func (l *loop) start(ctx context.Context) {
	c := &l.children
	c.announcer, c.membership, c.segment, c.background = newGroup(ctx), newGroup(ctx), newGroup(ctx), newGroup(ctx)
	local := election.Local{
		Name: l.config.Name, Instance: l.settings.Instance, Cluster: l.config.Cluster,
		Keys: l.config.keyring.Keys, Beats: l.beating.read, Learned: l.learned,
		Refused: func(from, why string) { l.outbox.refuse(l.config.log.Logger, from, why) },
	}
	l.part(c.announcer, "announce", func(ctx context.Context) error {
		return l.config.Announcer.Run(ctx, func(f announce.Facts) { l.inbox.change(func() { l.inbox.facts = &f }) })
	})
	l.part(c.membership, "membership", func(ctx context.Context) error {
		return l.config.Membership.Run(ctx, local, func(m election.Membership) { l.inbox.change(func() { l.inbox.membership = &m }) })
	})
	l.part(c.segment, "segment", func(ctx context.Context) error {
		return l.config.Segment.Run(ctx, local, func(r segment.Report) { l.inbox.change(func() { l.inbox.segment = r }) })
	})
	c.sources = newGroup(ctx)
	l.catalog, _ = l.inbox.read()
	l.startSources()
}

// part runs one of the children without which nothing works.
func (l *loop) part(g *group, name string, run func(context.Context) error) {
	g.start(name, func(ctx context.Context) {
		err := run(ctx)
		if err == nil && ctx.Err() == nil {
			err = errors.New("ended by itself")
		}
		if err != nil {
			l.children.failures <- fmt.Errorf("%s: %w", name, err)
		}
	})
}

// startSources starts the health sources of all services.
func (l *loop) startSources() {
	for _, service := range l.catalog.services {
		if service.Health == nil || service.Reserved {
			continue
		}
		l.children.sources.start("health of "+service.Name, func(ctx context.Context) {
			err := service.Health.Run(ctx, func(s health.State) {
				if ctx.Err() == nil {
					l.inbox.setHealth(service.Name, s)
				}
			})
			if err != nil && ctx.Err() == nil {
				l.config.log.Error("a health source is broken", "service", service.Name, "error", err)
				l.inbox.setHealth(service.Name, health.State{Reason: err.Error()})
			}
		})
	}
}

// stop begins to hand everything over.
func (l *loop) stop() {
	l.stopping = true
	l.inbox.drain()
}

// over reports whether nothing is left to do after stop: nothing is held, and what
// was held has lingered.
func (l *loop) over(now time.Duration) bool {
	return l.told.held == 0 && (l.released == 0 || now >= l.released+l.config.Linger)
}

// end ends the children, the members last: the others learn from them that this node
// leaves.
func (l *loop) end() error {
	c := &l.children
	hanging := append(c.sources.stop(endPart), c.background.stop(endPart)...)
	hanging = append(hanging, c.announcer.stop(endPart)...)
	hanging = append(hanging, c.segment.stop(endEngine)...)
	hanging = append(hanging, c.membership.stop(endEngine)...)
	for failed := true; failed; {
		select {
		case err := <-c.failures:
			l.failure = errors.Join(l.failure, err)
		default:
			failed = false
		}
	}
	if len(hanging) > 0 {
		l.failure = errors.Join(l.failure, fmt.Errorf("l2vip: did not end: %s", strings.Join(hanging, ", ")))
	}
	return l.failure
}

// pause returns how long the loop may wait for something to happen.
func (l *loop) pause(now time.Duration) time.Duration {
	next := now + l.lease.pause()
	if l.deadline > 0 {
		next = min(next, l.deadline)
	}
	if lingered := l.released + l.config.Linger; l.stopping && lingered > now {
		next = min(next, lingered)
	}
	return max(0, next-now)
}

// turn takes the step that follows from what is known now, and acts on it.
func (l *loop) turn(now, late time.Duration) {
	turned := time.Now()
	catalog, in := l.inbox.read()
	if catalog != l.catalog {
		former := l.children.sources
		former.cancel() // a check may take its time
		for _, name := range former.names() {
			l.children.background.start(name, func(context.Context) { former.stop(time.Minute) })
		}
		l.catalog, l.children.sources = catalog, newGroup(l.children.background.ctx)
		l.startSources()
	}
	in.Now, in.Settings, in.LeaseLost, in.Synced = now, l.settings, late > 0, l.synced.done
	after, out := core.Step(l.state, in)
	l.state, l.deadline = after, out.Deadline
	if out.Held < l.told.held {
		l.released = now
	}
	l.told.held = out.Held

	// First what is on the wire, then what the others are told, then the rest.
	if !l.told.assigned || !slices.EqualFunc(l.told.assignments, out.Assignments, announce.Assignment.Equal) {
		if err := l.config.Announcer.Set(out.Assignments); err != nil {
			l.failure = fmt.Errorf("announce: %w", err)
			return
		}
		l.told.assignments, l.told.assigned = out.Assignments, true
	}
	byTurn, byBeat := l.leases(&in)
	l.lease.limit(byTurn, byBeat, now)
	if out.Resynced {
		l.lease.reset(now)
	}
	l.tellSegment(in, out, byBeat)
	l.config.Membership.Publish(out.Offer)
	if out.Sync {
		l.sync(now)
	}

	l.outbox.status.Store(&snapshot{state: after, input: in, catalog: catalog, taken: turned})
	l.record(out.Transitions, turned)
	if in.Draining && out.Held == 0 {
		closeOnce(l.outbox.drained)
	}
	if out.Joined && in.Facts != nil {
		closeOnce(l.outbox.ready)
	}
}

// unknownDetectionLease is how long the lease is among members that do not beat, where
// the membership does not tell how soon it may declare one dead.
const unknownDetectionLease = 250 * time.Millisecond

// leases returns how long the lease is from a turn of the loop on, and from a beat on.
// Members that beat know it, and leave a process that does not run that much time; for
// others it must be over before the membership can have lost this member.
func (l *loop) leases(in *core.Input) (byTurn, byBeat time.Duration) {
	if _, none := l.config.Membership.(noMembership); none {
		return l.config.Lease, l.config.Lease
	}
	byTurn = min(l.config.Lease, unknownDetectionLease)
	if in != nil && in.Membership != nil && in.Membership.Detection > 0 {
		byTurn = min(l.config.Lease, in.Membership.Detection*3/4)
	}
	for i := range l.state.Members {
		if m := &l.state.Members[i]; m.Live && (m.Peer == nil || len(m.Peer.Rows) == 0) {
			return byTurn, byTurn
		}
	}
	if l.config.Segment == NoSegment {
		return byTurn, byTurn
	}
	return byTurn, l.config.Lease
}

// tellSegment tells the other members on the segment what this node says of itself,
// and the membership where they can be joined.
func (l *loop) tellSegment(in core.Input, out core.Output, lease time.Duration) {
	state := segment.State{Offer: out.Offer, Epoch: out.Epoch, Lease: lease}
	if in.Membership != nil && in.Membership.Endpoint.IsValid() {
		state.Membership = in.Membership.Endpoint.String()
	}
	if in.Facts != nil {
		state.Links = beatOn(in.Facts)
	}
	if !sameState(&state, &l.told.state) {
		l.told.state = state
		state.Valid, state.Sent, state.Stations = l.lease.valid, l.lease.beaten, l.stations
		l.config.Segment.Set(state)
	}
	beating := make(map[string]bool, len(in.Segment.Peers))
	for i := range in.Segment.Peers {
		if p := &in.Segment.Peers[i]; slices.ContainsFunc(p.Rows, func(r segment.Row) bool { return r.State == segment.Up }) {
			beating[p.Node] = true
		}
	}
	l.beating.replace(beating)
	for i := range in.Segment.Peers {
		if addr, err := netip.ParseAddrPort(in.Segment.Peers[i].Membership); err == nil {
			select {
			case l.learned <- addr:
			default: // it is told again
			}
		}
	}
}

// sameState reports whether two states tell the segment the same. What an offer says
// follows from its revision.
func sameState(a, b *segment.State) bool {
	return a.Offer.Revision == b.Offer.Revision && a.Epoch == b.Epoch && a.Lease == b.Lease &&
		a.Membership == b.Membership && slices.Equal(a.Links, b.Links)
}

// stations returns stations on a link that the announcer has heard lately, if it tells.
func (l *loop) stations(link int) []segment.Neighbor {
	a, tells := l.config.Announcer.(interface{ Stations(int) []announce.Station })
	if !tells {
		return nil
	}
	heard := a.Stations(link)
	all := make([]segment.Neighbor, len(heard))
	for i, s := range heard {
		all[i] = segment.Neighbor(s)
	}
	return all
}

// beatOn returns the links that this node announces on, each with an address that the
// kernel answers for.
func beatOn(facts *announce.Facts) (links []segment.Link) {
	for i := range facts.Links {
		f := &facts.Links[i]
		if f.Problem != "" || len(f.HardwareAddr) != 6 {
			continue
		}
		link := segment.Link{Index: f.Index, HardwareAddr: [6]byte(f.HardwareAddr)}
		if len(f.Prefixes) > 0 {
			link.Addr = f.Prefixes[0].Addr()
		}
		links = append(links, link)
	}
	return links
}

const (
	// syncTimeout bounds an exchange with the membership, and syncEvery is the least
	// time between two of them: one that fails at once would be tried again at once.
	syncTimeout = time.Second
	syncEvery   = 50 * time.Millisecond
)

// sync asks for an exchange with the membership, one at a time.
func (l *loop) sync(now time.Duration) {
	if l.synced.running {
		return
	}
	if again := l.synced.began + syncEvery; l.synced.began > 0 && now < again {
		if l.deadline == 0 || again < l.deadline {
			l.deadline = again
		}
		return
	}
	l.synced.running, l.synced.began = true, now
	l.children.background.start("exchange with the membership", func(ctx context.Context) {
		ctx, cancel := context.WithTimeout(ctx, syncTimeout)
		defer cancel()
		err := l.config.Membership.Sync(ctx)
		if err != nil {
			l.config.log.Warn("no exchange with another member", "error", err)
		}
		l.synced.outcome <- err == nil // one at a time: never blocks
	})
}

// record makes events and lines of the log from transitions.
func (l *loop) record(transitions []core.Transition, now time.Time) {
	for i := range transitions {
		t := &transitions[i]
		if t.Kind == core.Moved {
			l.config.log.Debug("address", "address", t.Addr, "from", t.From.String(), "to", t.To.String(), "cause", t.Cause)
		}
		if ev, told := eventOf(t, now); told {
			l.outbox.events.emit(ev)
			l.config.log.Log(context.Background(), ev.level(), string(ev.Kind), ev.attrs()...)
		}
	}
}

package announce

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// engine is what Run works with. All of it but the ports' tables, which Set fills
// under the Announcer's lock, belongs to Run's goroutine.
type engine struct {
	*Announcer
	report func(Facts)

	watcher *watcher // nil while there is no subscription
	binder  *binder
	links   []link
	// configured are addresses that others have put on interfaces of this host.
	configured map[netip.Addr]string
	closing    sync.WaitGroup   // of ports that are no longer in use
	hearings   map[int]*hearing // by the index of an interface in use
	own        atomic.Pointer[map[hardwareAddr]bool]

	assigned []Assignment // those of which the claims are
	claims   map[netip.Addr]*claim
	queue    queue // the claims that have something to send, soonest first
	pacer    pacer
	started  time.Time

	seen       chan struct{} // capacity 1: a port has seen another station's claim, or after a silence anybody
	quietUntil time.Time     // until when sightings are left where they are
	sightAt    time.Time     // when sightings are to be reported; zero if there are none
	listenAt   time.Time     // when an interface may turn out to be silent; zero for never
	failed     chan failure

	list    bool // the interfaces are to be listed
	assign  bool // the assignments are to be looked at
	regroup bool // the multicast groups are to be looked at
	// What failed and is to be tried again:
	troubled bool            // something did since the last listing
	retryAt  time.Time       // when to try again; zero if nothing failed
	backoff  time.Duration   // the pause before that
	warned   map[string]bool // what was logged since all was well

	firsts   bool // addresses were announced for the first time since
	changes  bool // something may have changed since the facts were reported
	reported *Facts
}

const (
	// What failed for a reason that the kernel doesn't tell the end of is tried
	// again after retryFirst, and then with pauses that double up to retryMost.
	retryFirst, retryMost = 250 * time.Millisecond, 10 * time.Second
	// sendBatch is how many claims may send before other events have their turn.
	sendBatch = 256
	// sightingsEvery is how often, at most, sightings wake Run's goroutine.
	sightingsEvery = 20 * time.Millisecond
	// sightedEvery is how often, at most, those of one address are reported.
	sightedEvery = time.Second
)

func (a *Announcer) run(ctx context.Context, report func(Facts)) (err error) {
	if err := rawSocketsAllowed(); err != nil {
		return err
	}
	e := &engine{
		Announcer: a,
		report:    report,
		hearings:  make(map[int]*hearing),
		claims:    make(map[netip.Addr]*claim),
		pacer:     newPacer(a.config.Burst, a.config.Rate),
		started:   time.Now(),
		seen:      make(chan struct{}, 1),
		failed:    make(chan failure),
		list:      true,
		assign:    true,
		warned:    make(map[string]bool),
	}
	if e.watcher, err = watchLinks(); err != nil {
		return err
	}
	defer e.unwatch()
	if e.binder, err = newBinder(a.config.Bind, a.logger); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.binder.close()) }()
	defer e.closePorts()
	return e.loop(ctx)
}

// rawSocketsAllowed tells early, and by name, of the capability without which
// nothing works.
func rawSocketsAllowed() error {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if errors.Is(err, unix.EPERM) {
		return &CapabilityError{"CAP_NET_RAW", "open a packet socket", err}
	}
	if err != nil {
		return fmt.Errorf("open a packet socket: %w", err)
	}
	return unix.Close(fd)
}

// loop turns until ctx is cancelled or nothing can go on. Each turn does what
// there is to do, a bounded amount of each kind, and waits for one event.
func (e *engine) loop(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		if err := e.apply(); err != nil {
			return err
		}
		now := time.Now()
		e.takeSightings(now)
		e.stepGroups()
		e.transmit(now)
		e.listenAt = e.listen()
		e.reportFacts()
		if err := e.bind(); err != nil {
			return err
		}

		links, hosts, sighted := e.watching(now)
		timer.Reset(e.pause())
		select {
		case <-ctx.Done():
			return nil
		case <-e.changed:
			e.assign = true
		case <-links:
			e.list = true
		case <-hosts:
			e.list = true
		case <-sighted:
		case f := <-e.failed:
			e.lose(f)
		case <-timer.C:
			e.onTime(time.Now())
		}
	}
}

// watching returns the channels that the loop listens to now. What the binder
// itself takes off is no news, so it finishes first.
func (e *engine) watching(now time.Time) (links, hosts, sighted <-chan struct{}) {
	if e.watcher != nil {
		links = e.watcher.links
		if !e.binder.busy() {
			hosts = e.watcher.hosts
		}
	}
	if !now.Before(e.quietUntil) {
		sighted = e.seen
	}
	return links, hosts, sighted
}

// pause returns how long the loop may wait for an event.
func (e *engine) pause() time.Duration {
	if e.binder.busy() || e.joining() || e.changes {
		return 0
	}
	now := time.Now()
	next := now.Add(time.Hour)
	sooner := func(at time.Time) {
		if !at.IsZero() && at.Before(next) {
			next = at
		}
	}
	sooner(e.retryAt)
	sooner(e.binder.renewAt)
	sooner(e.sightAt)
	sooner(e.listenAt)
	if len(e.seen) > 0 {
		sooner(e.quietUntil)
	}
	if len(e.queue) > 0 {
		due := e.queue[0].due
		if paced := e.pacer.readyAt(); paced.After(due) {
			due = paced
		}
		sooner(due)
	}
	return max(0, next.Sub(now))
}

// onTime notes what is due now besides frames.
func (e *engine) onTime(now time.Time) {
	if !e.retryAt.IsZero() && !now.Before(e.retryAt) {
		e.list = true
	}
	if e.binder.due(now) {
		e.assign = true
	}
	if !e.sightAt.IsZero() && !now.Before(e.sightAt) {
		e.sightAt, e.changes = time.Time{}, true
	}
}

// trouble notes that something failed and is to be tried again. It logs what and
// why, each only once until all is well again.
func (e *engine) trouble(what string, err error, args ...any) {
	e.troubled = true
	if now := time.Now(); e.retryAt.IsZero() || !now.Before(e.retryAt) {
		e.backoff = min(max(2*e.backoff, retryFirst), retryMost)
		e.retryAt = now.Add(e.backoff)
	}
	if text := what + err.Error(); !e.warned[text] {
		e.warned[text] = true
		e.logger.Warn(what+", trying again", append(args, "error", err)...)
	}
}

// apply makes ports, claims and bindings what links and assignments ask for, if
// something about them has changed. Before the first Set nothing is known, and
// nothing is done. Announcements must not wait for the kernel to bind other
// addresses, so bind does that afterwards.
func (e *engine) apply() error {
	e.mu.Lock()
	assignments := e.assignments
	e.mu.Unlock()
	if !e.list && !e.assign || assignments == nil {
		return nil
	}
	var down map[int]bool
	if e.list {
		e.troubled = false
		var err error
		if down, err = e.look(); err != nil && e.links == nil {
			return err
		} else if err != nil {
			e.trouble("cannot list the interfaces", err)
		}
	}
	e.list, e.assign, e.changes = false, false, true
	e.assigned = assignments
	e.openPorts(assignments, down)
	e.claim(assignments)
	e.joinGroups()
	return e.binder.sync(assignments, e.links, e.leased(), time.Now())
}

// look lists the interfaces and addresses, and returns the interfaces that were
// down since the last time. It subscribes anew if the subscription is lost.
func (e *engine) look() (down map[int]bool, err error) {
	if e.watcher != nil {
		var lost error
		if down, lost = e.watcher.take(); lost != nil {
			e.logger.Info("the subscription to interface changes was lost, subscribing again", "error", lost)
			e.unwatch()
		}
	}
	if e.watcher == nil {
		if e.watcher, err = watchLinks(); err != nil {
			e.watcher = nil
			e.trouble("cannot watch the interfaces", err)
		}
	}
	inv, err := takeInventory()
	if err != nil {
		return down, err
	}
	e.links, e.configured = inv.links, e.binder.configured(inv)
	own := make(map[hardwareAddr]bool, len(e.links))
	for i := range e.links {
		own[e.links[i].hw] = true
	}
	e.own.Store(&own)
	e.binder.observe(inv.hosts)
	return down, nil
}

// unwatch ends the subscription.
func (e *engine) unwatch() {
	if e.watcher != nil {
		e.watcher.close()
		e.watcher = nil
	}
}

// bind does a part of what there is to bind, and sees to what can't be.
func (e *engine) bind() error {
	if e.binder.busy() {
		if err := e.binder.step(); err != nil {
			return err
		}
		if e.binder.busy() {
			return nil
		}
		e.changes = true
		for p, err := range e.binder.errs {
			e.trouble("cannot bind an address", err, "address", p.addr, "failed", len(e.binder.errs))
			break // one stands for all
		}
	}
	if !e.troubled {
		e.retryAt, e.backoff = time.Time{}, 0
		clear(e.warned)
	}
	return nil
}

// openPorts opens a port for every interface and protocol that the assignments
// use, and closes the others. One whose interface was down meanwhile is opened
// anew, because neighbours may have forgotten, and so announces and joins again.
func (e *engine) openPorts(assignments []Assignment, down map[int]bool) {
	wanted := e.used(assignments)
	var keep, drop, fresh []*port
	changed := make(map[*port]*link)
	// Only this goroutine changes the ports, so it may read them without the lock.
	for _, p := range e.ports {
		at := berth{p.link.index, p.v6}
		if l := wanted[at]; l != nil && p.link.same(l) && !down[l.index] {
			delete(wanted, at)
			if p.link.name != l.name || !slices.Equal(p.link.prefixes, l.prefixes) || !slices.Equal(p.link.left, l.left) {
				changed[p] = l
			}
			keep = append(keep, p)
		} else {
			drop = append(drop, p)
		}
	}
	for at, l := range wanted {
		if e.hearings[at.index] == nil {
			e.hearings[at.index] = new(hearing)
		}
		p, err := e.openPort(*l, at.v6, e.hearings[at.index])
		if err != nil {
			l.problem = err.Error()
			e.trouble("cannot use an interface", fmt.Errorf("%s: %w", l.name, err))
			continue
		}
		fresh = append(fresh, p)
	}

	e.mu.Lock()
	e.ports = append(keep, fresh...)
	for _, p := range drop {
		p.fill(nil, e.config.Bind) // it says nothing more
	}
	for p, l := range changed {
		p.link.name, p.link.prefixes, p.link.left = l.name, l.prefixes, l.left
		p.fill(e.assignments, e.config.Bind)
	}
	for _, p := range fresh {
		p.fill(e.assignments, e.config.Bind) // the newest, they may have changed meanwhile
	}
	e.mu.Unlock()
	for _, p := range drop {
		e.closing.Go(p.close) // which takes the kernel ten milliseconds and more
		e.logger.Debug("interface no longer in use", "interface", p.link.name, "ipv6", p.v6)
	}
	for _, p := range fresh {
		p.start()
		e.logger.Debug("interface in use", "interface", p.link.name, "hardware", p.link.hw, "ipv6", p.v6)
	}
	e.forgetHearings()
}

// forgetHearings drops what is known of interfaces that are no longer in use, and
// tells Stations of those that are.
func (e *engine) forgetHearings() {
	for index := range e.hearings {
		if !slices.ContainsFunc(e.ports, func(p *port) bool { return p.link.index == index }) {
			delete(e.hearings, index)
		}
	}
	stations := make(map[int]func() []Station, len(e.hearings))
	for index, h := range e.hearings {
		stations[index] = h.recent
	}
	e.stations.Store(&stations)
}

// berth is where a port belongs.
type berth struct {
	index int
	v6    bool
}

// used returns the usable interfaces that the assignments, which are sorted,
// belong on, each with the protocol. There may be many of both.
func (e *engine) used(assignments []Assignment) map[berth]*link {
	used := make(map[berth]*link)
	split, _ := slices.BinarySearchFunc(assignments, true, func(a Assignment, _ bool) int {
		if a.Addr.Is4() {
			return -1
		}
		return 1
	})
	for v6, part := range map[bool][]Assignment{false: assignments[:split], true: assignments[split:]} {
		r := reachOf(part)
		for i := range e.links {
			if l := &e.links[i]; l.problem == "" && r.covers(l) {
				used[berth{l.index, v6}] = l
			}
		}
	}
	return used
}

// lose closes a port that failed. An interface that went down is listed at once;
// what else may fail is tried again after a pause.
func (e *engine) lose(f failure) {
	if !slices.Contains(e.ports, f.port) {
		return // it is being closed
	}
	e.dropPort(f.port)
	e.changes = true
	if errors.Is(f.err, unix.ENETDOWN) {
		e.list = true
		return
	}
	for i := range e.links {
		if l := &e.links[i]; l.index == f.port.link.index {
			l.problem = f.err.Error()
		}
	}
	e.trouble("an interface failed", fmt.Errorf("%s: %w", f.port.link.name, f.err))
}

// dropPort closes a port.
func (e *engine) dropPort(p *port) {
	e.mu.Lock()
	e.ports = slices.DeleteFunc(slices.Clone(e.ports), func(q *port) bool { return p == q })
	e.mu.Unlock()
	p.close()
	for _, c := range e.claims {
		c.on = slices.DeleteFunc(c.on, func(q *port) bool { return p == q })
	}
}

// closePorts closes all ports.
func (e *engine) closePorts() {
	defer e.closing.Wait()
	for len(e.ports) > 0 {
		e.dropPort(e.ports[0])
	}
}

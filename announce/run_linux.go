package announce

import (
	"container/heap"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// engine is what Run works with. All of it but the ports, which Set fills under
// the Announcer's lock, belongs to Run's goroutine.
type engine struct {
	*Announcer
	report func(Facts)

	watcher *watcher
	binder  *binder
	links   []link
	own     atomic.Pointer[map[hardwareAddr]bool]

	claims map[netip.Addr]*claim
	queue  queue // the claims that have something to send, soonest first

	sightings chan sighting
	failed    chan *port

	changes  bool // something may have changed since the facts were reported
	reported Facts
}

// claim is an assignment and what became of it.
type claim struct {
	Assignment
	sent  int       // announcements, or probes, of this mode and claim
	due   time.Time // of the next one
	index int       // in the queue; -1 if there is nothing to send
	probe ProbeResult
	rival *hardwareAddr
}

const (
	// reopenAfter is how long Run waits before it tries again what failed for
	// a reason that the kernel doesn't tell the end of.
	reopenAfter = 250 * time.Millisecond
	// sendBatch is how many claims may send before other events have their turn.
	sendBatch = 256
	// maxSightings bounds the sightings that wait for Run's goroutine.
	maxSightings = 256
)

func (a *Announcer) run(ctx context.Context, report func(Facts)) (err error) {
	if err := rawSocketsAllowed(); err != nil {
		return err
	}
	e := &engine{
		Announcer: a,
		report:    report,
		claims:    make(map[netip.Addr]*claim),
		sightings: make(chan sighting, maxSightings),
		failed:    make(chan *port),
	}
	if e.watcher, err = watchLinks(); err != nil {
		return err
	}
	defer func() { e.watcher.close() }()
	if e.binder, err = newBinder(a.config.Bind); err != nil {
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

// loop turns until ctx is cancelled or nothing can go on.
func (e *engine) loop(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	listLinks, assign := true, true
	for {
		var retry time.Duration
		if listLinks || assign {
			ok, err := e.apply(listLinks)
			if err != nil {
				return err
			}
			listLinks, assign = false, false
			if !ok {
				retry, listLinks = reopenAfter, true
			}
		}
		e.transmit(time.Now())
		e.reportFacts()

		timer.Reset(e.pause(retry))
		select {
		case <-ctx.Done():
			return nil
		case <-e.changed:
			assign = true
		case _, ok := <-e.watcher.links:
			listLinks = true
			if err := e.keepWatching(ok); err != nil {
				return err
			}
		case _, ok := <-e.watcher.addrs:
			listLinks = true
			if err := e.keepWatching(ok); err != nil {
				return err
			}
		case p := <-e.failed:
			e.dropPort(p)
			listLinks = true
		case s := <-e.sightings:
			e.sighted(s)
		case <-timer.C:
			assign = e.config.Bind == Interface && e.leased() // renews what the kernel would let expire
		}
	}
}

// pause returns how long the loop may wait for an event: until the next frame is
// due, or something is to be tried again.
func (e *engine) pause(retry time.Duration) time.Duration {
	pause := time.Hour
	if len(e.queue) > 0 {
		pause = max(0, time.Until(e.queue[0].due))
	}
	if e.config.Bind == Interface {
		pause = min(pause, interfaceLifetime/3)
	}
	if retry > 0 {
		pause = min(pause, retry)
	}
	return pause
}

// keepWatching takes the rest of a burst of changes, and subscribes anew if the
// subscription is lost, which any receive error does.
func (e *engine) keepWatching(ok bool) error {
	if ok && e.watcher.flush() {
		return nil
	}
	e.logger.Warn("the subscription to interface changes was lost, subscribing again")
	e.watcher.close()
	w, err := watchLinks()
	if err == nil {
		e.watcher = w
	}
	return err
}

// apply makes ports, bindings and claims what links and assignments ask for. It
// reports whether all of it could be done.
func (e *engine) apply(list bool) (ok bool, err error) {
	ok, e.changes = true, true
	if list {
		if e.links, err = listLinks(); err != nil {
			return false, err
		}
		own := make(map[hardwareAddr]bool, len(e.links))
		for i := range e.links {
			own[e.links[i].hw] = true
		}
		e.own.Store(&own)
	}
	e.mu.Lock()
	assignments := e.assignments
	e.mu.Unlock()

	// Announcements must not wait for the kernel to bind other addresses, so
	// what is to be sent first is sent first.
	opened, ok := e.openPorts(assignments)
	e.claim(assignments, opened)
	e.transmit(time.Now())
	if err := e.binder.sync(assignments, e.links); err != nil {
		return false, err
	}
	return ok && len(e.binder.errs) == 0, nil
}

// openPorts opens a port for every interface that the assignments use, closes
// the others, and returns the interfaces that are new.
func (e *engine) openPorts(assignments []Assignment) (opened map[string]bool, ok bool) {
	opened, ok = make(map[string]bool), true
	var keep, drop []*port
	wanted := make(map[int]*link)
	for i := range e.links {
		l := &e.links[i]
		if l.problem == "" && slices.ContainsFunc(assignments, func(a Assignment) bool { return l.carries(&a) }) {
			wanted[l.index] = l
		}
	}
	// Only this goroutine changes the ports, so it may read them without the lock.
	for _, p := range e.ports {
		if l := wanted[p.link.index]; l != nil && p.link.same(l) {
			delete(wanted, l.index)
			keep = append(keep, p)
		} else {
			drop = append(drop, p)
		}
	}
	var fresh []*port
	for _, l := range wanted {
		p, err := e.openPort(*l)
		if err != nil {
			e.logger.Warn("cannot use an interface", "interface", l.name, "error", err)
			l.problem, ok = err.Error(), false
			continue
		}
		opened[l.name] = true
		fresh = append(fresh, p)
	}

	e.mu.Lock()
	e.ports = append(keep, fresh...)
	for _, p := range e.ports {
		if i := slices.IndexFunc(e.links, func(l link) bool { return l.index == p.link.index }); i >= 0 {
			p.link.prefixes = e.links[i].prefixes
		}
		p.fill(e.assignments, e.config.Bind) // the newest, they may have changed meanwhile
	}
	e.mu.Unlock()
	for _, p := range fresh {
		p.start()
		e.logger.Debug("interface in use", "interface", p.link.name, "hardware", p.link.hw)
	}
	for _, p := range drop {
		p.close()
		e.logger.Debug("interface no longer in use", "interface", p.link.name)
	}
	return opened, ok
}

// dropPort closes a port that failed.
func (e *engine) dropPort(p *port) {
	e.mu.Lock()
	e.ports = slices.DeleteFunc(slices.Clone(e.ports), func(q *port) bool { return p == q })
	e.mu.Unlock()
	p.close()
}

// closePorts closes all ports.
func (e *engine) closePorts() {
	for len(e.ports) > 0 {
		e.dropPort(e.ports[0])
	}
}

// claim makes the claims what the assignments ask for. What is new, or is on an
// interface that is, has its first frame due now.
func (e *engine) claim(assignments []Assignment, opened map[string]bool) {
	now := time.Now()
	wanted := make(map[netip.Addr]bool, len(assignments))
	for _, a := range assignments {
		wanted[a.Addr] = true
		c := e.claims[a.Addr]
		if c == nil {
			c = &claim{index: -1}
			e.claims[a.Addr] = c
		}
		again := c.Mode != a.Mode || c.Claim != a.Claim
		if again {
			c.probe, c.rival = Unknown, nil
		}
		c.Assignment = a
		if a.Mode == Standby || a.Mode == Probe && c.probe != Unknown {
			e.schedule(c, time.Time{})
			continue
		}
		moved := slices.ContainsFunc(e.ports, func(p *port) bool { return opened[p.link.name] && p.link.carries(&a) })
		if again || moved {
			c.sent = 0
			e.schedule(c, now)
		}
	}
	maps.DeleteFunc(e.claims, func(addr netip.Addr, c *claim) bool {
		if !wanted[addr] {
			e.schedule(c, time.Time{})
		}
		return !wanted[addr]
	})
}

// schedule puts the claim at its place in the queue, or takes it out if due is zero.
func (e *engine) schedule(c *claim, due time.Time) {
	c.due = due
	switch {
	case due.IsZero() && c.index >= 0:
		heap.Remove(&e.queue, c.index)
	case due.IsZero():
	case c.index >= 0:
		heap.Fix(&e.queue, c.index)
	default:
		heap.Push(&e.queue, c)
	}
}

// transmit sends what is due, a bounded number of frames at a time.
func (e *engine) transmit(now time.Time) {
	for range sendBatch {
		if len(e.queue) == 0 || e.queue[0].due.After(now) {
			return
		}
		c := e.queue[0]
		switch c.Mode {
		case Probe:
			e.transmitProbe(c, now)
		case Answer:
			e.transmitAnnouncement(c, now)
		case Standby:
			e.schedule(c, time.Time{})
		}
	}
}

func (e *engine) transmitProbe(c *claim, now time.Time) {
	if c.sent == probeNum {
		c.probe, e.changes = Clear, true
		e.schedule(c, time.Time{})
		return
	}
	sent := e.sendOn(c, func(own hardwareAddr) ([][]byte, error) {
		frame, err := probe(c.Addr, own)
		return [][]byte{frame}, err
	})
	e.counter.probes.Add(uint64(sent))
	if sent == 0 {
		e.schedule(c, now.Add(probeInterval)) // nobody has heard the question
		return
	}
	c.sent++
	wait := probeInterval
	if c.sent == probeNum {
		wait = probeWait
	}
	e.schedule(c, now.Add(wait))
}

func (e *engine) transmitAnnouncement(c *claim, now time.Time) {
	// Without a lease another node may have the address by now. And before an
	// interface has opened there is nothing to send on: claim is due again then.
	sent := 0
	if e.leased() {
		sent = e.sendOn(c, func(own hardwareAddr) ([][]byte, error) { return gratuitous(c.Addr, own) })
		e.counter.announced.Add(uint64(sent))
	}
	if sent > 0 {
		c.sent++
	}
	e.schedule(c, now.Add(announceAfter(max(1, c.sent), e.config.Refresh, rand.Float64())))
}

// sendOn sends the frames on every port that carries the claim, and returns how
// many were sent.
func (e *engine) sendOn(c *claim, frames func(own hardwareAddr) ([][]byte, error)) (sent int) {
	for _, p := range e.ports {
		if !p.link.carries(&c.Assignment) {
			continue
		}
		list, err := frames(p.link.hw)
		if err != nil {
			e.logger.Error("cannot build a frame", "address", c.Addr, "error", err)
			continue
		}
		for _, frame := range list {
			if err := p.send(frame); err != nil {
				e.counter.sendErrors.Add(1)
				e.logger.Debug("cannot send a frame", "interface", p.link.name, "address", c.Addr, "error", err)
				continue
			}
			sent++
		}
	}
	return sent
}

// sighted takes note of another station that claims an address.
func (e *engine) sighted(s sighting) {
	c := e.claims[s.addr]
	if c == nil || c.Mode == Standby {
		return
	}
	hw := s.hw
	c.rival, e.changes = &hw, true
	if c.Mode == Probe && c.probe == Unknown {
		c.probe = Conflict
		e.schedule(c, time.Time{})
	}
	e.logger.Debug("another station claims an address", "address", s.addr, "hardware", s.hw, "interface", s.port.link.name)
}

// reportFacts reports the facts if they have changed.
func (e *engine) reportFacts() {
	if !e.changes {
		return
	}
	e.changes = false
	facts := e.facts()
	if e.reported.Links != nil && reflect.DeepEqual(facts, e.reported) {
		return
	}
	e.reported = facts
	e.report(facts)
}

func (e *engine) facts() Facts {
	facts := Facts{Links: []Link{}, Addresses: make([]Address, 0, len(e.claims))}
	used := make(map[string]bool)
	known := make(map[string]*link, len(e.links))
	for i := range e.links {
		known[e.links[i].name] = &e.links[i]
	}
	for _, addr := range slices.SortedFunc(maps.Keys(e.claims), netip.Addr.Compare) {
		c := e.claims[addr]
		f := Address{Addr: addr, Mode: c.Mode, Claim: c.Claim, Probe: c.probe, Problem: NoInterface}
		if c.rival != nil {
			f.Rival = c.rival[:]
		}
		for i := range e.links {
			l := &e.links[i]
			if !l.carries(&c.Assignment) {
				continue
			}
			used[l.name] = true
			switch {
			case l.problem == "":
				f.Links, f.Problem = append(f.Links, l.name), NoProblem
			case l.down && f.Problem == NoInterface:
				f.Problem = LinkDown
			}
		}
		for _, name := range c.Interfaces {
			used[name] = true
		}
		if f.Problem != NoProblem {
			f.Detail = e.missing(c, known)
		} else if err := e.binder.errs[addr]; err != nil {
			f.Problem, f.Detail = NotBound, err.Error()
		}
		facts.Addresses = append(facts.Addresses, f)
	}
	for _, name := range slices.Sorted(maps.Keys(used)) {
		if l := known[name]; l != nil {
			facts.Links = append(facts.Links, l.fact())
		} else {
			facts.Links = append(facts.Links, Link{Name: name, Problem: "absent"})
		}
	}
	return facts
}

// missing says of each interface for the claim why it can't be used.
func (e *engine) missing(c *claim, known map[string]*link) string {
	if len(c.Interfaces) == 0 {
		for i := range e.links {
			if l := &e.links[i]; l.carries(&c.Assignment) {
				return fmt.Sprintf("%s: %s", l.name, l.problem)
			}
		}
		return "no interface has a subnet that contains it"
	}
	var why []string
	for _, name := range c.Interfaces {
		problem := "absent"
		if l := known[name]; l != nil {
			problem = l.problem
		}
		why = append(why, fmt.Sprintf("%s: %s", name, problem))
	}
	return strings.Join(why, ", ")
}

// queue is a heap of claims by the time at which they have something to send.
type queue []*claim

func (q queue) Len() int           { return len(q) }
func (q queue) Less(i, j int) bool { return q[i].due.Before(q[j].due) }
func (q queue) Swap(i, j int)      { q[i], q[j] = q[j], q[i]; q[i].index, q[j].index = i, j }

// Push implements [heap.Interface].
func (q *queue) Push(x any) {
	c := x.(*claim)
	c.index = len(*q)
	*q = append(*q, c)
}

// Pop implements [heap.Interface].
func (q *queue) Pop() any {
	last := len(*q) - 1
	c := (*q)[last]
	(*q)[last], c.index = nil, -1
	*q = (*q)[:last]
	return c
}

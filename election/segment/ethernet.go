package segment

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/l2vip/l2vip/election"
	"github.com/l2vip/l2vip/internal/clock"
	"github.com/l2vip/l2vip/internal/neighbor"
)

const (
	// settleTime lets the readers hand over what has arrived, when the loop did not
	// run in time or a new Epoch begins.
	settleTime = 100 * time.Microsecond

	typeARP  = 0x0806
	typeIPv6 = 0x86dd
)

// ethernetLoop runs a core on an Ethernet. All of it belongs to the goroutine that
// calls Run; each port has a goroutine that reads.
type ethernetLoop struct {
	*Segment
	core    *core
	ports   map[int]*ethernetPort
	arrived chan struct{} // something was read
	signal  chan struct{} // something was set or posted
	readers sync.WaitGroup
	out     []byte
	sent    func(ago time.Duration)
	retry   time.Duration // when to open again what could not be opened; zero for never
	alert   atomic.Bool   // beats that tell nothing new wake the loop
}

// ethernetPort is a link in use.
type ethernetPort struct {
	Port
	link      Link
	frames    chan arrival
	broken    chan struct{} // closed when nothing can be read any more
	lost      bool          // that was seen
	capturing bool
}

// arrival is a frame, and when it was read.
type arrival struct {
	frame []byte
	at    time.Duration // by package clock
}

func (s *Segment) runEthernet(ctx context.Context, local *election.Local, report func(Report)) error {
	e := &ethernetLoop{Segment: s, ports: make(map[int]*ethernetPort), arrived: make(chan struct{}, 1), signal: make(chan struct{}, 1)}
	var err error
	if e.core, err = newCore(s.config, local, e, rand.Uint64, &s.count); err != nil {
		return fmt.Errorf("segment: %w", err)
	}
	e.core.origin = clock.Now() - startTime
	if e.core.port, err = s.config.Ethernet.Listen(); err != nil {
		s.config.Logger.Warn("no port is open by which others can tell that this process has ended", "error", err)
	}
	s.setWake(func() { notify(e.signal) })
	defer func() {
		s.setWake(nil)
		for _, p := range e.ports {
			_ = p.Close()
		}
		e.readers.Wait()
	}()
	e.loop(ctx, report)
	e.core.leave()
	return nil
}

// notify sets a signal, unless it is set.
func notify(signal chan struct{}) {
	select {
	case signal <- struct{}{}:
	default:
	}
}

func (e *ethernetLoop) loop(ctx context.Context, report func(Report)) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	expected := e.now()
	e.sync(expected)
	for woken := false; ctx.Err() == nil; {
		now, epoch := e.now(), e.current().Epoch
		if now-expected > e.config.Interval || epoch != e.core.epoch {
			pause(ctx, timer, settleTime)
			now = e.now()
		}
		more := e.read(now)
		if woken {
			e.runPosted(e.core)
		}
		if woken || e.retry > 0 && now >= e.retry {
			e.sync(now)
		}
		next := e.core.advance(now, !more && e.core.said.Epoch == epoch)
		if e.core.changed {
			e.core.changed = false
			report(e.core.report())
		}
		if alert := e.core.alert(); e.alert.Swap(alert) != alert && alert {
			notify(e.arrived) // what came meanwhile did not
		}
		if e.retry > 0 {
			next = min(next, e.retry)
		}
		arrived := e.arrived
		if more {
			arrived, next = nil, min(next, now+rest)
		}
		expected = next
		timer.Reset(max(0, next-e.now()))
		woken = false
		select {
		case <-ctx.Done():
		case <-arrived:
		case <-timer.C:
		case <-e.signal:
			woken = true
		}
	}
}

// now is the time of the core.
func (e *ethernetLoop) now() time.Duration { return clock.Now() - e.core.origin }

// pause waits.
func pause(ctx context.Context, timer *time.Timer, d time.Duration) {
	timer.Reset(d)
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// sync opens and closes ports for the state that was set last.
func (e *ethernetLoop) sync(now time.Duration) {
	said := e.current()
	for index, p := range e.ports {
		wanted := slices.ContainsFunc(said.Links, func(l Link) bool { return l.Index == index && l.HardwareAddr == p.link.HardwareAddr })
		if !wanted || p.lost {
			_ = p.Close()
			delete(e.ports, index)
			e.core.closeLink(index)
		}
	}
	e.retry, e.sent = 0, said.Sent
	var open []Link
	for _, l := range said.Links {
		p := e.ports[l.Index]
		if p == nil {
			opened, err := e.config.Ethernet.Open(l)
			if err != nil {
				e.config.Logger.Debug("cannot beat on a link, trying again", "link", l.Index, "error", err)
				e.retry = now + retryOpen
				continue
			}
			p = &ethernetPort{Port: opened, frames: make(chan arrival, maxUnread), broken: make(chan struct{})}
			e.ports[l.Index] = p
			e.readers.Go(func() { e.readPort(p) })
		}
		p.link = l
		open = append(open, l)
	}
	e.core.set(now, said, open)
}

// readPort hands over the frames of a port until it breaks or is closed.
func (e *ethernetLoop) readPort(p *ethernetPort) {
	defer notify(e.arrived)
	defer close(p.broken)
	for b := make([]byte, 2048); ; {
		n, err := p.Read(b)
		if err != nil {
			return
		}
		if n < headerLen {
			continue
		}
		select {
		case p.frames <- arrival{slices.Clone(b[:n]), clock.Now()}:
			if !routine(b[:n]) || e.alert.Load() {
				notify(e.arrived)
			}
		default:
			e.count.unread.Add(1)
		}
	}
}

// read gives the core what has arrived, and reports whether there may be more.
func (e *ethernetLoop) read(now time.Duration) (more bool) {
	for _, p := range e.ports {
		more = e.drain(now, p) || more
	}
	return more
}

func (e *ethernetLoop) drain(now time.Duration, p *ethernetPort) (more bool) {
	for range maxBatch {
		select {
		case a := <-p.frames:
			e.take(min(now, a.at-e.core.origin), p, a.frame)
			continue
		default:
		}
		select {
		case <-p.broken:
			if !p.lost {
				p.lost, e.retry = true, now+retryOpen
			}
		default:
		}
		return false
	}
	return true
}

// take gives the core a frame.
func (e *ethernetLoop) take(now time.Duration, p *ethernetPort, frame []byte) {
	via, ok := routeOf(frame, p.link.HardwareAddr)
	if !ok {
		return
	}
	switch binary.BigEndian.Uint16(frame[offType:]) {
	case etherType:
		e.core.receive(now, p.link.Index, via, frame[headerLen:])
	case typeARP, typeIPv6:
		if p.capturing {
			e.core.station(now, p.link.Index, via.from)
		}
	}
}

// send implements output. A port whose Write waits makes no beat look younger.
func (e *ethernetLoop) send(link int, to hardwareAddr, payload []byte, beat bool) bool {
	p := e.ports[link]
	if p == nil {
		return false
	}
	began := e.now()
	e.out = appendEthernet(e.out[:0], to, p.link.HardwareAddr, payload)
	if _, err := p.Write(e.out); err != nil {
		return false
	}
	if beat && e.sent != nil {
		e.sent(e.now() - began)
	}
	return true
}

// capture implements output.
func (e *ethernetLoop) capture(link int, on bool) {
	if p := e.ports[link]; p != nil {
		p.capturing = on
	}
}

// probe implements output.
func (e *ethernetLoop) probe(link int, to hardwareAddr, addr netip.Addr) {
	p := e.ports[link]
	if p == nil {
		return
	}
	frame, err := neighbor.Probe(addr, p.link.HardwareAddr)
	if err == nil {
		copy(frame, to[:])
		_, err = p.Write(frame)
	}
	if err != nil {
		e.config.Logger.Debug("cannot ask a kernel for a sign of life", "address", addr, "error", err)
	}
}

// provoke implements output.
func (e *ethernetLoop) provoke(link int) {
	for _, n := range e.config.Ethernet.Neighbors(link) {
		e.probe(link, n.HardwareAddr, n.Addr)
	}
}

// probePort implements output.
func (e *ethernetLoop) probePort(at netip.AddrPort) {
	e.config.Ethernet.ProbePort(at, func() { e.post(func(c *core) { c.portClosed(at) }) })
}

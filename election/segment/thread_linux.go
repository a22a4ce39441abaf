package segment

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/l2vip/l2vip/election"
	"github.com/l2vip/l2vip/internal/clock"
)

// thread runs a core on packet sockets. All of it belongs to one thread, which blocks
// in one place only.
type thread struct {
	*Segment
	core   *core
	signal int // an eventfd that says that something was set or posted, or ctx was cancelled
	ports  map[int]*packetPort
	poller *poller
	probes []portProbe // that may still be answered
	in     []byte
	sent   func(ago time.Duration)
	retry  time.Duration // when to open again what could not be opened; zero for never
	due    time.Duration // when this thread was to run
	alert  bool          // beats that tell nothing new wake this thread
	flood  time.Duration // until when there are so many frames that all must be read as they come
}

func (s *Segment) runKernel(ctx context.Context, local *election.Local, report func(Report)) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	signal, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		return fmt.Errorf("segment: eventfd: %w", err)
	}
	t := &thread{Segment: s, signal: signal, ports: make(map[int]*packetPort), in: make([]byte, 2048)}
	t.core, err = newCore(s.config, local, t, rand.Uint64, &s.count)
	if err != nil {
		unix.Close(signal)
		return fmt.Errorf("segment: %w", err)
	}
	if t.poller, err = newPoller(s.config.Interval >= parkFrom); err != nil {
		unix.Close(signal)
		return fmt.Errorf("segment: %w", err)
	}
	t.core.origin = clock.Now() - startTime
	own, port, err := openOwnPort()
	if err != nil {
		s.config.Logger.Warn("no port is open by which others can tell that this process has ended", "error", err)
	}
	t.core.port = port
	s.setWake(func() {
		_, _ = unix.Write(signal, binary.NativeEndian.AppendUint64(nil, 1)) // full means that it is set
	})
	stop := context.AfterFunc(ctx, s.wakeUp)
	defer func() {
		stop()
		s.setWake(nil)
		for _, p := range t.ports {
			p.close()
		}
		for i := range t.probes {
			unix.Close(t.probes[i].fd)
		}
		t.poller.close()
		unix.Close(signal)
		if own >= 0 {
			unix.Close(own)
		}
	}()
	restore := t.setRealtime()
	defer restore()
	return t.loop(ctx, report)
}

// setRealtime asks for real-time scheduling of the thread, at the lowest priority of
// its kind, and not for what it forks. It returns what takes that back.
func (t *thread) setRealtime() (restore func()) {
	const flagResetOnFork = 1 // SCHED_FLAG_RESET_ON_FORK
	before, err := unix.SchedGetAttr(0, 0)
	if err == nil {
		err = unix.SchedSetAttr(0, &unix.SchedAttr{
			Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Priority: 1, Flags: flagResetOnFork,
		}, 0)
	}
	if err != nil {
		t.config.Logger.Info("beats are not scheduled in real time, and wider when the machine is busy", "error", err)
		return func() {}
	}
	t.realtime.Store(true)
	return func() {
		t.realtime.Store(false)
		_ = unix.SchedSetAttr(0, before, 0)
	}
}

func (t *thread) loop(ctx context.Context, report func(Report)) error {
	for t.sync(t.now()); ctx.Err() == nil; {
		// First the time, then what has come until then: for however long this
		// thread was held up, no member is judged by a time whose frames lie unread.
		now := t.now()
		woken := t.woken()
		more := t.read(now)
		t.collectPortProbes(now)
		if woken {
			t.runPosted(t.core)
		}
		if woken || t.retry > 0 && now >= t.retry {
			t.sync(now)
		}
		next := t.core.advance(now, !more)
		if t.core.changed {
			t.core.changed = false
			report(t.core.report())
		}
		if alert := t.core.alert() || now < t.flood; alert != t.alert {
			t.alert = alert
			t.listen()
		}
		if t.retry > 0 {
			next = min(next, t.retry)
		}
		wait := max(0, next-t.now())
		t.due = now + wait
		if more { // others have their turn
			if err := nap(nil, min(wait, rest)); err != nil {
				return fmt.Errorf("segment: %w", err)
			}
			continue
		}
		if err := t.poller.wait(wait); err != nil {
			return fmt.Errorf("segment: %w", err)
		}
	}
	t.core.leave()
	return nil
}

// now is the time of the core.
func (t *thread) now() time.Duration { return clock.Now() - t.core.origin }

// woken reports whether the signal was set, and resets it.
func (t *thread) woken() bool {
	var b [8]byte
	n, _ := unix.Read(t.signal, b[:])
	return n > 0
}

// sync opens and closes ports for the state that was set last.
func (t *thread) sync(now time.Duration) {
	said := t.current()
	for index, p := range t.ports {
		wanted := slices.ContainsFunc(said.Links, func(l Link) bool { return l.Index == index && l.HardwareAddr == p.link.HardwareAddr })
		if !wanted || p.broken {
			p.close()
			delete(t.ports, index)
			t.core.closeLink(index)
		}
	}
	t.retry, t.sent = 0, said.Sent
	var open []Link
	for _, l := range said.Links {
		p := t.ports[l.Index]
		if p == nil {
			var err error
			if p, err = openPort(l); err != nil {
				t.config.Logger.Debug("cannot beat on a link, trying again", "link", l.Index, "error", err)
				t.retry = now + retryOpen
				continue
			}
			p.emptied = now
			t.ports[l.Index] = p
		}
		p.link = l
		open = append(open, l)
	}
	t.listen()
	t.core.set(now, said, open)
}

// listen makes this thread wake when there is something to read that can't wait.
func (t *thread) listen() {
	fds := []int{t.signal}
	for _, p := range t.ports {
		fds = append(fds, p.news)
		if t.alert {
			fds = append(fds, p.routine)
		}
		if p.capturing {
			for _, s := range p.signs {
				fds = append(fds, s.fd)
			}
		}
	}
	for i := range t.probes {
		fds = append(fds, t.probes[i].fd)
	}
	if err := t.poller.listen(fds); err != nil {
		t.config.Logger.Warn("cannot wait for all that may arrive", "error", err)
	}
}

// read gives the core what has arrived, and reports whether there may be more. It
// asks all sockets: what poll found is old if this thread was held up on its way
// back.
func (t *thread) read(now time.Duration) (more bool) {
	for index, p := range t.ports {
		more = t.drainRoutine(now, p) || more
		more = t.drain(now, p, p.news, func(via route, payload []byte) { t.core.receive(now, index, via, payload) }) || more
		if !p.capturing {
			continue
		}
		for _, s := range p.signs {
			more = t.drain(now, p, s.fd, func(via route, _ []byte) { t.core.station(now, index, via.from) }) || more
		}
	}
	return more
}

// drain takes what has arrived at a socket, and reports whether there may be more.
func (t *thread) drain(now time.Duration, p *packetPort, fd int, take func(via route, payload []byte)) (more bool) {
	for range maxBatch {
		payload, via, err := p.read(fd, t.in)
		if err != nil {
			t.lose(now, p, err)
			return false
		}
		if payload != nil {
			take(via, payload)
		}
	}
	return true
}

// drainRoutine does the same for beats that tell nothing new. They count from when they
// arrived, unless this thread was held up or they come faster than they are read: then
// later ones may lie unread.
func (t *thread) drainRoutine(now time.Duration, p *packetPort) (more bool) {
	most := now - p.emptied
	if p.behind || now-t.due > t.config.Interval {
		most = 0
	}
	for range maxUnread {
		payload, via, ago, err := p.readRoutine(t.in, most)
		if err != nil {
			t.lose(now, p, err)
			p.emptied, p.behind = now, false
			return false
		}
		if payload != nil {
			t.core.receive(now-ago, p.link.Index, via, payload)
		}
	}
	p.behind, t.flood = true, now+floodFor
	return true
}

// lose sees to a socket that gave no frame: mostly there is none.
func (t *thread) lose(now time.Duration, p *packetPort, err error) {
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) || p.broken {
		return
	}
	p.broken = !errors.Is(err, unix.ENETDOWN) // that is told once, and the socket works on
	if p.broken {
		t.retry = now + retryOpen
	}
}

// send implements output.
func (t *thread) send(link int, to hardwareAddr, payload []byte, beat bool) bool {
	p := t.ports[link]
	if p == nil {
		return false
	}
	began := clock.Now()
	if p.send(to, payload) != nil {
		return false
	}
	if beat && t.sent != nil {
		t.sent(clock.Now() - began)
	}
	return true
}

// capture implements output.
func (t *thread) capture(link int, on bool) {
	p := t.ports[link]
	if p == nil {
		return
	}
	if err := p.capture(on); err != nil {
		t.config.Logger.Warn("cannot choose what to hear", "link", link, "error", err)
	}
	t.listen()
}

// probe implements output.
func (t *thread) probe(link int, to hardwareAddr, addr netip.Addr) {
	if p := t.ports[link]; p != nil {
		if err := p.probe(to, addr); err != nil {
			t.config.Logger.Debug("cannot ask a kernel for a sign of life", "address", addr, "error", err)
		}
	}
}

// provoke implements output.
func (t *thread) provoke(link int) {
	if p := t.ports[link]; p != nil {
		for _, n := range neighbors(link) {
			_ = p.probe(n.HardwareAddr, n.Addr) // of some, one may fail
		}
	}
}

// portProbe is a socket that has sent an empty datagram to where a member's process
// should listen. The kernel there answers if it does not (RFC 1122 section 4.1.3.1),
// and the error of that shows at the socket.
type portProbe struct {
	fd    int
	at    netip.AddrPort
	until time.Duration
}

const (
	// portProbeFor is for how long an answer to a port probe is waited for.
	portProbeFor = 200 * time.Millisecond
	// maxPortProbes bounds how many are waited for at once.
	maxPortProbes = 64
)

// probePort implements output.
func (t *thread) probePort(at netip.AddrPort) {
	if len(t.probes) >= maxPortProbes {
		return
	}
	if fd, err := openPortProbe(at); err == nil {
		t.probes = append(t.probes, portProbe{fd: fd, at: at, until: t.now() + portProbeFor})
		t.listen()
	}
}

// collectPortProbes tells the core which ports are closed, and ends the probes that
// are old.
func (t *thread) collectPortProbes(now time.Duration) {
	before := len(t.probes)
	t.probes = slices.DeleteFunc(t.probes, func(p portProbe) bool {
		errno, err := unix.GetsockoptInt(p.fd, unix.SOL_SOCKET, unix.SO_ERROR)
		closed := err == nil && unix.Errno(errno) == unix.ECONNREFUSED
		if closed {
			t.core.portClosed(p.at)
		}
		over := closed || now >= p.until
		if over {
			unix.Close(p.fd)
		}
		return over
	})
	if len(t.probes) < before {
		t.listen()
	}
}

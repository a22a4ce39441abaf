package heartbeat

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

	"github.com/l2vip/l2vip/internal/clock"
)

// thread is what run works with. All of it belongs to one thread, which blocks in
// one place only.
type thread struct {
	*Detector
	core  *core
	clock clock.Reader
	bell  int // an eventfd that says that the state has changed, or ctx was cancelled
	ports map[int]*port
	fds   []unix.PollFd // the bell first
	// The sockets that wait for a kernel to say that nobody listens.
	knocks []knock
	in     []byte
	sent   func(ago time.Duration)
	retry  time.Duration // when to open again what could not be opened; zero for never
}

// retryAfter is the pause before a link that could not be opened is tried again.
const retryAfter = time.Second

func (d *Detector) run(ctx context.Context, self string, report func([]Peer)) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	bell, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		return fmt.Errorf("heartbeat: eventfd: %w", err)
	}
	t := &thread{Detector: d, bell: bell, ports: make(map[int]*port), in: make([]byte, 2048)}
	t.core, err = newCore(d.config, self, uint64(time.Now().UnixNano()), t, rand.Uint64, &d.count)
	if err != nil {
		unix.Close(bell)
		return fmt.Errorf("heartbeat: %w", err)
	}
	ring := func() {
		_, _ = unix.Write(bell, binary.NativeEndian.AppendUint64(nil, 1)) // full means that it rings
	}
	d.mu.Lock()
	d.wake = ring
	d.mu.Unlock()
	stop := context.AfterFunc(ctx, func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.wake != nil {
			ring()
		}
	})
	defer func() {
		stop()
		d.mu.Lock()
		d.wake = nil
		d.mu.Unlock()
		for _, p := range t.ports {
			p.close()
		}
		for i := range t.knocks {
			unix.Close(t.knocks[i].fd)
		}
		unix.Close(bell)
	}()
	restore := t.hurry()
	defer restore()
	return t.loop(ctx, report)
}

// hurry asks for real-time scheduling of the thread, at the lowest priority of
// its kind, and not for what it forks. It returns what takes that back.
func (t *thread) hurry() (restore func()) {
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

func (t *thread) loop(ctx context.Context, report func([]Peer)) error {
	for t.sync(t.clock.Now()); ctx.Err() == nil; {
		// First the time, then what has come until then: for however long this
		// thread was held up, nobody is judged by a time whose frames lie unread.
		t.clock.Forget()
		now := t.clock.Now()
		rung := t.rung()
		more := t.read(now)
		t.hark(now)
		if rung || t.retry > 0 && now >= t.retry {
			t.sync(now)
		}
		next := t.core.advance(now)
		if !t.core.keen {
			t.relax()
		}
		if t.core.changed {
			t.core.changed = false
			report(t.core.picture())
		}
		if t.retry > 0 {
			next = min(next, t.retry)
		}
		fds, wait := t.fds, max(0, next-t.clock.Now())
		if more {
			fds, wait = t.fds[:1], min(wait, rest)
		}
		timeout := unix.NsecToTimespec(int64(wait))
		if _, err := unix.Ppoll(fds, &timeout, nil); err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("heartbeat: poll: %w", err)
		}
	}
	t.core.leave()
	return nil
}

// rung reports whether the bell rang, and silences it.
func (t *thread) rung() bool {
	if t.fds[0].Revents == 0 {
		return false
	}
	var b [8]byte
	n, _ := unix.Read(t.bell, b[:])
	return n > 0
}

// sync opens and closes ports for the state that was set last.
func (t *thread) sync(now time.Duration) {
	state := t.current()
	wanted := make(map[int]Link)
	for _, l := range state.Links {
		wanted[l.Index] = l
	}
	for index, p := range t.ports {
		if l, ok := wanted[index]; !ok || p.broken || l.HardwareAddr != p.link.HardwareAddr {
			p.close()
			delete(t.ports, index)
		}
	}
	t.retry, t.sent = 0, state.Sent
	var links []Link
	for index, l := range wanted {
		p := t.ports[index]
		if p == nil {
			var err error
			if p, err = openPort(l); err != nil {
				t.config.Logger.Debug("cannot beat on a link, trying again", "link", index, "error", err)
				t.retry = now + retryAfter
				continue
			}
			t.ports[index] = p
		}
		p.link = l
		links = append(links, l)
	}
	t.listen()
	state.Links = links
	t.core.set(now, state)
}

// listen makes poll wait for what all sockets have to say, and the bell.
func (t *thread) listen() {
	t.fds = append(t.fds[:0], unix.PollFd{Fd: int32(t.bell), Events: unix.POLLIN})
	for _, p := range t.ports {
		t.fds = append(t.fds, unix.PollFd{Fd: int32(p.beats), Events: unix.POLLIN})
		if p.keen {
			for _, s := range p.signs {
				t.fds = append(t.fds, unix.PollFd{Fd: int32(s.fd), Events: unix.POLLIN})
			}
		}
	}
	for i := range t.knocks {
		t.fds = append(t.fds, unix.PollFd{Fd: int32(t.knocks[i].fd)}) // errors are always told
	}
}

const (
	// readBatch bounds what is read from a socket before others have their turn,
	// and rest is for how long nothing is read after that: a flood must neither
	// hold up the beats nor take the processor from everything else.
	readBatch = 64
	rest      = time.Millisecond
)

// read gives the core what has arrived, and reports whether there may be more. It
// asks all sockets: what poll found is old if this thread was held up on its way
// back.
func (t *thread) read(now time.Duration) (more bool) {
	for index, p := range t.ports {
		more = t.drain(now, p, p.beats, func(from hardwareAddr, payload []byte) { t.core.receive(now, index, from, payload) }) || more
		if !p.keen {
			continue
		}
		for _, s := range p.signs {
			more = t.drain(now, p, s.fd, func(from hardwareAddr, _ []byte) { t.core.sign(now, index, from) }) || more
		}
	}
	return more
}

// drain takes what has arrived at a socket, and reports whether there may be more.
func (t *thread) drain(now time.Duration, p *port, fd int, take func(from hardwareAddr, payload []byte)) (more bool) {
	for range readBatch {
		payload, from, err := p.read(fd, t.in)
		if err != nil {
			t.lose(now, p, err)
			return false
		}
		if payload != nil {
			take(from, payload)
		}
	}
	return true
}

// lose sees to a socket that gave no frame: mostly there is none.
func (t *thread) lose(now time.Duration, p *port, err error) {
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) || p.broken {
		return
	}
	p.broken = !errors.Is(err, unix.ENETDOWN) // that is told once, and the socket works on
	if p.broken {
		t.retry = now + retryAfter
	}
}

// send implements output.
func (t *thread) send(link int, to hardwareAddr, payload []byte) {
	if p := t.ports[link]; p != nil {
		began := clock.Now()
		if p.send(to, payload) == nil && to == group && t.sent != nil {
			t.sent(clock.Now() - began)
		}
	}
}

// strain lets signs of life through on a link.
func (t *thread) strain(p *port) {
	if !p.keen {
		t.tune(p, true)
	}
}

// relax lets none through any more.
func (t *thread) relax() {
	for _, p := range t.ports {
		if p.keen {
			t.tune(p, false)
		}
	}
}

func (t *thread) tune(p *port, keen bool) {
	if err := p.listen(keen); err != nil {
		t.config.Logger.Warn("cannot choose what to hear", "link", p.link.Index, "error", err)
	}
	t.listen()
}

// ask implements output.
func (t *thread) ask(link int, to hardwareAddr, addr netip.Addr) {
	if p := t.ports[link]; p != nil {
		t.strain(p)
		if err := p.probe(to, addr); err != nil {
			t.config.Logger.Debug("cannot ask a kernel for a sign of life", "address", addr, "error", err)
		}
	}
}

// provoke implements output.
func (t *thread) provoke(link int) {
	p := t.ports[link]
	if p == nil {
		return
	}
	t.strain(p)
	for _, n := range neighbors(link) {
		_ = p.probe(n.HardwareAddr, n.Addr) // of some, one may fail
	}
}

// knock is a socket that has sent an empty datagram to where a member's process
// should listen. The kernel there answers if nobody does (RFC 1122 section
// 4.1.3.1), and the error of that shows at the socket.
type knock struct {
	fd    int
	at    string
	until time.Duration
}

const (
	// knockFor is for how long an answer to a knock is waited for.
	knockFor = 200 * time.Millisecond
	// maxKnocks bounds how many are waited for at once.
	maxKnocks = 64
)

// knock implements output.
func (t *thread) knock(membership string) {
	if at, err := netip.ParseAddrPort(membership); err == nil && len(t.knocks) < maxKnocks {
		if fd, err := openKnock(at); err == nil {
			t.knocks = append(t.knocks, knock{fd: fd, at: membership, until: t.clock.Now() + knockFor})
			t.listen()
		}
	}
}

// hark tells the core which knocks were refused, and ends those that are old.
func (t *thread) hark(now time.Duration) {
	before := len(t.knocks)
	t.knocks = slices.DeleteFunc(t.knocks, func(k knock) bool {
		errno, err := unix.GetsockoptInt(k.fd, unix.SOL_SOCKET, unix.SO_ERROR)
		refused := err == nil && unix.Errno(errno) == unix.ECONNREFUSED
		if refused {
			t.core.refused(k.at)
		}
		over := refused || now >= k.until
		if over {
			unix.Close(k.fd)
		}
		return over
	})
	if len(t.knocks) < before {
		t.listen()
	}
}

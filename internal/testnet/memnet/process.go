package memnet

import (
	"net"
	"net/netip"
	"os"
	"slices"
	"syscall"
	"time"
)

// maxNeighbors is how many stations a process is told of.
const maxNeighbors = 8

// Process is a program on a [Station]. While it is stopped its calls, and those of
// its ports, block until it goes on; once it has ended they fail.
type Process struct {
	station        *Station
	stopped, ended bool
	ports          []*Port
	listening      map[netip.AddrPort]int // how often
	changed        notice
}

// Stop stops the process, as SIGSTOP does: its ports stay open and fill up. A test
// that waits for it has to call [Process.Continue] or [Process.Kill] first.
func (p *Process) Stop() {
	p.station.locked(func() { p.stopped = true })
}

// Continue lets a stopped process go on.
func (p *Process) Continue() {
	p.station.locked(func() {
		p.stopped = false
		p.wake()
	})
}

// Runs reports whether the process is neither stopped nor has ended.
func (p *Process) Runs() (runs bool) {
	p.station.locked(func() { runs = !p.stopped && !p.ended })
	return runs
}

// Kill is the end of the process: its ports are closed, it listens nowhere, and it
// never opens a port again. The kernel goes on, and another process may be started.
func (p *Process) Kill() { p.station.locked(p.kill) }

func (p *Process) kill() {
	p.ended = true
	clear(p.listening)
	for _, port := range slices.Clone(p.ports) {
		port.close()
	}
	p.station.processes = slices.DeleteFunc(p.station.processes, func(q *Process) bool { return q == p })
	p.wake()
}

func (p *Process) wake() {
	p.changed.broadcast()
	for _, port := range p.ports {
		port.changed.broadcast()
	}
}

// running waits while the process is stopped. It returns an error if it has ended.
func (p *Process) running() error {
	for p.stopped && !p.ended {
		wait(&p.station.mu, &p.changed, time.Time{}, nil)
	}
	if p.ended {
		return os.ErrProcessDone
	}
	return nil
}

// Open opens a port on the link with the index.
func (p *Process) Open(link int) (*Port, error) {
	p.station.mu.Lock()
	defer p.station.mu.Unlock()
	if err := p.running(); err != nil {
		return nil, err
	}
	l := p.station.link(link)
	if l == nil {
		return nil, os.NewSyscallError("bind", syscall.ENODEV)
	}
	port := &Port{process: p, link: l}
	p.ports = append(p.ports, port)
	l.ports = append(l.ports, port)
	return port, nil
}

// Neighbor is another station on a link.
type Neighbor struct {
	Addr         netip.Addr
	HardwareAddr [6]byte
}

// Neighbors returns the other stations on the link that have an address, whether
// they can be reached or not: at most 8, those that were plugged in first.
func (p *Process) Neighbors(link int) []Neighbor {
	p.station.mu.Lock()
	defer p.station.mu.Unlock()
	l := p.station.link(link)
	if p.running() != nil || l == nil {
		return nil
	}
	var all []Neighbor
	for _, other := range l.sw.links {
		if other != l && len(other.addrs) > 0 && len(all) < maxNeighbors {
			all = append(all, Neighbor{other.addrs[0], other.hw})
		}
	}
	return all
}

// Listen tells the kernel that the process listens there; the unspecified IPv6
// address is any. It does so until stop is called, or the process has ended.
func (p *Process) Listen(at netip.AddrPort) (stop func()) {
	p.station.mu.Lock()
	defer p.station.mu.Unlock()
	if p.running() != nil {
		return func() {}
	}
	p.listening[at]++
	stopped := false
	return func() {
		p.station.locked(func() {
			if !stopped && !p.ended {
				p.listening[at]--
			}
			stopped = true
		})
	}
}

// ProbePort sends an empty datagram to a port of a station, and calls closed, on a
// goroutine of its own, when the kernel there has said that no process listens.
func (p *Process) ProbePort(to netip.AddrPort, closed func()) {
	p.station.mu.Lock()
	defer p.station.mu.Unlock()
	if p.running() != nil {
		return
	}
	for _, l := range p.station.links {
		for _, other := range l.sw.links {
			if !other.has(to.Addr()) || other.station.listens(to) {
				continue
			}
			there := l.sw.carry(l, other, time.Now())
			if len(there) == 0 {
				continue
			}
			if back := l.sw.carry(other, l, there[0]); len(back) > 0 {
				time.AfterFunc(time.Until(back[0]), func() { p.call(closed) })
			}
		}
	}
}

// call calls f when the process runs, unless it has ended.
func (p *Process) call(f func()) {
	p.station.mu.Lock()
	err := p.running()
	p.station.mu.Unlock()
	if err == nil {
		f()
	}
}

// Port is an open link of a [Process], as a packet socket for all protocols is one.
type Port struct {
	process *Process
	link    *Link
	queue   []arrival // in the order of arrival
	closed  bool
	changed notice
}

// arrival is a frame that is on its way to a port or waits there.
type arrival struct {
	frame []byte
	at    time.Time
}

// Read waits for a frame that is for this station, all stations or a group, and
// copies it to b. A port holds 512 frames, and drops what comes beyond.
func (p *Port) Read(b []byte) (int, error) {
	mu := &p.link.sw.mu
	mu.Lock()
	defer mu.Unlock()
	for {
		var until time.Time
		if len(p.queue) > 0 {
			until = p.queue[0].at
		}
		switch {
		case p.closed:
			return 0, net.ErrClosed
		case p.process.stopped:
			until = time.Time{}
		case !until.IsZero() && !until.After(time.Now()):
			frame := p.queue[0].frame
			p.queue[0] = arrival{}
			p.queue = p.queue[1:]
			return copy(b, frame), nil
		}
		wait(mu, &p.changed, until, nil)
	}
}

// Write sends a frame, to the stations that its destination address is of. Its
// source address may be any.
func (p *Port) Write(frame []byte) (int, error) {
	p.link.sw.mu.Lock()
	defer p.link.sw.mu.Unlock()
	for p.process.stopped && !p.closed {
		wait(&p.link.sw.mu, &p.changed, time.Time{}, nil)
	}
	switch {
	case p.closed:
		return 0, net.ErrClosed
	case len(frame) < headerLen:
		return 0, os.NewSyscallError("write", syscall.EINVAL)
	case len(frame) > maxFrame:
		return 0, os.NewSyscallError("write", syscall.EMSGSIZE)
	case !p.link.up():
		return 0, os.NewSyscallError("write", syscall.ENETDOWN)
	}
	p.link.sw.transmit(p.link, slices.Clone(frame), time.Now())
	return len(frame), nil
}

// Close closes the port; a Read or Write that waits returns.
func (p *Port) Close() error {
	p.link.sw.mu.Lock()
	defer p.link.sw.mu.Unlock()
	if p.closed {
		return net.ErrClosed
	}
	p.close()
	return nil
}

func (p *Port) close() {
	p.closed, p.queue = true, nil
	isPort := func(q *Port) bool { return q == p }
	p.process.ports = slices.DeleteFunc(p.process.ports, isPort)
	p.link.ports = slices.DeleteFunc(p.link.ports, isPort)
	p.changed.broadcast()
}

func (p *Port) push(frame []byte, at time.Time) {
	if len(p.queue) >= maxFrames {
		return
	}
	i := len(p.queue)
	for i > 0 && p.queue[i-1].at.After(at) {
		i--
	}
	p.queue = slices.Insert(p.queue, i, arrival{frame, at})
	p.changed.broadcast()
}

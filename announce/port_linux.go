package announce

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/mdlayher/packet"
	"golang.org/x/sys/unix"

	"github.com/l2vip/l2vip/internal/clock"
	"github.com/l2vip/l2vip/internal/neighbor"
)

// port is an interface in use for one protocol, ARP or NDP: a socket, and the
// responder that reads from it.
type port struct {
	link    link // its name and prefixes change under the Announcer's lock, the rest never
	v6      bool
	conn    *packet.Conn
	raw     syscall.RawConn
	owner   *Announcer
	own     *atomic.Pointer[map[hardwareAddr]bool] // the hardware addresses of this host
	hearing *hearing                               // shared by the ports of an interface
	groups  *groups                                // of NDP only

	// mu is held while a frame is answered or sent, so that when fill returns
	// nothing is sent any more for an address that is gone. Nothing waits
	// while it is held.
	mu    sync.Mutex
	table map[netip.Addr]watch
	seen  map[netip.Addr]sighting // other stations that claimed an address since the last takeSeen

	sighted chan<- struct{} // capacity 1: seen has something
	failed  chan<- failure
	quit    chan struct{}
	done    sync.WaitGroup
}

// watch is what a port does about an address.
type watch uint8

const (
	watchClaims watch = 1 << iota // note other stations that claim the address
	watchProbes                   // note other stations that probe for it, too
	mayProbe                      // may ask for it
	mayAnswer                     // answer requests for it
	mayAnnounce                   // may announce it
)

// sighting is what was seen of other stations that claim an address.
type sighting struct {
	sender hardwareAddr // the latest
	count  uint64
}

// failure is a port that can't be read from any more.
type failure struct {
	port *port
	err  error
}

const (
	// sendBuffer is how many bytes of frames the kernel takes before the
	// interface has sent them: a burst of announcements fits.
	sendBuffer = 4 << 20
	// readBatch is how many frames a responder reads before it looks whether it
	// was closed: under a flood it never waits for one.
	readBatch = 64
)

// openPort opens a socket on the interface; start begins to read from it.
func (e *engine) openPort(l link, v6 bool, h *hearing) (*port, error) {
	protocol := unix.ETH_P_ARP
	if v6 {
		protocol = unix.ETH_P_IPV6
	}
	program, err := neighbor.Filter(protocol)
	if err != nil {
		return nil, fmt.Errorf("packet filter: %w", err)
	}
	ifi := &net.Interface{Index: l.index, Name: l.name, HardwareAddr: l.hw[:]}
	conn, err := packet.Listen(ifi, packet.Raw, protocol, &packet.Config{Filter: program})
	if err != nil {
		return nil, fmt.Errorf("packet socket: %w", err)
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("packet socket: %w", err), conn.Close())
	}
	_ = raw.Control(func(fd uintptr) { // without CAP_NET_ADMIN the default has to do
		_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, sendBuffer)
	})
	p := &port{
		link: l, v6: v6, conn: conn, raw: raw, owner: e.Announcer, own: &e.own, hearing: h,
		seen: make(map[netip.Addr]sighting), sighted: e.seen,
		failed: e.failed, quit: make(chan struct{}),
	}
	if v6 {
		p.groups = newGroups(l.index)
	}
	return p, nil
}

// start begins to answer.
func (p *port) start() {
	p.done.Go(func() {
		if err := p.respond(); err != nil {
			select {
			case p.failed <- failure{p, err}:
			case <-p.quit:
			}
		}
	})
}

// close ends the responder and joins it.
func (p *port) close() {
	p.overruns()
	close(p.quit)
	p.conn.Close()
	p.done.Wait()
	if p.groups != nil {
		p.groups.close()
	}
}

// overruns counts the frames that the kernel had no room for since the last call.
func (p *port) overruns() {
	if stats, err := p.conn.Stats(); err == nil {
		p.owner.counter.dropped[DropOverrun].Add(uint64(stats.Drops))
	}
}

// carries reports whether the assignment belongs on the port.
func (p *port) carries(a *Assignment) bool { return a.Addr.Is6() == p.v6 && p.link.carries(a) }

// fill makes the port answer, watch and announce as the assignments say. When it
// returns, nothing that they don't say is sent.
func (p *port) fill(assignments []Assignment, bind Bind) {
	table := make(map[netip.Addr]watch, len(assignments))
	for i := range assignments {
		a := &assignments[i]
		if a.Mode == Standby || !p.carries(a) {
			continue
		}
		switch {
		case a.Mode == Probe:
			table[a.Addr] = watchClaims | watchProbes | mayProbe
		case bind == Interface:
			// The kernel answers; a second answer would only confuse.
			table[a.Addr] = watchClaims | mayProbe | mayAnnounce
		default:
			table[a.Addr] = watchClaims | mayProbe | mayAnnounce | mayAnswer
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.table = table
	for addr := range p.seen {
		if table[addr] == 0 {
			delete(p.seen, addr)
		}
	}
}

// send sends the frames if the table allows it for the address, and returns how
// many the kernel took. It never waits: an interface that is stuck must not hold
// up others.
func (p *port) send(addr netip.Addr, allowed watch, frames [][]byte) (sent int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.table[addr]&allowed == 0 {
		return 0
	}
	for _, frame := range frames {
		if allowed == mayAnnounce && !p.owner.leased() {
			break // the process may have been stopped since the frame before
		}
		if p.write(frame) {
			sent++
		}
	}
	return sent
}

// write sends one frame, and reports whether the kernel took it.
func (p *port) write(frame []byte) bool {
	var failure error
	err := p.raw.Write(func(fd uintptr) bool {
		_, failure = unix.Write(int(fd), frame)
		return true
	})
	if err != nil || failure != nil {
		p.owner.counter.sendErrors.Add(1)
		return false
	}
	return true
}

// takeSeen calls yield for each address that other stations claimed since the
// last call.
func (p *port) takeSeen(yield func(netip.Addr, sighting)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for addr, s := range p.seen {
		yield(addr, s)
	}
	clear(p.seen)
}

// respond reads frames and answers them until the port is closed, which is no
// error, or the interface fails. It allocates nothing per frame.
func (p *port) respond() error {
	in, out, m := make([]byte, readLen), make([]byte, replyLen), new(message)
	var failure error
	for {
		err := p.raw.Read(func(fd uintptr) bool {
			for range readBatch {
				n, err := unix.Read(int(fd), in)
				switch {
				case errors.Is(err, unix.EAGAIN):
					return false
				case errors.Is(err, unix.EINTR):
				case err != nil:
					failure = err
					return true
				default:
					p.answer(int(fd), in[:n], m, out)
				}
			}
			return true
		})
		if err != nil {
			return nil // closed
		}
		if failure != nil {
			return failure
		}
	}
}

// answer looks at one frame, and sends the answer to it if one is due.
func (p *port) answer(fd int, in []byte, m *message, out []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	frame := p.handle(in, m, out)
	if frame == nil {
		return
	}
	p.owner.counter.replies.Add(1) // before anybody can have seen it
	if _, err := unix.Write(fd, frame); err != nil {
		p.owner.counter.sendErrors.Add(1)
	}
}

// handle looks at one frame, and returns the answer to it, made in out, or nil.
// The caller holds mu.
func (p *port) handle(in []byte, m *message, out []byte) []byte {
	count := &p.owner.counter
	if why, ok := parse(in, m); !ok {
		count.drop(why)
		return nil
	}
	asked := m.question && p.table[m.target]&mayAnswer != 0
	if claimed := p.note(m); !asked {
		if !claimed {
			count.drop(DropOther)
		}
		return nil
	}
	count.requests.Add(1)
	if lease := p.owner.lease.Load(); lease != noLease && int64(clock.Now()) >= lease {
		count.drop(DropLease)
		return nil
	}
	return reply(out, m, p.link.hw, p.owner.config.Router)
}

// note takes note of what a frame tells of its sender, and reports whether that
// claims an address here. The caller holds mu.
func (p *port) note(m *message) bool {
	if (*p.own.Load())[m.sender] {
		return false
	}
	now := clock.Now()
	if p.hearing.note(now) {
		signal(p.sighted)
	}
	claimed, probing := m.claim()
	if !probing {
		p.hearing.meet(Station{claimed, m.sender}, now)
	}
	wanted := watchClaims
	if probing {
		wanted = watchProbes
	}
	if p.table[claimed]&wanted == 0 {
		return false
	}
	p.owner.counter.sightings.Add(1)
	p.seen[claimed] = sighting{m.sender, p.seen[claimed].count + 1}
	signal(p.sighted)
	return true
}

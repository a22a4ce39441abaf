package announce

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/mdlayher/packet"
	"golang.org/x/sys/unix"

	"github.com/l2vip/l2vip/internal/clock"
)

// port is an interface in use: a socket, and the responder that reads from it.
type port struct {
	link  link // its prefixes change under the Announcer's lock, the rest never
	conn  *packet.Conn
	raw   syscall.RawConn
	owner *Announcer
	own   *atomic.Pointer[map[hardwareAddr]bool] // the hardware addresses of this host
	clock clock.Reader                           // the responder's

	// mu is held while a frame is answered or sent, so that when fill returns
	// nothing is sent any more for an address that is gone. Nothing waits
	// while it is held.
	mu    sync.Mutex
	table map[[4]byte]watch
	seen  map[[4]byte]hardwareAddr // other stations that claimed an address since the last takeSeen

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

// failure is a port that can't be read from any more.
type failure struct {
	port *port
	err  error
}

// sendBuffer is how many bytes of frames the kernel takes before the interface
// has sent them: a burst of announcements fits.
const sendBuffer = 4 << 20

// readBatch is how many frames a responder reads before it looks whether it was
// closed: under a flood it never waits for one.
const readBatch = 64

// openPort opens a socket on the interface; start begins to read from it.
func (e *engine) openPort(l link) (*port, error) {
	program, err := filter()
	if err != nil {
		return nil, fmt.Errorf("packet filter: %w", err)
	}
	ifi := &net.Interface{Index: l.index, Name: l.name, HardwareAddr: l.hw[:]}
	conn, err := packet.Listen(ifi, packet.Raw, unix.ETH_P_ARP, &packet.Config{Filter: program})
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
	return &port{
		link: l, conn: conn, raw: raw, owner: e.Announcer, own: &e.own,
		seen: make(map[[4]byte]hardwareAddr), sighted: e.seen,
		failed: e.failed, quit: make(chan struct{}),
	}, nil
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
	close(p.quit)
	p.conn.Close()
	p.done.Wait()
}

// fill makes the port answer, watch and announce as the assignments say. When it
// returns, nothing that they don't say is sent.
func (p *port) fill(assignments []Assignment, bind Bind) {
	table := make(map[[4]byte]watch, len(assignments))
	for i := range assignments {
		a := &assignments[i]
		if !p.link.carries(a) {
			continue
		}
		switch {
		case a.Mode == Probe:
			table[a.Addr.As4()] = watchClaims | watchProbes | mayProbe
		case a.Mode == Answer && bind == Interface:
			// The kernel answers; a second answer would only confuse.
			table[a.Addr.As4()] = watchClaims | mayAnnounce
		case a.Mode == Answer:
			table[a.Addr.As4()] = watchClaims | mayAnnounce | mayAnswer
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
func (p *port) send(addr [4]byte, allowed watch, frames [][]byte) (sent int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.table[addr]&allowed == 0 {
		return 0
	}
	for _, frame := range frames {
		if allowed == mayAnnounce && !p.owner.leased() {
			break // the process may have been stopped since the frame before
		}
		var failure error
		err := p.raw.Write(func(fd uintptr) bool {
			_, failure = unix.Write(int(fd), frame)
			return true
		})
		if err != nil || failure != nil {
			p.owner.counter.sendErrors.Add(1)
			continue
		}
		sent++
	}
	return sent
}

// takeSeen calls yield for each address that another station claimed since the
// last call.
func (p *port) takeSeen(yield func(addr [4]byte, hw hardwareAddr)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for addr, hw := range p.seen {
		yield(addr, hw)
	}
	clear(p.seen)
}

// respond reads frames and answers them until the port is closed, which is no
// error, or the interface fails. It allocates nothing per frame.
func (p *port) respond() error {
	// What is longer than the buffer is cut off; an ARP packet never is.
	in, out := make([]byte, 128), make([]byte, frameLen)
	var failure error
	for {
		err := p.raw.Read(func(fd uintptr) bool {
			for range readBatch {
				n, err := unix.Read(int(fd), in)
				switch {
				case errors.Is(err, unix.EAGAIN):
					p.clock.Forget()
					return false
				case errors.Is(err, unix.EINTR):
				case err != nil:
					failure = err
					return true
				default:
					p.answer(int(fd), in[:n], out)
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

// answer looks at one frame, and sends the reply to it if one is due.
func (p *port) answer(fd int, in, out []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.handle(in, out) {
		return
	}
	p.owner.counter.replies.Add(1) // before anybody can have seen it
	if _, err := unix.Write(fd, out); err != nil {
		p.owner.counter.sendErrors.Add(1)
	}
}

// handle looks at one frame and reports whether out is now the reply to it. The
// caller holds mu.
func (p *port) handle(in, out []byte) bool {
	count := &p.owner.counter
	packet, ok := parseARP(in)
	if !ok {
		count.drop(DropShort)
		return false
	}

	// Another station that uses a sender address claims it (RFC 5227 section
	// 2.4); one that probes for an address that we probe for is about to
	// (section 2.1.1).
	claimed, claims := packet.senderIP, watchClaims
	if claimed == [4]byte{} && packet.op == opRequest {
		claimed, claims = packet.targetIP, watchProbes
	}
	if p.table[claimed]&claims != 0 && !(*p.own.Load())[packet.senderHW] {
		count.sightings.Add(1)
		p.seen[claimed] = packet.senderHW
		signal(p.sighted)
	}

	if packet.op != opRequest || packet.senderIP == packet.targetIP || p.table[packet.targetIP]&mayAnswer == 0 {
		return false
	}
	count.requests.Add(1)
	if lease := p.owner.lease.Load(); lease != noLease && int64(p.clock.Now()) >= lease {
		count.drop(DropLease)
		return false
	}
	replyTo(out, &packet, p.link.hw)
	return true
}

package announce

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"

	"github.com/mdlayher/packet"
	"golang.org/x/sys/unix"
)

// port is an interface in use: a socket, and the responder that reads from it.
type port struct {
	link  link
	conn  *packet.Conn
	owner *Announcer
	own   *atomic.Pointer[map[hardwareAddr]bool] // the hardware addresses of this host
	table atomic.Pointer[map[[4]byte]watch]

	sightings chan<- sighting
	failed    chan<- *port
	quit      chan struct{}
	done      sync.WaitGroup
}

// watch is what a responder does about an address.
type watch uint8

const (
	watchClaims watch = 1 << iota // report other stations that claim the address
	watchProbes                   // report other stations that probe for it, too
	watchAnswer                   // answer requests for it
)

// sighting is another station that claims an address.
type sighting struct {
	addr netip.Addr
	hw   hardwareAddr
	port *port
}

// openPort opens a socket on the interface; start begins to read from it.
func (e *engine) openPort(l link) (*port, error) {
	program, err := filter()
	if err != nil {
		return nil, fmt.Errorf("packet filter: %w", err)
	}
	ifi := &net.Interface{Index: l.index, Name: l.name, HardwareAddr: l.hw[:]}
	conn, err := packet.Listen(ifi, packet.Raw, unix.ETH_P_ARP, &packet.Config{Filter: program})
	if err != nil {
		return nil, fmt.Errorf("packet socket on %s: %w", l.name, err)
	}
	return &port{
		link: l, conn: conn, owner: e.Announcer, own: &e.own,
		sightings: e.sightings, failed: e.failed, quit: make(chan struct{}),
	}, nil
}

// start begins to answer.
func (p *port) start() {
	p.done.Go(func() {
		if err := p.respond(); err != nil {
			select {
			case p.failed <- p:
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

// fill makes the responder answer and watch as the assignments say. With the
// Bind mode Interface the kernel answers, and a second answer would only confuse.
func (p *port) fill(assignments []Assignment, bind Bind) {
	table := make(map[[4]byte]watch)
	for i := range assignments {
		a := &assignments[i]
		if !p.link.carries(a) {
			continue
		}
		switch a.Mode {
		case Probe:
			table[a.Addr.As4()] = watchClaims | watchProbes
		case Answer:
			table[a.Addr.As4()] = watchClaims | watchAnswer
			if bind == Interface {
				table[a.Addr.As4()] = watchClaims
			}
		case Standby:
		}
	}
	p.table.Store(&table)
}

// send sends one frame.
func (p *port) send(frame []byte) error {
	_, err := p.conn.WriteTo(frame, &packet.Addr{HardwareAddr: frame[:6]})
	return err
}

// respond reads frames and answers them until the port is closed, which is no
// error, or the interface fails. It allocates nothing per frame.
func (p *port) respond() error {
	raw, err := p.conn.SyscallConn()
	if err != nil {
		return err
	}
	// An interface whose MTU is below this can't be an Ethernet; what is
	// longer is cut off, and an ARP packet never is.
	in, out := make([]byte, 128), make([]byte, frameLen)
	var failure error
	for {
		err := raw.Read(func(fd uintptr) bool {
			for {
				n, err := unix.Read(int(fd), in)
				switch {
				case errors.Is(err, unix.EAGAIN):
					return false
				case errors.Is(err, unix.EINTR):
					continue
				case err != nil:
					failure = err
					return true
				}
				if p.handle(in[:n], out) {
					if _, err := unix.Write(int(fd), out); err != nil {
						p.owner.counter.sendErrors.Add(1)
						continue
					}
					p.owner.counter.replies.Add(1)
				}
			}
		})
		if err != nil {
			return nil // closed
		}
		if failure != nil {
			return failure
		}
	}
}

// handle looks at one frame and reports whether out is now the reply to it.
func (p *port) handle(in, out []byte) bool {
	count := &p.owner.counter
	packet, ok := parseARP(in)
	if !ok {
		count.malformed.Add(1)
		return false
	}
	table := *p.table.Load()

	// Another station that uses a sender address claims it (RFC 5227 section
	// 2.4); one that probes for an address that we probe for is about to
	// (section 2.1.1).
	claimed, claims := packet.senderIP, watchClaims
	if claimed == [4]byte{} && packet.op == opRequest {
		claimed, claims = packet.targetIP, watchProbes
	}
	if table[claimed]&claims != 0 && !(*p.own.Load())[packet.senderHW] {
		count.sightings.Add(1)
		select {
		case p.sightings <- sighting{netip.AddrFrom4(claimed), packet.senderHW, p}:
		default:
			count.overflow.Add(1)
		}
	}

	if packet.op != opRequest || packet.senderIP == packet.targetIP || table[packet.targetIP]&watchAnswer == 0 {
		return false
	}
	count.requests.Add(1)
	if !p.owner.leased() {
		count.expired.Add(1)
		return false
	}
	replyTo(out, &packet, p.link.hw)
	return true
}

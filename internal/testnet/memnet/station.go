package memnet

import (
	"net/netip"
	"slices"
	"time"
)

// firstIndex is the kernel's number for the first link of a station: 1 is lo.
const firstIndex = 2

// Station is a machine with links to one or more switches: a kernel, which answers
// ARP and NDP for its addresses whatever its processes do, and the processes that
// were started on it.
type Station struct {
	*rack
	name      string
	off       bool
	links     []*Link
	processes []*Process // those that have not ended
}

// Name returns the station's name.
func (st *Station) Name() string { return st.name }

// Plug adds a link to a switch, which has to be the one that the station was made
// by, or [Switch.Another] of it. The kernel answers on it for the addresses.
func (st *Station) Plug(s *Switch, addrs ...netip.Addr) *Link {
	if s.rack != st.rack {
		panic("memnet: a station of another rack of switches")
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	st.plugged++
	n := st.plugged
	l := &Link{
		station: st, sw: s, number: n, index: firstIndex + len(st.links), addrs: slices.Clone(addrs),
		hw: [6]byte{2, 0, byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)},
	}
	st.links = append(st.links, l)
	s.links = append(s.links, l)
	return l
}

// Link returns the link with the index: 2 for the first one, 3 for the second, and
// so on. It returns nil if there is none.
func (st *Station) Link(index int) *Link {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.link(index)
}

func (st *Station) link(index int) *Link {
	if i := index - firstIndex; i >= 0 && i < len(st.links) {
		return st.links[i]
	}
	return nil
}

// Start starts a process. On a machine that is off it has ended at once.
func (st *Station) Start() *Process {
	st.mu.Lock()
	defer st.mu.Unlock()
	p := &Process{station: st, ended: st.off, listening: make(map[netip.AddrPort]int)}
	if !p.ended {
		st.processes = append(st.processes, p)
	}
	return p
}

// PowerOff is the end of a machine: its processes are gone, and nothing is sent or
// answered until [Station.Restart].
func (st *Station) PowerOff() {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.off = true
	for _, p := range slices.Clone(st.processes) {
		p.kill()
	}
}

// Restart switches the machine on again, without any of its former processes.
func (st *Station) Restart() { st.locked(func() { st.off = false }) }

// listens reports whether a process listens there.
func (st *Station) listens(at netip.AddrPort) bool {
	anywhere := netip.AddrPortFrom(netip.IPv6Unspecified(), at.Port())
	return slices.ContainsFunc(st.processes, func(p *Process) bool { return p.listening[at]+p.listening[anywhere] > 0 })
}

// Link is an interface of a station, and the cable that plugs it into a switch.
type Link struct {
	station    *Station
	sw         *Switch
	number     uint32 // among all links of the rack
	index      int
	hw         [6]byte
	addrs      []netip.Addr
	side       int
	deaf, mute bool
	down       bool
	ports      []*Port
}

// Index returns the kernel's number for the link.
func (l *Link) Index() int { return l.index }

// HardwareAddr returns the link's Ethernet address.
func (l *Link) HardwareAddr() [6]byte { return l.hw }

// Addrs returns the addresses that the kernel answers for on the link.
func (l *Link) Addrs() []netip.Addr {
	l.sw.mu.Lock()
	defer l.sw.mu.Unlock()
	return slices.Clone(l.addrs)
}

// SetAddrs changes the addresses that the kernel answers for on the link.
func (l *Link) SetAddrs(addrs ...netip.Addr) { l.sw.locked(func() { l.addrs = slices.Clone(addrs) }) }

// SetSide changes the side of a partition that the link is on, 0 at first: only
// links of one side hear each other.
func (l *Link) SetSide(side int) { l.sw.locked(func() { l.side = side }) }

// SetDeaf tells whether nothing arrives on the link.
func (l *Link) SetDeaf(on bool) { l.sw.locked(func() { l.deaf = on }) }

// SetMute tells whether nothing that is sent on the link arrives anywhere. The
// sender is not told.
func (l *Link) SetMute(on bool) { l.sw.locked(func() { l.mute = on }) }

// SetDown tells whether the link has no carrier: nothing arrives, and what is sent
// fails with [syscall.ENETDOWN].
func (l *Link) SetDown(on bool) { l.sw.locked(func() { l.down = on }) }

// Side returns the side of a partition that the link is on.
func (l *Link) Side() (side int) {
	l.sw.locked(func() { side = l.side })
	return side
}

// Up reports whether the link has a carrier, on a machine that is switched on.
func (l *Link) Up() (up bool) {
	l.sw.locked(func() { up = l.up() })
	return up
}

// Hears reports whether what another link sends arrives on this one, unless it is
// lost by chance.
func (l *Link) Hears(from *Link) (hears bool) {
	l.sw.locked(func() { hears = from.sw == l.sw && l.sw.joins(from, l) })
	return hears
}

func (l *Link) up() bool { return !l.down && !l.station.off }

// isFor reports whether the link takes a frame: one for its own address, all
// stations or a group.
func (l *Link) isFor(frame []byte) bool {
	return frame[0]&1 != 0 || [6]byte(frame) == l.hw
}

// receive gives a frame that arrives at a time to all ports, and to the kernel.
func (l *Link) receive(frame []byte, at time.Time) {
	for _, p := range l.ports {
		p.push(frame, at)
	}
	if answer := l.answer(frame); answer != nil {
		l.sw.transmit(l, answer, at)
	}
}

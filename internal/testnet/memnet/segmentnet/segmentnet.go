// Package segmentnet lets package segment beat on the switches in memory of package
// memnet.
package segmentnet

import (
	"math/rand/v2"
	"net/netip"

	"github.com/l2vip/l2vip/election/segment"
	"github.com/l2vip/l2vip/internal/testnet/memnet"
)

// New returns the links of a process's station as package segment wants them.
func New(p *memnet.Process) segment.Ethernet { return ethernet{p} }

// Link returns a link as package segment wants it, with the first of its addresses,
// if it has one.
func Link(l *memnet.Link) segment.Link {
	link := segment.Link{Index: l.Index(), HardwareAddr: l.HardwareAddr()}
	if addrs := l.Addrs(); len(addrs) > 0 {
		link.Addr = addrs[0]
	}
	return link
}

type ethernet struct{ process *memnet.Process }

func (e ethernet) Open(l segment.Link) (segment.Port, error) {
	p, err := e.process.Open(l.Index)
	if err != nil {
		return nil, err // a nil *memnet.Port would be no nil Port
	}
	return p, nil
}

func (e ethernet) Neighbors(link int) []segment.Neighbor {
	var all []segment.Neighbor
	for _, n := range e.process.Neighbors(link) {
		all = append(all, segment.Neighbor(n))
	}
	return all
}

func (e ethernet) Listen() (port uint16, err error) {
	port = uint16(49152 + rand.IntN(1<<14))
	e.process.Listen(netip.AddrPortFrom(netip.IPv6Unspecified(), port))
	return port, nil
}

func (e ethernet) ProbePort(to netip.AddrPort, closed func()) { e.process.ProbePort(to, closed) }

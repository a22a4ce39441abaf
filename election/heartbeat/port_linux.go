package heartbeat

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/l2vip/l2vip/internal/neighbor"
)

// port is a link in use: a socket for beats, and two on which any station gives a
// sign of life, by ARP and by NDP.
type port struct {
	link   Link
	beats  int
	signs  []int
	broken bool
	out    []byte
}

const (
	headerLen = 14
	offSource = 6
)

// openPort opens the sockets.
func openPort(l Link) (p *port, err error) {
	p = &port{link: l, beats: -1}
	defer func() {
		if err != nil {
			p.close()
		}
	}()
	if p.beats, err = open(l.Index, etherType); err != nil {
		return p, err
	}
	mreq := unix.PacketMreq{Ifindex: int32(l.Index), Type: unix.PACKET_MR_MULTICAST, Alen: uint16(len(group))}
	copy(mreq.Address[:], group[:])
	if err = unix.SetsockoptPacketMreq(p.beats, unix.SOL_PACKET, unix.PACKET_ADD_MEMBERSHIP, &mreq); err != nil {
		return p, fmt.Errorf("join the group: %w", err)
	}
	for _, protocol := range []int{unix.ETH_P_ARP, unix.ETH_P_IPV6} {
		fd, err := open(l.Index, protocol)
		if err != nil {
			return p, err
		}
		p.signs = append(p.signs, fd)
	}
	return p, nil
}

// open opens a packet socket for what the filter of a protocol lets through.
func open(index, protocol int) (fd int, err error) {
	// Without a protocol nothing arrives before the filter is set.
	fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("packet socket: %w", err)
	}
	defer func() {
		if err != nil {
			unix.Close(fd)
			fd = -1
		}
	}()
	program, err := neighbor.Filter(protocol)
	if err != nil {
		return fd, fmt.Errorf("packet filter: %w", err)
	}
	raw := make([]unix.SockFilter, len(program))
	for i, ins := range program {
		raw[i] = unix.SockFilter{Code: ins.Op, Jt: ins.Jt, Jf: ins.Jf, K: ins.K}
	}
	if err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(raw)), Filter: &raw[0]}); err != nil {
		return fd, fmt.Errorf("packet filter: %w", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Ifindex: index, Protocol: htons(uint16(protocol))}); err != nil {
		return fd, fmt.Errorf("packet socket: %w", err)
	}
	return fd, nil
}

func htons(v uint16) uint16 {
	return binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, v))
}

// fds returns the sockets.
func (p *port) fds() []int { return append([]int{p.beats}, p.signs...) }

// close closes them.
func (p *port) close() {
	for _, fd := range p.fds() {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
}

// read reads a frame, and returns its length and the station that it is from. It
// never waits.
func (p *port) read(fd int, b []byte) (n int, from hardwareAddr, err error) {
	for {
		n, err = unix.Read(fd, b)
		if err != nil {
			return 0, from, err
		}
		if n < headerLen {
			continue
		}
		from = hardwareAddr(b[offSource:])
		if from[0]&1 == 0 && from != (hardwareAddr{}) && from != p.link.HardwareAddr {
			return n, from, nil
		}
	}
}

// send sends a frame of this protocol.
func (p *port) send(to hardwareAddr, payload []byte) error {
	p.out = append(p.out[:0], to[:]...)
	p.out = append(p.out, p.link.HardwareAddr[:]...)
	p.out = binary.BigEndian.AppendUint16(p.out, etherType)
	p.out = append(p.out, payload...)
	for len(p.out) < 60 {
		p.out = append(p.out, 0)
	}
	_, err := unix.Write(p.beats, p.out)
	return err
}

// probe asks a station's kernel for a sign of life, by the probe for one of its
// addresses: nobody learns anything from that (RFC 5227 section 2.1.1, RFC 4862
// section 5.4.2).
func (p *port) probe(to hardwareAddr, addr netip.Addr) error {
	frame, err := neighbor.Probe(addr, p.link.HardwareAddr)
	if err != nil {
		return err
	}
	copy(frame, to[:])
	_, err = unix.Write(p.beats, frame)
	return err
}

// openKnock opens a socket that sends an empty datagram.
func openKnock(to netip.AddrPort) (fd int, err error) {
	var addr unix.Sockaddr = &unix.SockaddrInet6{Port: int(to.Port()), Addr: to.Addr().As16()}
	family := unix.AF_INET6
	if ip := to.Addr().Unmap(); ip.Is4() {
		family, addr = unix.AF_INET, &unix.SockaddrInet4{Port: int(to.Port()), Addr: ip.As4()}
	}
	fd, err = unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	if err = unix.Connect(fd, addr); err == nil {
		err = unix.Send(fd, nil, 0)
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// maxNeighbors bounds how many are asked at once.
const maxNeighbors = 8

// neighbors returns some of the stations on the link whose Ethernet addresses the
// kernel knows.
func neighbors(link int) []neighbor.Station {
	known, _ := neighbor.Known(link, netlink.FAMILY_ALL) // those that there are
	known = slices.DeleteFunc(known, func(s neighbor.Station) bool { return s.HardwareAddr == [6]byte{} })
	return known[:min(len(known), maxNeighbors)]
}

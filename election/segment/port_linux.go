package segment

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"github.com/l2vip/l2vip/internal/neighbor"
)

// packetPort is a link in use: a socket for frames of this protocol, one for the beats
// that tell nothing new, which wake this thread only when it is on the alert, and two on
// which any station gives a sign of life, by ARP and by NDP. Nothing arrives at those but
// while the port is capturing: what else a busy segment has to say does not wake the
// process.
type packetPort struct {
	link      Link
	news      int
	routine   int
	signs     []signSocket
	capturing bool
	broken    bool
	out       []byte
	scrap     [64]byte
	control   [64]byte
	emptied   time.Duration // when nothing was left at the socket for routine beats
	behind    bool          // when it was read last, something was
}

// signSocket is a socket for the frames of a protocol.
type signSocket struct {
	fd     int
	filter []unix.SockFilter // what lets them through
}

// nothing is the filter that lets nothing through.
var nothing = []unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K, K: 0}}

// openPort opens the sockets.
func openPort(l Link) (p *packetPort, err error) {
	p = &packetPort{link: l, news: -1, routine: -1}
	defer func() {
		if err != nil {
			p.close()
		}
	}()
	if p.news, err = openFrames(l.Index, false); err != nil {
		return p, err
	}
	if p.routine, err = openFrames(l.Index, true); err != nil {
		return p, err
	}
	if err = unix.SetsockoptInt(p.routine, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS_NEW, 1); err != nil {
		return p, fmt.Errorf("times of arrival: %w", err)
	}
	mreq := unix.PacketMreq{Ifindex: int32(l.Index), Type: unix.PACKET_MR_MULTICAST, Alen: uint16(len(group))}
	copy(mreq.Address[:], group[:])
	if err = unix.SetsockoptPacketMreq(p.news, unix.SOL_PACKET, unix.PACKET_ADD_MEMBERSHIP, &mreq); err != nil {
		return p, fmt.Errorf("join the group: %w", err)
	}
	for _, protocol := range []int{unix.ETH_P_ARP, unix.ETH_P_IPV6} {
		filter, err := filterFor(protocol)
		if err != nil {
			return p, err
		}
		fd, err := open(l.Index, protocol, nothing)
		if err != nil {
			return p, err
		}
		p.signs = append(p.signs, signSocket{fd, filter})
	}
	return p, nil
}

// filterFor returns the filter for what matters of a protocol.
func filterFor(protocol int) ([]unix.SockFilter, error) {
	program, err := neighbor.Filter(protocol)
	if err != nil {
		return nil, fmt.Errorf("packet filter: %w", err)
	}
	return sockFilter(program), nil
}

func sockFilter(program []bpf.RawInstruction) []unix.SockFilter {
	filter := make([]unix.SockFilter, len(program))
	for i, ins := range program {
		filter[i] = unix.SockFilter{Code: ins.Op, Jt: ins.Jt, Jf: ins.Jf, K: ins.K}
	}
	return filter
}

// openFrames opens a socket for frames of this protocol: beats that tell nothing new, or
// all others.
func openFrames(index int, routine bool) (fd int, err error) {
	rest, err := neighbor.Filter(etherType)
	if err != nil {
		return -1, fmt.Errorf("packet filter: %w", err)
	}
	mark := bpf.JumpIf{Cond: bpf.JumpEqual, Val: 1, SkipFalse: 1}
	if routine {
		mark = bpf.JumpIf{Cond: bpf.JumpEqual, Val: 1, SkipTrue: 1}
	}
	first, err := bpf.Assemble([]bpf.Instruction{
		bpf.LoadAbsolute{Off: headerLen + uint32(offRoutine), Size: 1}, mark, bpf.RetConstant{Val: 0},
	})
	if err != nil {
		return -1, fmt.Errorf("packet filter: %w", err)
	}
	return open(index, etherType, sockFilter(append(first, rest...)))
}

// attach lets a socket receive only what the filter lets through.
func attach(fd int, filter []unix.SockFilter) error {
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	if err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &program); err != nil {
		return fmt.Errorf("packet filter: %w", err)
	}
	return nil
}

// capture lets signs of life through from now on, or no longer.
func (p *packetPort) capture(on bool) error {
	var errs []error
	for _, s := range p.signs {
		if !on {
			errs = append(errs, attach(s.fd, nothing))
			continue
		}
		for { // what is left from the last time is no sign of life now
			if _, err := unix.Read(s.fd, p.scrap[:]); err != nil {
				break
			}
		}
		errs = append(errs, attach(s.fd, s.filter))
	}
	p.capturing = on
	return errors.Join(errs...)
}

// open opens a packet socket for what the filter lets through of a protocol.
func open(index, protocol int, filter []unix.SockFilter) (fd int, err error) {
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
	if err := attach(fd, filter); err != nil {
		return fd, err
	}
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Ifindex: index, Protocol: htons(uint16(protocol))}); err != nil {
		return fd, fmt.Errorf("packet socket: %w", err)
	}
	return fd, nil
}

func htons(v uint16) uint16 {
	return binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, v))
}

// close closes the sockets.
func (p *packetPort) close() {
	for _, fd := range []int{p.news, p.routine} {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
	for _, s := range p.signs {
		unix.Close(s.fd)
	}
}

// read reads a frame, and returns its payload and the stations between which it goes.
// It never waits. There is no payload if no station can have sent the frame.
func (p *packetPort) read(fd int, b []byte) (payload []byte, via route, err error) {
	n, err := unix.Read(fd, b)
	if err != nil || n < headerLen {
		return nil, via, err
	}
	via, ok := routeOf(b, p.link.HardwareAddr)
	if !ok {
		return nil, via, nil
	}
	return b[headerLen:n], via, nil
}

// readRoutine does the same at the socket for beats that tell nothing new, and returns
// how long ago the frame arrived, but no longer than most.
func (p *packetPort) readRoutine(b []byte, most time.Duration) (payload []byte, via route, ago time.Duration, err error) {
	n, control, _, _, err := unix.Recvmsg(p.routine, b, p.control[:], 0)
	if err != nil || n < headerLen {
		return nil, via, 0, err
	}
	via, ok := routeOf(b, p.link.HardwareAddr)
	if !ok {
		return nil, via, 0, nil
	}
	return b[headerLen:n], via, age(p.control[:control], most), nil
}

// age returns how old the time of arrival is that is in a control message.
func age(control []byte, most time.Duration) time.Duration {
	if len(control) < unix.CmsgSpace(16) {
		return 0
	}
	at := control[unix.CmsgLen(0):] // seconds and nanoseconds, in 64 bits everywhere
	arrived := time.Unix(int64(binary.NativeEndian.Uint64(at)), int64(binary.NativeEndian.Uint64(at[8:])))
	// The time of day may have been set meanwhile.
	return min(max(0, time.Duration(time.Now().UnixNano()-arrived.UnixNano())), most)
}

// send sends a frame of this protocol.
func (p *packetPort) send(to hardwareAddr, payload []byte) error {
	p.out = appendEthernet(p.out[:0], to, p.link.HardwareAddr, payload)
	_, err := unix.Write(p.news, p.out)
	return err
}

// probe asks a station's kernel for a sign of life, by the probe for one of its
// addresses: no station learns anything from that (RFC 5227 section 2.1.1, RFC 4862
// section 5.4.2).
func (p *packetPort) probe(to hardwareAddr, addr netip.Addr) error {
	frame, err := neighbor.Probe(addr, p.link.HardwareAddr)
	if err != nil {
		return err
	}
	copy(frame, to[:])
	_, err = unix.Write(p.news, frame)
	return err
}

// openOwnPort opens a UDP port at all addresses of this host, of both families where
// there are both, that discards what comes. The kernel closes it with the process, and
// tells those that probe it (RFC 1122 section 4.1.3.1).
func openOwnPort() (fd int, port uint16, err error) {
	defer func() {
		if err != nil {
			unix.Close(fd)
			fd = -1
		}
	}()
	var any unix.Sockaddr = &unix.SockaddrInet6{}
	if fd, err = unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0); err == nil {
		err = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 0)
	} else { // IPv6 is not built in
		any = &unix.SockaddrInet4{}
		fd, err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	}
	if err != nil {
		return fd, 0, fmt.Errorf("UDP socket: %w", err)
	}
	if err = attach(fd, nothing); err != nil {
		return fd, 0, err
	}
	if err = unix.Bind(fd, any); err != nil {
		return fd, 0, fmt.Errorf("UDP socket: %w", err)
	}
	bound, err := unix.Getsockname(fd)
	switch a := bound.(type) {
	case *unix.SockaddrInet6:
		port = uint16(a.Port)
	case *unix.SockaddrInet4:
		port = uint16(a.Port)
	}
	return fd, port, err
}

// openPortProbe opens a socket that sends an empty datagram.
func openPortProbe(to netip.AddrPort) (fd int, err error) {
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

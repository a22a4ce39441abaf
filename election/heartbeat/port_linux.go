package heartbeat

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"github.com/mdlayher/arp"
	"github.com/mdlayher/ethernet"
	"github.com/mdlayher/ndp"
	"github.com/vishvananda/netlink"
	"golang.org/x/net/bpf"
	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"
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

	protoICMPv6 = 58
	hopLimit    = 255
)

// openPort opens the sockets.
func openPort(l Link) (p *port, err error) {
	p = &port{link: l, beats: -1}
	defer func() {
		if err != nil {
			p.close()
		}
	}()
	if p.beats, err = open(l.Index, etherType, nil); err != nil {
		return p, err
	}
	mreq := unix.PacketMreq{Ifindex: int32(l.Index), Type: unix.PACKET_MR_MULTICAST, Alen: uint16(len(group))}
	copy(mreq.Address[:], group[:])
	if err = unix.SetsockoptPacketMreq(p.beats, unix.SOL_PACKET, unix.PACKET_ADD_MEMBERSHIP, &mreq); err != nil {
		return p, fmt.Errorf("join the group: %w", err)
	}
	for _, s := range []struct {
		protocol uint16
		filter   []bpf.Instruction
	}{{unix.ETH_P_ARP, nil}, {unix.ETH_P_IPV6, discovery()}} {
		fd, err := open(l.Index, s.protocol, s.filter)
		if err != nil {
			return p, err
		}
		p.signs = append(p.signs, fd)
	}
	return p, nil
}

// open opens a packet socket for a protocol that sees no frames which this host
// sends, nor those for other stations, and what filter lets through.
func open(index int, protocol uint16, filter []bpf.Instruction) (fd int, err error) {
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
	program, err := bpf.Assemble(append(append([]bpf.Instruction{
		bpf.LoadExtension{Num: bpf.ExtType},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.PACKET_OUTGOING, SkipFalse: 1},
		bpf.RetConstant{Val: 0},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.PACKET_OTHERHOST, SkipFalse: 1},
		bpf.RetConstant{Val: 0},
	}, filter...), bpf.RetConstant{Val: 0xffff}))
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
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Ifindex: index, Protocol: htons(protocol)}); err != nil {
		return fd, fmt.Errorf("packet socket: %w", err)
	}
	return fd, nil
}

// discovery lets neighbor solicitations and advertisements through.
func discovery() []bpf.Instruction {
	return []bpf.Instruction{
		bpf.LoadAbsolute{Off: headerLen + 6, Size: 1}, // next header
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: protoICMPv6, SkipTrue: 1},
		bpf.RetConstant{Val: 0},
		bpf.LoadAbsolute{Off: headerLen + ipv6.HeaderLen, Size: 1}, // ICMP type
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(ipv6.ICMPTypeNeighborSolicitation), SkipTrue: 2},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(ipv6.ICMPTypeNeighborAdvertisement), SkipTrue: 1},
		bpf.RetConstant{Val: 0},
	}
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

// send sends a frame.
func (p *port) send(to hardwareAddr, protocol uint16, payload []byte) error {
	p.out = append(p.out[:0], to[:]...)
	p.out = append(p.out, p.link.HardwareAddr[:]...)
	p.out = binary.BigEndian.AppendUint16(p.out, protocol)
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
	own := p.link.HardwareAddr
	if addr.Is4() {
		packet, err := arp.NewPacket(arp.OperationRequest, own[:], netip.IPv4Unspecified(), make([]byte, 6), addr)
		if err != nil {
			return err
		}
		payload, err := packet.MarshalBinary()
		if err != nil {
			return err
		}
		return p.send(to, uint16(ethernet.EtherTypeARP), payload)
	}
	dest, err := ndp.SolicitedNodeMulticast(addr)
	if err != nil {
		return err
	}
	message, err := ndp.MarshalMessageChecksum(&ndp.NeighborSolicitation{TargetAddress: addr}, netip.IPv6Unspecified(), dest)
	if err != nil {
		return err
	}
	header := make([]byte, ipv6.HeaderLen, ipv6.HeaderLen+len(message))
	header[0] = ipv6.Version << 4
	binary.BigEndian.PutUint16(header[4:], uint16(len(message)))
	header[6], header[7] = protoICMPv6, hopLimit
	copy(header[24:], dest.AsSlice())
	return p.send(to, uint16(ethernet.EtherTypeIPv6), append(header, message...))
}

// neighbor is a station that the kernel knows.
type neighbor struct {
	hw   hardwareAddr
	addr netip.Addr
}

// maxNeighbors bounds how many are asked at once.
const maxNeighbors = 8

// neighbors returns some of the stations that the kernel knows on the link. It
// prefers those that it has reached lately.
func neighbors(link int) []neighbor {
	var fresh, stale []neighbor
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		list, err := netlink.NeighList(link, family)
		if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
			continue
		}
		for i := range list {
			addr, ok := netip.AddrFromSlice(list[i].IP)
			if addr = addr.Unmap(); !ok || addr.IsMulticast() || len(list[i].HardwareAddr) != len(hardwareAddr{}) {
				continue
			}
			n := neighbor{hardwareAddr(list[i].HardwareAddr), addr}
			if list[i].State&(netlink.NUD_REACHABLE|netlink.NUD_PERMANENT|netlink.NUD_DELAY|netlink.NUD_PROBE) != 0 {
				fresh = append(fresh, n)
			} else {
				stale = append(stale, n)
			}
		}
	}
	all := append(fresh, stale...)
	return all[:min(len(all), maxNeighbors)]
}

package announce

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// What is asked of the kernel, and told by it, about interfaces and addresses. The
// messages are read here and not by package netlink, because its addresses have
// no metric, and so that a listing and a notice are read in the same way.

// place is an address that is a subnet of its own, on an interface.
type place struct {
	index int
	addr  netip.Addr
}

// host is what else is known of such an address.
type host struct {
	mark    mark
	forever bool // the kernel does not let it expire
}

// mark tells which announcer bound an address to lo: the letters "l2" and a
// number. An IPv4 address has it in its label; an IPv6 address, which has no
// label, as its metric, which means nothing without a route. Zero is no mark.
type mark uint32

const (
	markBase    mark = 'l'<<24 | '2'<<16
	labelPrefix      = "lo:l2-"
)

// markWith returns the mark with the number.
func markWith(number uint16) mark { return markBase | mark(number) }

// label returns the label of an IPv4 address with the mark.
func (m mark) label() string { return fmt.Sprintf("%s%08x", labelPrefix, uint32(m)) }

// markOf returns the mark that a number from the kernel is, or zero.
func markOf(number uint32) mark {
	if m := mark(number); m&^0xffff == markBase {
		return m
	}
	return 0
}

// markIn returns the mark in a label, or zero.
func markIn(label string) mark {
	digits, ok := strings.CutPrefix(label, labelPrefix)
	number, err := strconv.ParseUint(digits, 16, 32)
	if m := markOf(uint32(number)); ok && err == nil && m.label() == label {
		return m
	}
	return 0
}

// dump returns the kernel's list of what kind asks for, if it can be had in one
// piece.
func dump(kind int, header nl.NetlinkRequestData) (messages [][]byte, err error) {
	for range 10 {
		req := nl.NewNetlinkRequest(kind, unix.NLM_F_DUMP)
		req.AddData(header)
		messages, err = req.Execute(unix.NETLINK_ROUTE, 0)
		if !errors.Is(err, nl.ErrDumpInterrupted) {
			break
		}
	}
	return messages, err
}

// errShort is what is wrong with a message that ends too soon.
var errShort = errors.New("the message from the kernel is too short")

// isPort is the problem of an interface that is a port, until the name of its
// master is known.
const isPort = "port"

// notEthernet and noARP are the problems of interfaces on which no station is asked.
const notEthernet, noARP = "no Ethernet", "no ARP"

// parseLink reads an interface. It can't know the addresses, and of a master no
// more than the index.
func parseLink(b []byte) (link, error) {
	if len(b) < unix.SizeofIfInfomsg {
		return link{}, errShort
	}
	info := nl.DeserializeIfInfomsg(b)
	attrs, err := nl.ParseRouteAttr(b[unix.SizeofIfInfomsg:])
	if err != nil {
		return link{}, err
	}
	l := link{index: int(info.Index)}
	ethernet, vrf := false, false
	for i := range attrs {
		switch value := attrs[i].Value; attrs[i].Attr.Type {
		case unix.IFLA_IFNAME:
			l.name = unix.ByteSliceToString(value)
		case unix.IFLA_ADDRESS:
			if len(value) == len(l.hw) {
				l.hw = hardwareAddr(value)
				ethernet = info.Type == unix.ARPHRD_ETHER
			}
		case unix.IFLA_MASTER:
			if len(value) >= 4 {
				l.master = int(nl.NativeEndian().Uint32(value))
			}
		case unix.IFLA_LINKINFO:
			vrf = masterKind(value) == "vrf"
		}
	}
	if vrf { // it routes for its interfaces, and takes nothing that is ARP or NDP
		l.master = 0
	}
	switch {
	case info.Flags&unix.IFF_POINTOPOINT != 0:
		l.problem = "point-to-point"
	case !ethernet:
		l.problem = notEthernet
	case info.Flags&unix.IFF_NOARP != 0:
		l.problem = noARP
	case l.master != 0:
		l.problem = isPort
	case info.Flags&unix.IFF_UP == 0:
		l.problem, l.down = "down", true
	case info.Flags&unix.IFF_RUNNING == 0:
		l.problem, l.down = "no carrier", true
	}
	return l, nil
}

// masterKind returns the kind of the interface's master out of IFLA_LINKINFO.
func masterKind(linkInfo []byte) string {
	attrs, err := nl.ParseRouteAttr(linkInfo)
	if err != nil {
		return ""
	}
	for i := range attrs {
		if attrs[i].Attr.Type == unix.IFLA_INFO_SLAVE_KIND {
			return unix.ByteSliceToString(attrs[i].Value)
		}
	}
	return ""
}

// address is an IPv4 or IPv6 address of an interface.
type address struct {
	host
	index  int
	prefix netip.Prefix // the address, with the length of its subnet
}

// parseAddr reads an address. It is the zero address in a message of another
// family.
func parseAddr(b []byte) (address, error) {
	if len(b) < unix.SizeofIfAddrmsg {
		return address{}, errShort
	}
	msg := nl.DeserializeIfAddrmsg(b)
	if msg.Family != unix.AF_INET && msg.Family != unix.AF_INET6 {
		return address{}, nil
	}
	attrs, err := nl.ParseRouteAttr(b[unix.SizeofIfAddrmsg:])
	if err != nil {
		return address{}, err
	}
	a := address{index: int(msg.Index), host: host{forever: true}}
	var local, subnet netip.Addr // IPv6 has no local one, unless there is a peer
	for i := range attrs {
		switch value := attrs[i].Value; attrs[i].Attr.Type {
		case unix.IFA_LOCAL:
			local, _ = netip.AddrFromSlice(value)
		case unix.IFA_ADDRESS:
			subnet, _ = netip.AddrFromSlice(value)
		case unix.IFA_LABEL:
			a.mark = markIn(unix.ByteSliceToString(value))
		case unix.IFA_RT_PRIORITY:
			if len(value) >= 4 && msg.Family == unix.AF_INET6 {
				a.mark = markOf(nl.NativeEndian().Uint32(value))
			}
		case unix.IFA_CACHEINFO:
			if len(value) >= unix.SizeofIfaCacheinfo {
				a.forever = nl.DeserializeIfaCacheInfo(value).Valid == math.MaxUint32
			}
		}
	}
	if local.IsValid() && local != subnet {
		a.prefix = netip.PrefixFrom(local, local.BitLen())
	} else {
		a.prefix = netip.PrefixFrom(subnet, int(msg.Prefixlen))
	}
	return a, nil
}

// addrSocket is a socket for requests about addresses, as package nl wants it.
type addrSocket map[int]*nl.SocketHandle

func openAddrSocket() (addrSocket, error) {
	socket, err := nl.Subscribe(unix.NETLINK_ROUTE) // to nothing
	if err != nil {
		return nil, fmt.Errorf("netlink socket: %w", err)
	}
	return addrSocket{unix.NETLINK_ROUTE: {Socket: socket}}, nil
}

func (s addrSocket) close() {
	for _, handle := range s {
		handle.Close()
	}
}

// add binds an address for some seconds, or for ever: to lo with a mark, to
// another interface without one. The kernel does not look for duplicates of it
// and makes no route to others for it. Only with replace may the interface have
// the address already.
//
// The kernel does not choose the address as a source. In IPv4, on lo, because of
// its scope. In IPv6 because it is deprecated from the start (RFC 6724 section 5,
// rule 3), unless the host has no other address of the scope that is asked for.
func (s addrSocket) add(p place, m mark, seconds uint32, replace bool) error {
	flags := unix.NLM_F_CREATE | unix.NLM_F_EXCL
	if replace {
		flags = unix.NLM_F_CREATE | unix.NLM_F_REPLACE
	}
	attrs := []*nl.RtAttr{
		nl.NewRtAttr(unix.IFA_FLAGS, nl.Uint32Attr(unix.IFA_F_NODAD|unix.IFA_F_NOPREFIXROUTE)),
		nl.NewRtAttr(unix.IFA_CACHEINFO, (&nl.IfaCacheInfo{IfaCacheinfo: unix.IfaCacheinfo{Valid: seconds}}).Serialize()),
	}
	scope := uint8(unix.RT_SCOPE_UNIVERSE)
	switch {
	case m != 0 && p.addr.Is4():
		scope = unix.RT_SCOPE_HOST
		attrs = append(attrs, nl.NewRtAttr(unix.IFA_LABEL, nl.ZeroTerminated(m.label())))
	case m != 0:
		attrs = append(attrs, nl.NewRtAttr(unix.IFA_RT_PRIORITY, nl.Uint32Attr(uint32(m))))
	}
	return s.request(unix.RTM_NEWADDR, flags, p, scope, attrs...)
}

// remove takes an address off its interface.
func (s addrSocket) remove(p place) error {
	return s.request(unix.RTM_DELADDR, 0, p, unix.RT_SCOPE_UNIVERSE)
}

func (s addrSocket) request(kind, flags int, p place, scope uint8, attrs ...*nl.RtAttr) error {
	family := unix.AF_INET
	if p.addr.Is6() {
		family = unix.AF_INET6
	}
	req := nl.NewNetlinkRequest(kind, flags|unix.NLM_F_ACK)
	req.Sockets = s
	msg := nl.NewIfAddrmsg(family)
	msg.Index, msg.Prefixlen, msg.Scope = uint32(p.index), uint8(p.addr.BitLen()), scope
	req.AddData(msg)
	req.AddData(nl.NewRtAttr(unix.IFA_LOCAL, p.addr.AsSlice()))
	req.AddData(nl.NewRtAttr(unix.IFA_ADDRESS, p.addr.AsSlice()))
	for _, a := range attrs {
		req.AddData(a)
	}
	_, err := req.Execute(unix.NETLINK_ROUTE, 0)
	return err
}

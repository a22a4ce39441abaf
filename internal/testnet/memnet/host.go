package memnet

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
)

// firstPort is where the ports begin that are given to who asks for port 0.
const firstPort = 49152

// errHostDown is what sockets say whose host has crashed under them.
var errHostDown = net.ErrClosed

// Host is a machine on a [Network], with one address. Its ListenPacket, Listen
// and DialContext mean what those of [net.ListenConfig] and [net.Dialer] mean;
// addresses are literal, and a host listens on its own address or on the
// unspecified one.
type Host struct {
	network   *Network
	addr      netip.Addr
	off       bool
	life      uint64 // counts the crashes
	packets   map[uint16]*packetConn
	listeners map[uint16]*listener
	nextPort  uint16
}

// Addr returns the host's address.
func (h *Host) Addr() netip.Addr { return h.addr }

// ListenPacket opens a UDP socket. The network is "udp", "udp4" or "udp6". A
// socket holds 1024 datagrams, and drops what comes beyond.
func (h *Host) ListenPacket(ctx context.Context, network, address string) (net.PacketConn, error) {
	c, err := h.listenPacket(ctx, network, address)
	if err != nil {
		return nil, &net.OpError{Op: "listen", Net: network, Addr: addrText{network, address}, Err: err}
	}
	return c, nil
}

func (h *Host) listenPacket(ctx context.Context, network, address string) (*packetConn, error) {
	local, err := h.local(ctx, network, "udp", address)
	if err != nil {
		return nil, err
	}
	h.network.mu.Lock()
	defer h.network.mu.Unlock()
	return h.bindPacket(network, local)
}

// Listen opens a TCP listener. The network is "tcp", "tcp4" or "tcp6".
func (h *Host) Listen(ctx context.Context, network, address string) (net.Listener, error) {
	l, err := h.listen(ctx, network, address)
	if err != nil {
		return nil, &net.OpError{Op: "listen", Net: network, Addr: addrText{network, address}, Err: err}
	}
	return l, nil
}

func (h *Host) listen(ctx context.Context, network, address string) (*listener, error) {
	local, err := h.local(ctx, network, "tcp", address)
	if err != nil {
		return nil, err
	}
	h.network.mu.Lock()
	defer h.network.mu.Unlock()
	if h.off {
		return nil, os.NewSyscallError("bind", syscall.ENETDOWN)
	}
	port, err := freePort(h, h.listeners, local.Port())
	if err != nil {
		return nil, err
	}
	l := &listener{host: h, network: network, local: netip.AddrPortFrom(local.Addr(), port)}
	h.listeners[port] = l
	return l, nil
}

// DialContext opens a TCP connection, or a UDP socket that talks only to
// address.
//
// A dial takes twice the network's latency. Nobody listening is
// [syscall.ECONNREFUSED]. To a host that does not exist, is switched off or is
// behind a partition, it hangs until ctx ends.
func (h *Host) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	c, err := h.dial(ctx, network, address)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: network, Addr: addrText{network, address}, Err: err}
	}
	return c, nil
}

func (h *Host) dial(ctx context.Context, network, address string) (net.Conn, error) {
	proto := strings.TrimRight(network, "46")
	if proto != "tcp" && proto != "udp" {
		return nil, net.UnknownNetworkError(network)
	}
	remote, err := parseAddr(ctx, network, proto, address)
	if err != nil {
		return nil, err
	}
	if remote.Addr().IsUnspecified() { // as everywhere: this host
		remote = netip.AddrPortFrom(h.addr, remote.Port())
	}
	h.network.mu.Lock()
	defer h.network.mu.Unlock()
	if proto == "tcp" {
		return h.dialStream(ctx, network, remote)
	}
	c, err := h.bindPacket(network, netip.AddrPortFrom(h.addr, 0))
	if err != nil {
		return nil, err
	}
	c.remote = remote
	return c, nil
}

// Crash is the end of a process: every socket of the host is gone at once, and
// the peers of its streams see a reset. The host itself is alive: it refuses
// connections, and a new process may listen right away.
func (h *Host) Crash() {
	h.network.mu.Lock()
	defer h.network.mu.Unlock()
	h.dropAll(true)
	h.network.topology.broadcast()
}

// PowerOff is the end of a machine: every socket of the host is gone, nobody is
// told, and nothing answers until [Host.Restart]. The peers' streams stall.
func (h *Host) PowerOff() {
	h.network.mu.Lock()
	defer h.network.mu.Unlock()
	h.dropAll(false)
	h.off = true
	h.network.settle()
}

// Restart switches the host on again, without any of its former sockets. Peers
// of its former streams see a reset when something of theirs arrives. After
// Crash it is not needed, and does nothing.
func (h *Host) Restart() {
	h.network.mu.Lock()
	defer h.network.mu.Unlock()
	h.off = false
	h.network.settle()
}

// dropAll closes what the host has open; tell is whether peers hear of it.
func (h *Host) dropAll(tell bool) {
	h.life++
	for _, c := range h.packets {
		c.drop()
	}
	for _, l := range h.listeners {
		l.drop(tell)
	}
	for s := range h.network.streams {
		if s.host == h {
			s.drop(tell, true)
		}
	}
}

// bindPacket opens a datagram socket.
func (h *Host) bindPacket(network string, local netip.AddrPort) (*packetConn, error) {
	if h.off {
		return nil, os.NewSyscallError("bind", syscall.ENETDOWN)
	}
	port, err := freePort(h, h.packets, local.Port())
	if err != nil {
		return nil, err
	}
	c := &packetConn{host: h, network: network, local: netip.AddrPortFrom(local.Addr(), port)}
	h.packets[port] = c
	return c, nil
}

// local reads an address to listen on.
func (h *Host) local(ctx context.Context, network, proto, address string) (netip.AddrPort, error) {
	local, err := parseAddr(ctx, network, proto, address)
	if err != nil {
		return netip.AddrPort{}, err
	}
	if addr := local.Addr(); addr != h.addr && !addr.IsUnspecified() {
		return netip.AddrPort{}, os.NewSyscallError("bind", syscall.EADDRNOTAVAIL)
	}
	return local, nil
}

// freePort returns the port that is asked for, or a free one for port 0.
func freePort[T any](h *Host, used map[uint16]T, port uint16) (uint16, error) {
	if port != 0 {
		if _, ok := used[port]; ok {
			return 0, os.NewSyscallError("bind", syscall.EADDRINUSE)
		}
		return port, nil
	}
	for range 1<<16 - firstPort {
		port = h.nextPort
		if h.nextPort++; h.nextPort == 0 {
			h.nextPort = firstPort
		}
		if _, ok := used[port]; !ok {
			return port, nil
		}
	}
	return 0, os.NewSyscallError("bind", syscall.EADDRINUSE)
}

// parseAddr reads "host:port" with a literal or empty host.
func parseAddr(ctx context.Context, network, proto, address string) (netip.AddrPort, error) {
	if err := ctx.Err(); err != nil {
		return netip.AddrPort{}, err
	}
	family, ok := strings.CutPrefix(network, proto)
	if !ok || (family != "" && family != "4" && family != "6") {
		return netip.AddrPort{}, net.UnknownNetworkError(network)
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return netip.AddrPort{}, err
	}
	number, err := net.DefaultResolver.LookupPort(ctx, network, port)
	if err != nil {
		return netip.AddrPort{}, err
	}
	addr := netip.IPv6Unspecified()
	if family == "4" {
		addr = netip.IPv4Unspecified()
	}
	if host != "" {
		if addr, err = netip.ParseAddr(host); err != nil {
			return netip.AddrPort{}, fmt.Errorf("not a literal address: %w", err)
		}
		addr = addr.Unmap()
	}
	if (family == "4" && !addr.Is4()) || (family == "6" && !addr.Is6()) {
		return netip.AddrPort{}, &net.AddrError{Err: "not of the network's family", Addr: address}
	}
	return netip.AddrPortFrom(addr, uint16(number)), nil
}

// addrText is an address in an error, as it was written.
type addrText struct{ network, address string }

func (a addrText) Network() string { return a.network }
func (a addrText) String() string  { return a.address }

package gossip

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/l2vip/l2vip/election"
	"github.com/l2vip/l2vip/internal/conferr"
)

const (
	defaultCluster       = "l2vip"
	defaultPort          = 7946
	defaultProbeInterval = 100 * time.Millisecond

	// maxName bounds the names of members, in bytes, as the Runner does.
	maxName = 128
	// maxHost bounds the names of hosts, in bytes.
	maxHost = 255
	// maxCluster bounds the cluster's name, in bytes, so that it fits into every
	// datagram.
	maxCluster = 128
)

// ConfigError is one thing that is wrong with a [Config].
type ConfigError = conferr.Error

// Network opens the sockets of the engine. A [net.ListenConfig] and a
// [net.Dialer] behave as its methods must.
type Network interface {
	// ListenPacket opens the UDP socket.
	ListenPacket(ctx context.Context, network, address string) (net.PacketConn, error)
	// Listen opens the TCP listener.
	Listen(ctx context.Context, network, address string) (net.Listener, error)
	// DialContext connects to a member over TCP. It is asked for a UDP socket
	// too, on which nothing is sent, to learn which local address routes to
	// a peer.
	DialContext(ctx context.Context, network, address string) (net.Conn, error)
}

// Config is what [New] needs. With the zero value no member is looked for: others
// may join this one, or [election.Local] deliver where they are.
type Config struct {
	// Peers are the members to join: a host or host:port each, where the host
	// is an address or a DNS name that is resolved again at each attempt. The
	// member's own address may be among them, so that all members can have
	// the same list. One peer that is alive is enough to find all others;
	// peers that are missing are tried again at least every quarter of a
	// second. If empty, this member waits to be joined, or to learn where others are.
	Peers []string

	// Address is where to listen, without a zone. If zero, on all addresses.
	Address netip.Addr

	// Advertise is the address under which the others reach this member. If zero,
	// it is Address if that is set to one address, else the local address from
	// which the first peer that is no name of this host is reached, found by asking
	// Network for a connected UDP socket on which nothing is sent. Without peers the
	// default route decides. Run waits until there is one.
	Advertise netip.Addr

	// Port is the UDP and TCP port, here and where Peers name none. If zero, 7946.
	Port int

	// ProbeInterval is the time between two probes by a member, and so scales
	// everything: a member is declared dead no sooner than 4 × ProbeInterval after
	// it was last able to answer, one for the probe that fails and three for the
	// suspicion; from the eleventh member on times log10 of their number. If zero,
	// 100 ms. Of the members of which [election.Local] says that they beat, one is probed
	// each five seconds. Less than 50 ms tends to declare members dead that are only busy. It
	// must be the same on all members.
	ProbeInterval time.Duration

	// Logger gets members that join and leave at level Info, what an operator
	// should look at (name conflicts, strangers) at Warn, and the rest at
	// Debug. If nil, everything is discarded. The engine never waits for it:
	// lines beyond 512 that wait for its handler are dropped.
	Logger *slog.Logger

	// Network opens the sockets. If nil, the real network does.
	Network Network
}

// peer is where a member may be: an address, or a name to resolve.
type peer struct {
	text string
	addr netip.AddrPort // invalid: a name
	host string
	port uint16
}

// settle fills in the defaults and returns the peers, or all that is wrong.
func (c *Config) settle() ([]peer, error) {
	var errs conferr.List
	switch {
	case c.Port < 0 || c.Port > 1<<16-1:
		errs.Addf("Port", "%d is not between 1 and 65535", c.Port)
	case c.Port == 0:
		c.Port = defaultPort
	}

	c.Address, c.Advertise = c.Address.Unmap(), c.Advertise.Unmap()
	if err := unsuitable(c.Address); err != nil {
		errs.Addf("Address", "%w", err)
	}
	if err := unsuitable(c.Advertise); err != nil {
		errs.Addf("Advertise", "%w", err)
	} else if c.Advertise.IsUnspecified() {
		errs.Addf("Advertise", "no member is reached at %v", c.Advertise)
	}

	switch {
	case c.ProbeInterval < 0:
		errs.Addf("ProbeInterval", "%v is negative", c.ProbeInterval)
	case c.ProbeInterval == 0:
		c.ProbeInterval = defaultProbeInterval
	case c.ProbeInterval < time.Millisecond:
		errs.Addf("ProbeInterval", "%v is less than a millisecond", c.ProbeInterval)
	}

	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Network == nil {
		c.Network = realNetwork{}
	}

	var peers []peer
	seen := make(map[peer]bool)
	for i, text := range c.Peers {
		p, err := parsePeer(text, c.Port)
		if err != nil {
			errs.Addf(fmt.Sprintf("Peers[%d]", i), "%w", err)
			continue
		}
		where := p
		where.text = ""
		if !seen[where] {
			seen[where] = true
			peers = append(peers, p)
		}
	}
	return peers, errs.Err()
}

// unsuitable says why an address is none to listen on or to be reached at.
func unsuitable(addr netip.Addr) error {
	switch {
	case addr.Zone() != "":
		return fmt.Errorf("%v has a zone, which means nothing to other members", addr)
	case addr.IsMulticast():
		return fmt.Errorf("%v is a multicast address", addr)
	}
	return nil
}

// parsePeer reads a host or host:port.
func parsePeer(text string, port int) (peer, error) {
	p := peer{text: text, host: text, port: uint16(port)}
	if _, err := netip.ParseAddr(strings.Trim(text, "[]")); err == nil {
		p.host = strings.Trim(text, "[]")
	} else if strings.Contains(text, ":") {
		host, number, err := net.SplitHostPort(text)
		if err != nil {
			return peer{}, fmt.Errorf("%q is neither a host nor host:port", text)
		}
		n, err := strconv.ParseUint(number, 10, 16)
		if err != nil || n == 0 {
			return peer{}, fmt.Errorf("%q: port %q is not between 1 and 65535", text, number)
		}
		p.host, p.port = host, uint16(n)
	}
	addr, err := netip.ParseAddr(p.host)
	if err != nil {
		if p.host == "" || strings.ContainsAny(p.host, " \t\r\n/") || len(p.host) > maxHost {
			return peer{}, fmt.Errorf("%q names no host", text)
		}
		return p, nil
	}
	addr = addr.Unmap()
	if err := unsuitable(addr); err != nil {
		return peer{}, err
	}
	if addr.IsUnspecified() {
		return peer{}, fmt.Errorf("no member is reached at %v", addr)
	}
	p.addr, p.host = netip.AddrPortFrom(addr, p.port), ""
	return p, nil
}

// probeTimeout is how long a member may take to answer a probe. Two of them and a
// round trip must be less than ProbeInterval.
func (c *Config) probeTimeout() time.Duration { return c.ProbeInterval * 3 / 10 }

// detection is the shortest time after which the others may declare this member
// dead: see [Config.ProbeInterval]. It holds if the network loses nothing.
func (c *Config) detection() time.Duration { return (1 + suspicionMult) * c.ProbeInterval }

// identity returns the member's cluster, or an error that says what is wrong with local.
func identity(local *election.Local) (cluster string, err error) {
	cluster = cmp.Or(local.Cluster, defaultCluster)
	errs := []error{badName(local.Name)}
	switch {
	case len(cluster) > maxCluster:
		errs = append(errs, fmt.Errorf("cluster name of %d bytes, more than %d", len(cluster), maxCluster))
	case !utf8.ValidString(cluster):
		errs = append(errs, fmt.Errorf("cluster name %q is not UTF-8", cluster))
	}
	return cluster, errors.Join(errs...)
}

// advertise finds the address that the others reach this member at.
func (c *Config) advertise(ctx context.Context, peers []peer) (netip.Addr, error) {
	if c.Advertise.IsValid() {
		return c.Advertise, nil
	}
	if c.Address.IsValid() && !c.Address.IsUnspecified() {
		return c.Address, nil
	}
	var targets []string
	for _, p := range peers {
		if p.addr.IsValid() {
			targets = append(targets, p.addr.String())
		} else {
			targets = append(targets, net.JoinHostPort(p.host, strconv.Itoa(int(p.port))))
		}
	}
	if len(targets) == 0 {
		// Addresses for documentation: the default route leads to them.
		// Nothing is sent.
		targets = []string{"192.0.2.1:9", "[2001:db8::1]:9"}
	}
	var errs []error
	onHost := !slices.ContainsFunc(peers, func(p peer) bool { return !p.addr.Addr().IsLoopback() })
	for _, target := range targets {
		addr, err := c.source(ctx, target)
		switch {
		case err != nil:
		case addr.IsLoopback() && !onHost: // this member's own name, as in Debian's /etc/hosts
			err = fmt.Errorf("%s is this host itself", target)
		case addr.IsLinkLocalUnicast():
			err = fmt.Errorf("%v, from which %s is reached, means nothing elsewhere", addr, target)
		default:
			return addr, nil
		}
		errs = append(errs, err)
	}
	return netip.Addr{}, fmt.Errorf("no local address to advertise: %w", errors.Join(errs...))
}

// advertisePause is the pause between two attempts to find the address to advertise.
const advertisePause = 250 * time.Millisecond

// awaitAdvertise waits until there is an address to advertise: at boot an interface may
// be without one for a while. It returns an error only if ctx ends.
func (c *Config) awaitAdvertise(ctx context.Context, peers []peer, log *slog.Logger) (netip.Addr, error) {
	for told := false; ; {
		addr, err := c.advertise(ctx, peers)
		if err == nil {
			return addr, nil
		}
		if !told {
			told = true
			log.Warn("waiting for an address by which others reach this member", "error", err)
		}
		select {
		case <-ctx.Done():
			return addr, ctx.Err()
		case <-time.After(advertisePause):
		}
	}
}

// source returns the local address that routes to target.
func (c *Config) source(ctx context.Context, target string) (netip.Addr, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	conn, err := c.Network.DialContext(ctx, "udp", target)
	if err != nil {
		return netip.Addr{}, err
	}
	defer func() { _ = conn.Close() }()
	local, err := netip.ParseAddrPort(conn.LocalAddr().String())
	if err != nil {
		return netip.Addr{}, err
	}
	addr := local.Addr().Unmap().WithZone("")
	if addr.IsUnspecified() {
		return netip.Addr{}, fmt.Errorf("the way to %s has no source address", target)
	}
	return addr, nil
}

// realNetwork is the network of the process.
type realNetwork struct{}

func (realNetwork) ListenPacket(ctx context.Context, network, address string) (net.PacketConn, error) {
	var lc net.ListenConfig
	return lc.ListenPacket(ctx, network, address)
}

func (realNetwork) Listen(ctx context.Context, network, address string) (net.Listener, error) {
	var lc net.ListenConfig
	return lc.Listen(ctx, network, address)
}

func (realNetwork) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, network, address)
}

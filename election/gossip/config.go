package gossip

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/crypto/argon2"

	"github.com/l2vip/l2vip/internal/conferr"
)

const (
	defaultCluster       = "l2vip"
	defaultPort          = 7946
	defaultProbeInterval = 100 * time.Millisecond

	// maxName bounds the names of members, in bytes: that of a DNS name.
	maxName = 255
	// maxCluster bounds the cluster's name, in bytes, so that it fits into
	// the label of every datagram.
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

// Config is what [New] needs. The zero value is a cluster that nobody is
// looked for in: others may join this member, or [Gossip.Meet] tell of them.
type Config struct {
	// Peers are the members to join: a host or host:port each, where the host
	// is an address or a DNS name that is resolved again at each attempt. The
	// member's own address may be among them, so that all members can have
	// the same list. One peer that is alive is enough to find all others;
	// peers that are missing are tried again at least every quarter of a
	// second. Empty means that this member waits to be joined, or to be told of
	// others by [Gossip.Meet].
	Peers []string

	// Cluster is the cluster's name, at most 128 bytes. Members of different
	// clusters never see each other. Empty means "l2vip".
	Cluster string

	// Address is where to listen, without a zone. The zero value means all
	// addresses.
	Address netip.Addr

	// Advertise is the address under which the others reach this member. The
	// zero value means Address if that is set to one address, else the local
	// address from which the first peer is reached, found by asking Network for
	// a connected UDP socket on which nothing is sent. Without peers the
	// default route decides.
	Advertise netip.Addr

	// Port is the UDP and TCP port, here and where Peers name none. Zero
	// means 7946.
	Port int

	// Key encrypts and authenticates everything with AES-GCM: 16, 24 or 32
	// bytes. All members need the same. Empty means no encryption, unless a
	// Passphrase is given; then whoever reaches the port may join.
	Key []byte

	// Passphrase is a secret of any length in place of a Key, which is derived
	// from it and from Cluster with Argon2id. Empty means none.
	Passphrase string

	// ProbeInterval is the time between two probes by a member, and so
	// scales everything: see [Gossip.Detection]. Zero means 100 ms. Less than
	// 50 ms tends to declare members dead that are only busy. It must be the
	// same on all members.
	ProbeInterval time.Duration

	// Logger gets members that join and leave at level Info, what an operator
	// should look at (name conflicts, strangers) at Warn, and the rest at
	// Debug. Nil discards.
	Logger *slog.Logger

	// Network opens the sockets. Nil means the real network.
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
	if c.Cluster == "" {
		c.Cluster = defaultCluster
	}
	switch {
	case len(c.Cluster) > maxCluster:
		errs.Addf("Cluster", "%d bytes long, more than %d", len(c.Cluster), maxCluster)
	case !utf8.ValidString(c.Cluster):
		errs.Addf("Cluster", "%q is not UTF-8", c.Cluster)
	}

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
		errs.Addf("Advertise", "nobody is reached at %v", c.Advertise)
	}

	switch len(c.Key) {
	case 0, 16, 24, 32:
	default:
		errs.Addf("Key", "%d bytes long; AES takes 16, 24 or 32", len(c.Key))
	}
	if len(c.Key) > 0 && c.Passphrase != "" {
		errs.Addf("Passphrase", "set together with Key; one of them is the secret")
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
		place := p
		place.text = ""
		if !seen[place] {
			seen[place] = true
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
		if p.host == "" || strings.ContainsAny(p.host, " \t\r\n/") || len(p.host) > maxName {
			return peer{}, fmt.Errorf("%q names no host", text)
		}
		return p, nil
	}
	addr = addr.Unmap()
	if err := unsuitable(addr); err != nil {
		return peer{}, err
	}
	if addr.IsUnspecified() {
		return peer{}, fmt.Errorf("nobody is reached at %v", addr)
	}
	p.addr, p.host = netip.AddrPortFrom(addr, p.port), ""
	return p, nil
}

// probeTimeout is how long a member may take to answer a probe. Two of them and a
// round trip must be less than ProbeInterval.
func (c *Config) probeTimeout() time.Duration { return c.ProbeInterval * 3 / 10 }

// key returns the key of the cluster, or nil for no encryption. It takes its time.
func (c *Config) key() []byte {
	if c.Passphrase == "" {
		return c.Key
	}
	// Argon2id with the parameters that OWASP asks for at the least. They are
	// part of the protocol, as every member must find the same key.
	const passes, memoryKiB, lanes, size = 2, 19 * 1024, 1, 32
	salt := "github.com/l2vip/l2vip gossip 1\x00" + c.Cluster
	return argon2.IDKey([]byte(c.Passphrase), []byte(salt), passes, memoryKiB, lanes, size)
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
		// Addresses for documentation: nobody is there, but the default
		// route leads to them. Nothing is sent.
		targets = []string{"192.0.2.1:9", "[2001:db8::1]:9"}
	}
	var errs []error
	for _, target := range targets {
		addr, err := c.source(ctx, target)
		if err == nil {
			return addr, nil
		}
		errs = append(errs, err)
	}
	return netip.Addr{}, fmt.Errorf("gossip: no local address to advertise, set Advertise: %w", errors.Join(errs...))
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

package announce

import (
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/l2vip/l2vip/internal/conferr"
)

// ConfigError is one thing that is wrong with a configuration, with the path of
// the field.
type ConfigError = conferr.Error

// Bind says how the kernel is made to accept traffic for the addresses.
type Bind uint8

const (
	// Loopback binds every assigned address to lo as a /32 or /128, held or
	// not, so that nothing but answers has to change in a failover. The kernel
	// never answers for these addresses: for IPv4
	// net.ipv4.conf.all.arp_ignore=1 and arp_announce=2 are set and read back
	// before the first address is bound, and looked at each second. It does not
	// choose them as a source by itself either, unless the host has nothing
	// better: an IPv6 host with link-local addresses only (RFC 6724 section 5,
	// rule 2). A process that is killed leaves its addresses bound but
	// unanswered; the next one on the host finds and keeps or removes them. On
	// a host with an address bound, clients always reach the host's own
	// application.
	Loopback Bind = iota
	// Interface binds an address as a /32 or /128 to the interfaces that announce it,
	// only while it is answered and the lease holds, for 3 seconds at a time.
	// It is weaker than Loopback: the kernel answers ARP by itself, so a
	// process that is killed or stopped is answered for until the kernel lets
	// the address expire, and the kernel may use the address as a source.
	Interface
	// None binds nothing: the program does it itself, or another host behind
	// this one accepts the traffic.
	None
)

// String returns the name of the mode.
func (b Bind) String() string {
	switch b {
	case Loopback:
		return "loopback"
	case Interface:
		return "interface"
	case None:
		return "none"
	}
	return fmt.Sprintf("bind %d", uint8(b))
}

// What the fields of a zero Config stand for.
const (
	DefaultRefresh    = time.Minute
	DefaultRivalProbe = 10 * time.Second
	DefaultBurst      = 16384
	DefaultRate       = 20000
)

// Config configures an Announcer. The zero value is a good default.
type Config struct {
	// Bind says how the kernel is made to accept traffic for the addresses.
	// The zero value is Loopback.
	Bind Bind
	// Refresh is how long after the repeats of a claim, and then how often, an
	// address that is held is announced again, because switches forget. Each
	// period is spread by a quarter of it at random. Zero stands for
	// DefaultRefresh.
	Refresh time.Duration
	// RivalProbe is how often at the least an address that is held is probed
	// for, because another station that has it, too, may never speak up by
	// itself. Each period is shortened by up to a quarter at random. Zero stands
	// for DefaultRivalProbe.
	RivalProbe time.Duration
	// Burst is how many announcements may be sent without a pause, and Rate how
	// many a second in the long run, over all addresses and interfaces. An
	// announcement is two ARP frames or one neighbor advertisement. The first
	// announcement of every address comes before the second of any. Zero stands
	// for DefaultBurst and DefaultRate.
	Burst, Rate int
	// Router sets the router flag of neighbor advertisements (RFC 4861 section
	// 4.4): the addresses are those of a router, which hosts use as their
	// gateway.
	Router bool
	// Logger takes what happens. Nil discards it.
	Logger *slog.Logger
}

// validate returns everything that is wrong with the configuration.
func (c *Config) validate() error {
	var errs conferr.List
	if c.Bind > None {
		errs.Addf("Bind", "%d is no way to bind: Loopback, Interface or None", c.Bind)
	}
	if c.Refresh < 0 {
		errs.Addf("Refresh", "%v is negative", c.Refresh)
	}
	if c.RivalProbe < 0 {
		errs.Addf("RivalProbe", "%v is negative", c.RivalProbe)
	}
	if c.Burst < 0 {
		errs.Addf("Burst", "%d is negative", c.Burst)
	}
	if c.Rate < 0 {
		errs.Addf("Rate", "%d is negative", c.Rate)
	}
	return errs.Err()
}

// CapabilityError says which capability the process lacks, and for what. It
// wraps [os.ErrPermission].
type CapabilityError struct {
	Capability string // as in capabilities(7): "CAP_NET_RAW"
	Op         string // what could not be done
	Err        error  // what the kernel said
}

// Error names the capability and what it is needed for.
func (e *CapabilityError) Error() string {
	return fmt.Sprintf("%s: %v (%s is missing)", e.Op, e.Err, e.Capability)
}

// Unwrap returns what the kernel said and os.ErrPermission.
func (e *CapabilityError) Unwrap() []error { return []error{e.Err, os.ErrPermission} }

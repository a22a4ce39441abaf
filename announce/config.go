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
	// Loopback binds every assigned address to lo as a /32 with host scope,
	// held or not, so that nothing but answers has to change in a failover.
	// The kernel never answers ARP for these addresses and never uses them as
	// a source by itself: net.ipv4.conf.all.arp_ignore=1 and arp_announce=2
	// are set and read back before the first address is bound. A process that
	// is killed leaves its addresses bound but unanswered; the next one on the
	// host finds and keeps or removes them. On a host with an address bound,
	// clients always reach the host's own application.
	Loopback Bind = iota
	// Interface binds an address as a /32 to the interfaces that announce it,
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

// DefaultRefresh is the Refresh of a zero Config.
const DefaultRefresh = time.Minute

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

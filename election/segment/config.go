package segment

import (
	"log/slog"
	"time"

	"github.com/l2vip/l2vip/internal/conferr"
)

// ConfigError is one thing that is wrong with a [Config].
type ConfigError = conferr.Error

// The defaults of a zero Config.
const (
	DefaultInterval = 2 * time.Millisecond
	DefaultMisses   = 5
	DefaultIdle     = 100 * time.Millisecond
)

// The bounds of an interval.
const (
	MinInterval = 500 * time.Microsecond
	MaxInterval = 10 * time.Second
)

// MaxLease bounds for how long a beat lets its sender act. See State.
const MaxLease = time.Minute

// MaxOffer bounds an offer in its form on the wire, in bytes.
const MaxOffer = 4 << 20

const minMisses, maxMisses = 2, 100

// Config is what [New] needs. The zero value is good for a network where frames
// take less than a millisecond.
type Config struct {
	// Interval is the time between two beats of a member that holds addresses, from
	// MinInterval to MaxInterval. The others learn it from the beats. If zero, it is
	// DefaultInterval.
	Interval time.Duration
	// Misses is how many intervals must pass without a beat before a member is
	// suspected, from 2 to 100. If zero, it is DefaultMisses.
	Misses int
	// Idle is the time between two beats of a member that holds nothing, from
	// Interval to MaxInterval. If zero, it is DefaultIdle, or Interval if that is
	// longer.
	Idle time.Duration
	// Ethernet is the way to the links. If nil, it is the kernel's packet sockets,
	// which there are on Linux only.
	Ethernet Ethernet
	// Logger gets what an operator may want to see. It is called on the thread that
	// beats and must not block. If nil, nothing is logged.
	Logger *slog.Logger
}

// settle fills in the defaults, or returns all that is wrong.
func (c *Config) settle() error {
	var errs conferr.List
	if c.Interval == 0 {
		c.Interval = DefaultInterval
	}
	if c.Misses == 0 {
		c.Misses = DefaultMisses
	}
	if c.Idle == 0 {
		c.Idle = max(DefaultIdle, c.Interval)
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Interval < MinInterval || c.Interval > MaxInterval {
		errs.Addf("Interval", "%v is not between %v and %v", c.Interval, MinInterval, MaxInterval)
	}
	if c.Misses < minMisses || c.Misses > maxMisses {
		errs.Addf("Misses", "%d is not between %d and %d", c.Misses, minMisses, maxMisses)
	}
	if c.Idle < c.Interval || c.Idle > MaxInterval {
		errs.Addf("Idle", "%v is not between the interval of %v and %v", c.Idle, c.Interval, MaxInterval)
	}
	return errs.Err()
}

// Detection returns how long after its last beat a member that holds addresses is
// found to be unreachable, if it is: the misses, and the time for the others to
// answer. The last beat is up to an interval older than the failure, and each thread
// that takes part may be late. It is zero if the configuration is wrong.
func (c Config) Detection() time.Duration {
	if c.settle() != nil {
		return 0
	}
	return patience(c.Interval, c.Misses) + askTime(c.Interval)
}

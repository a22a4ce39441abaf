package heartbeat

import (
	"log/slog"
	"time"
	"unicode/utf8"

	"github.com/l2vip/l2vip/internal/conferr"
)

// ConfigError is one thing that is wrong with a [Config].
type ConfigError = conferr.Error

// The defaults of a zero Config.
const (
	DefaultCluster  = "l2vip"
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

const (
	// The bounds of what a frame has room for, and of what makes sense.
	maxName, maxCluster  = 512, 128
	minMisses, maxMisses = 2, 100
)

// Config is what [New] needs. The zero value is good for a network where frames
// take less than a millisecond.
type Config struct {
	// Cluster is the cluster's name, at most 128 bytes. Members of different
	// clusters don't see each other. Empty stands for DefaultCluster.
	Cluster string
	// Key authenticates the frames: at least 16 bytes, alike on all members.
	// Nil leaves them open to everybody on the segment, as ARP is.
	Key []byte
	// Interval is the time between two beats of a member that holds addresses,
	// from half a millisecond on. The others learn it from the beats. Zero stands
	// for DefaultInterval.
	Interval time.Duration
	// Misses is how many intervals must pass without a beat before the others
	// begin to ask for the member, at least 2. Zero stands for DefaultMisses.
	Misses int
	// Idle is the time between two beats of a member that holds nothing. Zero
	// stands for DefaultIdle.
	Idle time.Duration
	// Logger gets what an operator may want to see. Nil discards it.
	Logger *slog.Logger
}

// settle fills in the defaults, or returns all that is wrong.
func (c *Config) settle() error {
	var errs conferr.List
	if c.Cluster == "" {
		c.Cluster = DefaultCluster
	}
	switch {
	case len(c.Cluster) > maxCluster:
		errs.Addf("Cluster", "%d bytes long, more than %d", len(c.Cluster), maxCluster)
	case !utf8.ValidString(c.Cluster):
		errs.Addf("Cluster", "%q is not UTF-8", c.Cluster)
	}
	if c.Key != nil && len(c.Key) < 16 {
		errs.Addf("Key", "%d bytes long, fewer than 16", len(c.Key))
	}
	if c.Interval == 0 {
		c.Interval = DefaultInterval
	}
	if c.Misses == 0 {
		c.Misses = DefaultMisses
	}
	if c.Idle == 0 {
		c.Idle = max(DefaultIdle, c.Interval)
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

// threshold is after how long without a beat a member is asked for.
func threshold(interval time.Duration, misses int) time.Duration {
	return interval * time.Duration(misses)
}

// askTime is for how long the others may answer, on a network where beats come at
// that interval: a couple of milliseconds for the fastest.
func askTime(interval time.Duration) time.Duration {
	return min(max(interval, 2*time.Millisecond), 40*time.Millisecond)
}

// Detection returns how long after its last beat a member that holds addresses is
// taken for dead, if it is: the misses, and the time for the others to answer. The
// last beat is up to an interval older than the failure, and each thread that
// takes part may be late.
func (c Config) Detection() time.Duration {
	if c.settle() != nil {
		return 0
	}
	return threshold(c.Interval, c.Misses) + askTime(c.Interval)
}

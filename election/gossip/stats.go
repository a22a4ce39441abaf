package gossip

import (
	"errors"
	"log/slog"
	"maps"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// Stats counts what happened since [Gossip.Run] began.
type Stats struct {
	// Members is the number of live members now, this one not included.
	Members int
	// Joins and Leaves count members that came and went, for whatever reason.
	Joins, Leaves uint64
	// Restarts counts members that were seen to start again, with a new instance, while
	// they were live.
	Restarts uint64
	// Offers counts the offers of others that were taken.
	Offers uint64
	// Conflicts counts how often a member had the name of another or of this one.
	Conflicts uint64
	// Dropped counts what came from the network and was not taken, by reason.
	Dropped Dropped
}

// Dropped counts what came from the network and was not taken, by reason. What is counted
// is a datagram, a stream or an offer within one.
type Dropped struct {
	Foreign     uint64 // not of l2vip
	Version     uint64 // of a major version that is not known
	Cluster     uint64 // of another cluster
	Key         uint64 // of a member that has no key in common, or the one none and the other some
	Forged      uint64 // not made with the key that it names: forged or changed
	Misdirected uint64 // for another member, or sent back to its sender
	Replayed    uint64 // that had come before
	Unproven    uint64 // from what has not shown that it is there now, and was asked to
	Future      uint64 // of a start more than a day ahead of this host's clock
	Stale       uint64 // of an earlier start, or an offer older than the one that is known
	Malformed   uint64 // broken
	Unknown     uint64 // from or about a member that is not live
	TooLarge    uint64 // larger than anything that members send
	Overloaded  uint64 // too many streams, members, sources or bytes at once
	Slow        uint64 // a stream that took too long
}

// reason is why something was dropped.
type reason int

const (
	taken reason = iota // it was not
	dropForeign
	dropVersion
	dropCluster
	dropKey
	dropForged
	dropMisdirected
	dropReplayed
	dropUnproven
	dropFuture
	dropStale
	dropMalformed
	dropUnknown
	dropTooLarge
	dropOverloaded
	dropSlow
	dropConflict // two members of one name: not counted here
	reasons
)

// remarkable says of the reasons worth a warning what they mean. The others belong to
// normal operation.
var remarkable = [reasons]string{
	dropForeign:     "dropped something that is not of l2vip",
	dropVersion:     "dropped a message of an unknown major version",
	dropCluster:     "dropped a message of another cluster",
	dropKey:         "dropped a message of a member with other keys",
	dropForged:      "dropped a message that is not authentic",
	dropMisdirected: "dropped a message for another member",
	dropReplayed:    "dropped a message that had come before",
	dropFuture:      "dropped a message of a member whose clock is more than a day ahead",
	dropMalformed:   "dropped a malformed message",
	dropTooLarge:    "dropped a message that is too large",
	dropOverloaded:  "dropped a message under too much load",
	dropSlow:        "ended a stream that took too long",
}

// reasonOf returns why what an error is about is dropped, or taken if it says nothing of
// that.
func reasonOf(err error) reason {
	for i, known := range []error{errForeign, errVersion, errCluster, errKey, errForged, errMalformed, errTooLarge, errOverloaded} {
		if errors.Is(err, known) {
			return []reason{dropForeign, dropVersion, dropCluster, dropKey, dropForged, dropMalformed, dropTooLarge, dropOverloaded}[i]
		}
	}
	return taken
}

const (
	// warnPause is how long the same warning about one source is not repeated, and
	// maxWarnings how many there are in that time.
	warnPause, maxWarnings = time.Minute, 128
)

// counters are the Stats while they grow.
type counters struct {
	joins, leaves, restarts, offers, conflicts atomic.Uint64

	dropped [reasons]atomic.Uint64

	mu     sync.Mutex
	warned map[warning]time.Time
}

// warning is what is told once in a while.
type warning struct {
	why  reason
	from netip.Addr
	name string // instead
}

// mayWarn reports whether a warning is due.
func (c *counters) mayWarn(w warning) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if at, told := c.warned[w]; told && now.Sub(at) < warnPause {
		return false
	}
	if len(c.warned) >= maxWarnings {
		maps.DeleteFunc(c.warned, func(_ warning, at time.Time) bool { return now.Sub(at) >= warnPause })
	}
	if c.warned == nil {
		c.warned = make(map[warning]time.Time)
	}
	if len(c.warned) < maxWarnings {
		c.warned[w] = now
		return true
	}
	return false
}

// drop counts something that is not taken, and warns of it now and then. After "from" in
// args stands the address that it comes from.
func (c *counters) drop(log *slog.Logger, why reason, args ...any) {
	c.dropped[why].Add(1)
	text := remarkable[why]
	if text == "" {
		return
	}
	var from netip.Addr
	for i := 0; i+1 < len(args); i += 2 {
		if args[i] == "from" {
			from, _ = args[i+1].(netip.Addr)
		}
	}
	if c.mayWarn(warning{why: why, from: from}) {
		log.Warn(text, args...)
	}
}

// read returns the counters as Stats.
func (c *counters) read(members int) Stats {
	d := func(why reason) uint64 { return c.dropped[why].Load() }
	return Stats{
		Members:   members,
		Joins:     c.joins.Load(),
		Leaves:    c.leaves.Load(),
		Restarts:  c.restarts.Load(),
		Offers:    c.offers.Load(),
		Conflicts: c.conflicts.Load(),
		Dropped: Dropped{
			d(dropForeign), d(dropVersion), d(dropCluster), d(dropKey), d(dropForged), d(dropMisdirected), d(dropReplayed), d(dropUnproven),
			d(dropFuture), d(dropStale), d(dropMalformed), d(dropUnknown), d(dropTooLarge), d(dropOverloaded), d(dropSlow),
		},
	}
}

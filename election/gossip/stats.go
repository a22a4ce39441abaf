package gossip

import (
	"log/slog"
	"sync/atomic"
	"time"
)

// Stats counts what happened since [Gossip.Run] began.
type Stats struct {
	// Members is the number of live members now, this one not included.
	Members int
	// Joins and Leaves count members that came and went, for whatever reason.
	Joins, Leaves uint64
	// Restarts counts members that were seen to start again, with a new
	// instance, while they were live.
	Restarts uint64
	// Offers counts the offers of others that were taken.
	Offers uint64
	// Conflicts counts the messages in which a member had the name of another
	// or of this one.
	Conflicts uint64
	// Dropped counts what came from the network and was not taken, by reason.
	Dropped Dropped
}

// Dropped counts what came from the network and was not taken, by reason. What
// is counted is a datagram, a stream or an offer within one.
type Dropped struct {
	Foreign    uint64 // not of l2vip
	Version    uint64 // of a major version that is not known
	Cluster    uint64 // of another cluster
	Key        uint64 // encrypted with another key, or not although a key is set, or the reverse
	Malformed  uint64 // broken
	Unknown    uint64 // from or about a member that is not live
	Stale      uint64 // an offer older than the one that is known
	TooLarge   uint64 // larger than anything that members send
	Overloaded uint64 // too many streams or members at once
}

// reason is why something was dropped.
type reason int

const (
	dropForeign reason = iota
	dropVersion
	dropCluster
	dropKey
	dropMalformed
	dropUnknown
	dropStale
	dropTooLarge
	dropOverloaded
	reasons
)

// remarkable says of the reasons worth a warning what they mean. The others
// belong to normal operation.
var remarkable = [reasons]string{
	dropForeign:    "dropped something that is not of l2vip",
	dropVersion:    "dropped a message of an unknown major version",
	dropCluster:    "dropped a message of another cluster",
	dropKey:        "dropped a message with another key or none",
	dropMalformed:  "dropped a malformed message",
	dropTooLarge:   "dropped a message that is too large",
	dropOverloaded: "dropped a message under too much load",
}

// warnPause is how long the same warning is not repeated.
const warnPause = time.Minute

// counters are the Stats while they grow.
type counters struct {
	joins, leaves, restarts, offers, conflicts atomic.Uint64

	dropped [reasons]atomic.Uint64
	warned  [reasons]atomic.Int64 // when, in nanoseconds
}

// drop counts something that is not taken, and warns of it now and then.
func (c *counters) drop(log *slog.Logger, why reason, args ...any) {
	c.dropped[why].Add(1)
	text := remarkable[why]
	if text == "" {
		return
	}
	now, last := time.Now().UnixNano(), c.warned[why].Load()
	if (last == 0 || now-last > int64(warnPause)) && c.warned[why].CompareAndSwap(last, now) {
		log.Warn(text, args...)
	}
}

// read returns the counters as Stats.
func (c *counters) read(members int) Stats {
	return Stats{
		Members:   members,
		Joins:     c.joins.Load(),
		Leaves:    c.leaves.Load(),
		Restarts:  c.restarts.Load(),
		Offers:    c.offers.Load(),
		Conflicts: c.conflicts.Load(),
		Dropped: Dropped{
			Foreign:    c.dropped[dropForeign].Load(),
			Version:    c.dropped[dropVersion].Load(),
			Cluster:    c.dropped[dropCluster].Load(),
			Key:        c.dropped[dropKey].Load(),
			Malformed:  c.dropped[dropMalformed].Load(),
			Unknown:    c.dropped[dropUnknown].Load(),
			Stale:      c.dropped[dropStale].Load(),
			TooLarge:   c.dropped[dropTooLarge].Load(),
			Overloaded: c.dropped[dropOverloaded].Load(),
		},
	}
}

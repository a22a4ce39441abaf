package gossip

import (
	"errors"
	"net/netip"
	"sync/atomic"

	"github.com/l2vip/l2vip/election"
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
	reasons
)

// refusals says why a host is refused whose messages are dropped for a reason. The others
// belong to normal operation.
var refusals = [reasons]string{
	dropForeign:     "not of l2vip",
	dropVersion:     election.OtherVersion,
	dropCluster:     "another cluster",
	dropKey:         election.OtherSecret,
	dropForged:      "not authentic",
	dropMisdirected: "for another member",
	dropReplayed:    "received before",
	dropFuture:      "a clock that is more than a day ahead",
	dropMalformed:   "malformed",
	dropTooLarge:    "too large",
	dropOverloaded:  "too much at once",
	dropSlow:        "too slow",
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

// counters are the Stats while they grow.
type counters struct {
	joins, leaves, restarts, offers, conflicts atomic.Uint64

	dropped [reasons]atomic.Uint64
}

// drop counts something that is not taken. The host that it comes from, if that is known,
// is refused.
func (e *engine) drop(why reason, from netip.Addr, args ...any) {
	e.count.dropped[why].Add(1)
	if text := refusals[why]; text != "" && from.IsValid() {
		e.local.Refuse(from.String(), text)
	}
	e.log.Debug("dropped a message", append([]any{"why", refusals[why], "from", from}, args...)...)
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

package segment

import (
	"errors"
	"sync/atomic"
)

// Stats counts what happened since the Segment was made. A row is a member on one
// link.
type Stats struct {
	Sent          uint64 // frames sent
	Suspicions    uint64 // rows whose beats were missing, so that the others were asked
	Stalled       uint64 // rows found to be stalled
	Ended         uint64 // rows found to have ended
	Vetoed        uint64 // rows that are missed here and were not given up: others hear them, or this member may be cut off
	Unreachable   uint64 // rows found to be unreachable
	Returns       uint64 // rows heard again after they had been given up
	Isolations    uint64 // times at which a link was found to be isolated
	Late          uint64 // times at which this process did not run in time
	OffersServed  uint64 // parts of this member's offer sent
	OffersArrived uint64 // offers of others that arrived

	// What was dropped, by reason.
	Foreign    uint64 // another protocol, version or cluster
	Malformed  uint64
	Forged     uint64 // authenticated with no key of the cluster
	Unproven   uint64 // of an instance that has not proven yet that it is alive now, there
	Replayed   uint64 // received before, or too old to tell
	Overtaken  uint64 // beats that arrived after a later one
	Reflected  uint64 // this member's own
	Overflow   uint64 // of more members than are remembered
	Unanswered uint64 // challenges of a station that sends too many
	BadOffers  uint64 // offers that are none, of another member, or not of one piece
	Unread     uint64 // frames that came faster than they were read, by way of Config.Ethernet

	// Namesakes counts the beats of other members with this one's name.
	Namesakes uint64
}

type counters struct {
	sent, suspicions, stalled, ended, vetoed, unreachable, returns, isolations, late, served, arrived atomic.Uint64

	foreign, malformed, forged, unproven, replayed, overtaken, reflected, overflow, unanswered, badOffers, unread, namesakes atomic.Uint64
}

func (c *counters) drop(err error) {
	switch {
	case errors.Is(err, errForeign):
		c.foreign.Add(1)
	case errors.Is(err, errForged):
		c.forged.Add(1)
	default:
		c.malformed.Add(1)
	}
}

func (c *counters) load() Stats {
	return Stats{
		Sent: c.sent.Load(), Suspicions: c.suspicions.Load(), Stalled: c.stalled.Load(), Ended: c.ended.Load(),
		Vetoed: c.vetoed.Load(), Unreachable: c.unreachable.Load(), Returns: c.returns.Load(),
		Isolations: c.isolations.Load(), Late: c.late.Load(), OffersServed: c.served.Load(), OffersArrived: c.arrived.Load(),
		Foreign: c.foreign.Load(), Malformed: c.malformed.Load(), Forged: c.forged.Load(), Unproven: c.unproven.Load(),
		Replayed: c.replayed.Load(), Overtaken: c.overtaken.Load(), Reflected: c.reflected.Load(), Overflow: c.overflow.Load(), Unanswered: c.unanswered.Load(),
		BadOffers: c.badOffers.Load(), Unread: c.unread.Load(), Namesakes: c.namesakes.Load(),
	}
}

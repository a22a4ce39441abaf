package heartbeat

import (
	"errors"
	"sync/atomic"
)

// Stats counts what happened since the Detector was made.
type Stats struct {
	Sent       uint64 // frames sent
	Suspicions uint64 // members whose beats were missing, so that the others were asked
	Excused    uint64 // of these: the member's kernel answered, so only its process did not run
	Gone       uint64 // of these: the member's kernel said that its process has ended
	Vetoed     uint64 // of these: others hear it, or this member may be cut off itself
	Deaths     uint64 // of these: reported as dead
	Revivals   uint64 // dead members that were heard again
	Late       uint64 // times at which this process did not run in time

	// Frames dropped, by reason.
	Foreign   uint64 // another protocol, version or cluster
	Malformed uint64
	Forged    uint64 // not authenticated with the cluster's key
	Unproven  uint64 // of an instance that has not proven yet that it is alive now
	Replayed  uint64 // not newer than what came before
	Namesakes uint64 // of another member with this one's name
	Unknown   uint64 // of more members than are remembered
}

type counters struct {
	sent, suspicions, excused, gone, vetoed, deaths, revivals, late    atomic.Uint64
	foreign, malformed, forged, unproven, replayed, namesakes, unknown atomic.Uint64
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
		Sent: c.sent.Load(), Suspicions: c.suspicions.Load(), Excused: c.excused.Load(), Gone: c.gone.Load(), Vetoed: c.vetoed.Load(),
		Deaths: c.deaths.Load(), Revivals: c.revivals.Load(), Late: c.late.Load(),
		Foreign: c.foreign.Load(), Malformed: c.malformed.Load(), Forged: c.forged.Load(), Unproven: c.unproven.Load(),
		Replayed: c.replayed.Load(), Namesakes: c.namesakes.Load(), Unknown: c.unknown.Load(),
	}
}

package core

import (
	"time"

	"github.com/l2vip/l2vip/announce"
)

// All delays of this package, each with what it follows from. TestDelays checks how
// they must lie to each other.
const (
	// disputePause is after how long an address that a foreign station uses is tried
	// again, and disputePauseMost the longest that doubling it leads to.
	disputePause     = time.Second
	disputePauseMost = time.Minute
	// backoffPause is the pause after two members have probed at once. It ends after
	// the probe of the other one, whose last frame may have been the one that was
	// heard, and which is announced or given up by then.
	backoffPause = 150 * time.Millisecond

	// conflictWait is for how long a member whose station claims an address may take
	// to tell that it holds it: three beats of a member that holds nothing.
	conflictWait = 300 * time.Millisecond
	// inFlightGrace is for how long frames of a member that does not hold an address
	// any more may still be on their way.
	inFlightGrace = time.Second
	// rejoinGrace is for how long a station that was a member's may take to become a
	// member again before it is a foreign station: on a segment that heals, stations
	// hear each other before members do.
	rejoinGrace = 1400 * time.Millisecond
	// defendInterval is the least time between two defenses of an address:
	// DEFEND_INTERVAL of RFC 5227 section 2.4.
	defendInterval = 10 * time.Second
	// conflictOver is after how long a station that is not sighted any more is gone:
	// three of the announcer's probes and a half.
	conflictOver = announce.DefaultRivalProbe * 7 / 2

	// announceAgainPause is the least time between two announcements by which a holder
	// that stays has the last word.
	announceAgainPause = time.Second

	// countHold is for how long more members must be seen before a holder says so in
	// its offer, which then would no longer tell what it saw while two holders were
	// apart. isolatedHold is for how long a holder that hears stations again still
	// says that it was isolated: until members must have met.
	countHold    = 10 * time.Second
	isolatedHold = 10 * time.Second
	// aloneAfter is after how long a node that hears no station, and knows of none
	// but the members that it misses, takes it that nothing is there.
	aloneAfter = time.Second

	// resyncTimeout is for how long a node whose lease ran out waits to hear from the
	// other members: by then they have judged it.
	resyncTimeout = time.Second

	// beatsMissingAfter is for how long a member must be live for the membership alone,
	// though its host is heard, before people are told: the membership notices a process
	// that stopped before that.
	beatsMissingAfter = 3 * time.Second

	// heardBack is for how long after its first beat on a link a member may not know
	// yet whether the others hear it: three beats of a member that holds nothing.
	heardBack = 300 * time.Millisecond
	// A link that fails within flapWindow after it has come up is damped: it counts
	// again after dampFirst, and twice as long each time up to dampMost.
	flapWindow = 30 * time.Second
	dampFirst  = 2 * time.Second
	dampMost   = 30 * time.Second
)

// rejoinHold is for how long a link that has come up is no reason to be a candidate:
// in that time the node hears each member, and is heard, where that is possible.
func rejoinHold(detection time.Duration) time.Duration { return detection + heardBack }

// disputedFor is the pause after that many disputes in a row, the last included.
func disputedFor(disputes int) time.Duration {
	return min(disputePause<<min(disputes-1, 10), disputePauseMost)
}

// dampedFor is for how long a link is damped that has failed soon so many times.
func dampedFor(fails int) time.Duration { return min(dampFirst<<min(fails-1, 10), dampMost) }

package segment

import "time"

// All delays, with their formulas. A test checks how they relate.
const (
	// startTime is the time of a core when it starts: what is zero was never.
	startTime = 2 * forgetAfter
	// retryOpen is the pause before a link that could not be opened is tried again.
	retryOpen = time.Second
	// reviewEvery is how often everything is looked at when nothing is due.
	reviewEvery = time.Second

	// extraBeat is the least time between a beat and one that was asked for.
	extraBeat = MinInterval
	// listBeat is the least time between a beat and one because the list of the
	// members that are heard has changed.
	listBeat = 10 * time.Millisecond

	// newsBeats is how many beats in a row are marked as telling something new, should
	// one be lost.
	newsBeats = 3

	// maxTries is how often others are asked again that are heard and do not answer.
	maxTries = 2
	// recheck is after how many patiences a member that stalled or ended is looked
	// at again.
	recheck = 5
	// provokeLeast is the least time between two attempts to get a sign of life from
	// any station: it is for all members that are asked for.
	provokeLeast = MinInterval
	// provokeEvery is the time between two attempts of an isolated member to get a
	// sign of life from any station.
	provokeEvery = 250 * time.Millisecond

	// lonelyEvery is the same for one that hears no member on a link: it must learn when
	// it hears no other station either.
	lonelyEvery = time.Second

	// challengeEvery is the least time between two challenges for one row.
	challengeEvery = 20 * time.Millisecond
	// handshakeFor is for how long after a challenge its proof is waited for.
	handshakeFor = time.Second
	// provePerSecond is how many challenges of one station are answered.
	provePerSecond = 50

	// requestFirst is the time before an offer is asked for again; it doubles up to
	// requestMost while nothing comes, and up to a quarter of it is added by chance.
	requestFirst = 10 * time.Millisecond
	requestMost  = 200 * time.Millisecond
	// serveEvery is the least time before a part of an offer is sent again on a link.
	serveEvery = 2 * time.Millisecond

	// forgetAfter is after how long without a beat a member is forgotten.
	forgetAfter = time.Hour
)

// patience is after how long without a beat a member is suspected that holds
// addresses.
func patience(interval time.Duration, misses int) time.Duration {
	return interval * time.Duration(misses)
}

// idlePatience is the same for one that holds nothing: its beats are rare, so two of
// them must do. A node learns from them that it is cut off itself, and that must not
// take much longer than to miss a holder. own is the interval of this member.
func idlePatience(interval, own time.Duration, misses int) time.Duration {
	return max(2*interval, patience(min(interval, own), misses))
}

// missingAfter is after how long without a beat a member tells others that it misses
// another one, too: one beat that was lost must not make it agree that it is gone.
func missingAfter(interval, patience time.Duration) time.Duration {
	return max(patience*3/4, interval*3/2)
}

// askTime is for how long the others may answer, on a network where beats come at
// that interval: a couple of milliseconds for the fastest.
func askTime(interval time.Duration) time.Duration {
	return min(max(interval, 2*time.Millisecond), 40*time.Millisecond)
}

// listTime is for how long a member that is heard may take to list this one among
// those that it hears: some of this one's beats may be lost, and then its own next
// beat has to come.
func listTime(own, its time.Duration) time.Duration {
	return max(5*own+2*its, 300*time.Millisecond)
}

// lateness is by how much the thread was late on average, where what is long ago
// counts less and less.
type lateness struct{ average time.Duration }

func (l *lateness) note(late time.Duration) {
	const share = 16
	l.average += (min(late, MaxInterval) - l.average) / share
}

// usual returns an interval that the thread mostly keeps.
func (l *lateness) usual() time.Duration { return 4 * l.average }

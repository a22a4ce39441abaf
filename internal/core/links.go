package core

import (
	"slices"
	"time"

	"github.com/l2vip/l2vip/announce"
	"github.com/l2vip/l2vip/election"
	"github.com/l2vip/l2vip/election/segment"
)

// link is what is known of an interface of this host over time.
type link struct {
	name  string
	index int
	up    bool
	since time.Duration // when it last came up, or went down
	fails int           // how often in a row it has failed soon after it came up
	// returned says that it has come up after it was away.
	returned bool
	// joiningUntil and dampedUntil are until when it is no reason to be a candidate.
	joiningUntil, dampedUntil time.Duration
	// isolated is since when no other station is heard on it; zero if one is.
	isolated time.Duration
	// stations says that other stations than members were ever known on it.
	stations bool
	// alone says that no station is there that could be heard.
	alone bool
	// unheard says that none of the members that are heard on it hears this node.
	unheard bool
}

// reason returns why a node is no candidate for an address on the link, or Offered.
func (l *link) reason(now time.Duration) election.Reason {
	switch {
	case now < l.dampedUntil:
		return election.Damped
	case now < l.joiningUntil:
		return election.Joining
	case l.isolated > 0 && !l.alone:
		return election.Isolated
	case l.unheard:
		return election.Unheard
	}
	return election.Offered
}

// links returns the links of this host after those before.
func (s *step) links(before []link) []link {
	if s.Facts == nil {
		return before
	}
	var after []link
	for i := range s.Facts.Links {
		f := &s.Facts.Links[i]
		// One that is renamed is the same; another one under its name is not.
		var l link
		at := slices.IndexFunc(before, func(l link) bool { return l.index == f.Index && f.Index != 0 })
		if at < 0 {
			at = slices.IndexFunc(before, func(l link) bool { return l.name == f.Name })
		}
		if at >= 0 {
			l = before[at]
			l.up = l.up && l.index == f.Index
		}
		l.name, l.index = f.Name, f.Index
		s.follow(&l, f, at >= 0 || s.before.factsAt > 0)
		after = append(after, l)
	}
	return after
}

// follow changes the link to what the announcer and the segment tell of it. later
// tells that it is not there since the start.
func (s *step) follow(l *link, f *announce.Link, later bool) {
	switch up := f.Problem == ""; {
	case up && !l.up:
		if l.returned = later && !s.Settings.Alone; l.returned {
			l.joiningUntil = s.Now + rejoinHold(s.detection())
			if s.byMembership() {
				l.joiningUntil += resyncTimeout // unless an exchange succeeds before
			}
		}
		if l.fails > 0 {
			l.dampedUntil = s.Now + dampedFor(l.fails)
		}
		l.up, l.since = true, s.Now
	case !up && l.up:
		// The first time a link fails is nothing to hold against it.
		if l.returned && s.Now-l.since < flapWindow {
			l.fails++
		} else {
			l.fails = 0
		}
		l.up, l.since = false, s.Now
	}
	if s.byMembership() && s.Synced >= l.since {
		l.joiningUntil = min(l.joiningUntil, l.since+rejoinHold(s.detection()))
	}
	heard := s.heardOn(l.index)
	switch {
	case heard == nil || !heard.Isolated:
		l.isolated, l.alone = 0, false
	case l.isolated == 0:
		l.isolated = s.Now
	}
	l.stations = l.stations || heard != nil && heard.Stations
	if l.isolated > 0 {
		l.alone = !l.stations && s.Now >= l.isolated+aloneAfter && !s.expected(l.index)
		s.wakeAt(l.isolated + aloneAfter)
	}
	l.unheard = heard != nil && heard.Unheard
	s.wakeAt(l.joiningUntil)
	s.wakeAt(l.dampedUntil)
}

// detection is within what time a silent member is taken for dead: by the segment, or
// by the membership where no member is heard on a segment.
func (s *step) detection() time.Duration {
	if s.byMembership() {
		return s.Membership.Detection
	}
	return s.Settings.Detection
}

// byMembership reports whether it is the membership alone that tells of other members.
func (s *step) byMembership() bool { return s.Settings.Detection == 0 && s.Membership != nil }

// linkWantsSync reports whether a link has come up since the last exchange with the
// membership, without which it is not known what happened meanwhile.
func (s *step) linkWantsSync() bool {
	return s.byMembership() && slices.ContainsFunc(s.after.links, func(l link) bool {
		return l.up && s.Now < l.joiningUntil && s.Synced < l.since
	})
}

// heardOn returns what the segment tells of a link of this host, or nil.
func (s *step) heardOn(index int) *segment.LinkReport {
	i := slices.IndexFunc(s.Segment.Links, func(l segment.LinkReport) bool { return l.Index == index })
	if i < 0 {
		return nil
	}
	return &s.Segment.Links[i]
}

// expected reports whether a member that was heard on the link is live for all that
// the membership knows.
func (s *step) expected(index int) bool {
	return slices.ContainsFunc(s.members, func(m Member) bool {
		return m.InMembership && m.Peer != nil && slices.ContainsFunc(m.Peer.Rows, func(r segment.Row) bool { return r.Link == index })
	})
}

// linkReason returns why a node is no candidate on all of the links with these
// names: Offered if one of them is good, or if there are none to judge by.
func (s *step) linkReason(names []string) election.Reason {
	first := election.Offered
	for _, name := range names {
		l := s.link(name)
		if l == nil {
			continue
		}
		why := l.reason(s.Now)
		if why == election.Offered {
			return why
		}
		if first == election.Offered {
			first = why
		}
	}
	return first
}

// link returns the link with the name, or nil.
func (s *step) link(name string) *link {
	for i := range s.after.links {
		if s.after.links[i].name == name {
			return &s.after.links[i]
		}
	}
	return nil
}

// isolatedOn reports whether no other station is heard on any of the links: as the
// segment tells, or the announcer, which does not know of members that beat.
func (s *step) isolatedOn(names []string) bool {
	for _, name := range names {
		l := s.link(name)
		at := slices.IndexFunc(s.Facts.Links, func(f announce.Link) bool { return f.Name == name })
		silent := at >= 0 && s.Facts.Links[at].Silent && !s.hearsMember(s.Facts.Links[at].Index)
		if !silent && (l == nil || l.isolated == 0) {
			return false
		}
	}
	return len(names) > 0
}

// hearsMember reports whether the beats of a member arrive on the link.
func (s *step) hearsMember(index int) bool {
	return slices.ContainsFunc(s.members, func(m Member) bool {
		return m.Peer != nil && slices.ContainsFunc(m.Peer.Rows, func(r segment.Row) bool { return r.Link == index && r.State == segment.Up })
	})
}

package core

import (
	"time"

	"github.com/l2vip/l2vip/election"
)

// ConflictClass is what another station is that claims an address.
type ConflictClass uint8

const (
	// NoConflict: there is none, or it is a member's that holds the address too, or
	// did until a moment ago: that is between the members.
	NoConflict ConflictClass = iota
	// ForeignStationConflict: it is no member's.
	ForeignStationConflict
	// MemberKernelConflict: it is that of a live member which does not hold the
	// address, so the kernel there answers for what is only bound.
	MemberKernelConflict
)

// Conflict is another station that claims an address which this node holds, or would
// claim. The zero value is that of an address without one.
type Conflict struct {
	Class   ConflictClass
	Station election.HardwareAddr
	// Member is the member whose station that is or was; empty if it is none's.
	Member string
	// Since and Last are when it was sighted for the first and the last time.
	Since, Last time.Duration

	asked    time.Duration // since when the member's next beat shall tell; zero if none shall
	cleared  time.Duration // when one last told that the member does not hold the address
	defended time.Duration // when the address was last defended
	told     bool
	tellFrom time.Duration // from when on people may be told
}

// watch decides about another station that claims an address which this node holds
// by right (RFC 5227 section 2.4).
func (s *step) watch(t *turn) {
	c := &t.Conflict
	if t.sighted {
		c.sight(s.Now, hardwareAddr(t.fact.Rival), s.after.stations)
	}
	if c.Since == 0 {
		return
	}
	if s.Now >= c.Last+conflictOver {
		if c.Class != NoConflict {
			s.tell(s.conflictTransition(ConflictOver, t))
		}
		*c = Conflict{}
		return
	}
	s.wakeAt(c.Last + conflictOver)

	before := c.Class
	if c.Member == "" {
		c.Class = ForeignStationConflict
	} else {
		s.classify(t)
	}
	if c.Class != before {
		c.told = false
	}
	if c.Class != NoConflict && !c.told {
		if s.Now >= c.tellFrom {
			c.told, c.tellFrom = true, s.Now+defendInterval
			if c.Class == ForeignStationConflict {
				s.tell(s.conflictTransition(ForeignStation, t))
			} else {
				s.tell(s.conflictTransition(KernelAnswers, t))
			}
		}
		s.wakeAt(c.tellFrom)
	}
	if c.Class == ForeignStationConflict {
		s.defend(t)
	}
}

// conflictTransition returns a transition about the station of a conflict.
func (s *step) conflictTransition(kind Kind, t *turn) Transition {
	tr := Transition{Kind: kind, Addr: t.info.Addr, Service: t.info.Service, Node: t.Conflict.Member, Station: t.Conflict.Station}
	switch kind {
	case ForeignStation:
		tr.Detail = t.info.advice()
	case KernelAnswers:
		tr.Detail = kernelAdvice(t.info)
	}
	return tr
}

// sight takes note of the station. What is owed to the neighbors and to people
// stands when another one appears, so a crowd of them causes no more than one.
func (c *Conflict) sight(now time.Duration, hw election.HardwareAddr, stations map[election.HardwareAddr]string) {
	if c.Since == 0 || c.Station != hw {
		*c = Conflict{Station: hw, Member: stations[hw], Since: now, defended: c.defended, tellFrom: c.tellFrom}
	}
	c.Last = now
}

// classify decides about a station that is or was a member's: the next beats tell
// what that member holds, and nothing else is done before.
func (s *step) classify(t *turn) {
	c := &t.Conflict
	e, known := s.after.View.Entry(c.Member, t.info.Addr)
	if known && e.Holds {
		c.asked, c.Class = 0, NoConflict // the rules for two holders apply
		return
	}
	if t.sighted && c.asked == 0 && (known || c.Class == NoConflict) && (c.cleared == 0 || s.Now >= c.cleared+inFlightGrace) {
		c.asked = s.Now
	}
	switch {
	case c.asked == 0:
	case s.Now < c.asked+conflictWait:
		s.wakeAt(c.asked + conflictWait)
	case known:
		// Neighbors may have believed it: have the last word. Once that is the end of
		// a hand-over or of a partition; again, it is not.
		if c.cleared > 0 {
			c.Class = MemberKernelConflict
		}
		c.asked, c.cleared = 0, s.Now
		if t.d.Holders <= 1 {
			t.announcement++
		}
	case s.Now < c.asked+rejoinGrace:
		s.wakeAt(c.asked + rejoinGrace)
	default:
		c.asked, c.Class = 0, ForeignStationConflict
	}
}

// defend announces the address once more against a foreign station, or yields to it.
func (s *step) defend(t *turn) {
	c := &t.Conflict
	if s.Settings.Yield {
		s.dispute(t, c.Station)
		return
	}
	if c.defended > 0 && c.Last <= c.defended {
		return
	}
	if again := c.defended + defendInterval; c.defended > 0 && s.Now < again {
		s.wakeAt(again)
		return
	}
	c.defended = s.Now
	t.Defenses++
	s.tell(s.conflictTransition(Defended, t))
}

// advice is what people can do about a foreign station.
func (a *Address) advice() string {
	if !a.Automatic {
		return ""
	}
	return "allocated automatically: exclude it from the pool, or take it away from that station"
}

// kernelAdvice is what people can do about a kernel that answers.
func kernelAdvice(a *Address) string {
	if a.Addr.Is4() {
		return "its kernel answers by itself: take the address off the interfaces there, and see that net.ipv4.conf.all.arp_ignore is 1"
	}
	return "its kernel answers by itself: take the address off the interface there"
}

// configuredAdvice is what people can do about an address on an interface of this node.
func configuredAdvice(name string) string {
	return "configured on " + name + " of this node, whose kernel answers for it whoever holds it: take it off there"
}

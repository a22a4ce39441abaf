package l2vip

import (
	"time"

	"github.com/l2vip/l2vip/announce"
	"github.com/l2vip/l2vip/election"
)

// This file decides what follows when another station claims an address that
// this node holds. Like plan.go it does nothing itself.

// rival is another station that claims an address which this node holds, or
// would claim. The zero value is that of an address without one.
type rival struct {
	hardware election.HardwareAddr
	member   string // whose hardware address that is or was; empty for a stranger's
	guilt    guilt
	since    time.Duration // when it was first sighted; zero if there is no rival
	last     time.Duration // and when last
	asked    time.Duration // since when an exchange shall tell what the member holds; zero if none shall
	absolved time.Duration // when one last told that the member does not hold the address
	defended time.Duration // when the address was last defended
	told     time.Duration // when people were told of it; zero if they were not
	tellFrom time.Duration // from when on they may be told
}

// guilt is what is held against a rival.
type guilt uint8

const (
	// noGuilt: it is a member's, which holds the address as well, or did until a
	// moment ago. That is between the members.
	noGuilt guilt = iota
	// aStranger: it is no member's that could be asked.
	aStranger
	// aKernel: it is a member's which does not hold the address, so the kernel
	// there answers for what is only bound.
	aKernel
)

const (
	// exchangePause is the least time between two exchanges because of rivals,
	// and exchangeTimeout is how long one may take.
	exchangePause, exchangeTimeout = time.Second, 200 * time.Millisecond
	// meeting is how long a rival that was a member may take to become one again
	// before it is taken for a stranger: on a segment that heals, stations hear
	// each other before members do. An exchange may have to wait for its turn.
	meeting = exchangePause + 2*exchangeTimeout
	// straggling is for how long frames of a member that does not hold an
	// address any more may still be on their way.
	straggling = time.Second
	// defendInterval is the least time between two defenses of an address:
	// DEFEND_INTERVAL of RFC 5227 section 2.4.
	defendInterval = 10 * time.Second
	// rivalGone is after how long a rival that is not sighted any more is gone:
	// three of the announcer's probes and a half.
	rivalGone = announce.DefaultRivalProbe * 7 / 2
)

// exchange is the last exchange with another member.
type exchange struct {
	began time.Duration // zero if there was none
	done  bool          // it is over, and has succeeded
}

// sighted reports whether another station has claimed the address since the plan
// before, and keeps how often it was said.
func (s *situation) sighted(pos *position, i int) bool {
	fact := s.matched[i]
	if fact == nil {
		return false
	}
	more := fact.Sightings > pos.sightings
	pos.sightings = fact.Sightings
	return more && pos.holds && fact.Mode == announce.Answer && len(fact.Rival) > 0
}

// watch decides about the rival of an address that this node holds by right.
func (s *situation) watch(p *plan, i int, d election.Decision, sighted bool) {
	pos := &p.positions[i]
	r := &pos.rival
	if sighted {
		r.sight(s.now, hardwareAddr(s.matched[i].Rival), p.stations)
	}
	if r.since == 0 {
		return
	}
	if s.now >= r.last+rivalGone {
		*r = rival{}
		return
	}
	p.wakeAt(s.now, r.last+rivalGone)

	before := r.guilt
	if r.member == "" {
		r.guilt = aStranger
	} else {
		s.judge(p, pos, d, sighted)
	}
	if r.guilt != before {
		r.told = 0
	}
	if r.guilt != noGuilt && r.told == 0 && s.now >= r.tellFrom {
		r.told, r.tellFrom = s.now, s.now+defendInterval
	}
	if r.guilt != noGuilt && r.told == 0 {
		p.wakeAt(s.now, r.tellFrom)
	}
	if r.guilt == aStranger {
		s.oppose(p, pos)
	}
}

// sight takes note of the station. What is owed to the neighbors and to people
// stands when another one appears, so a crowd of them causes no more than one.
func (r *rival) sight(now time.Duration, hw election.HardwareAddr, stations map[election.HardwareAddr]string) {
	if r.since == 0 || r.hardware != hw {
		*r = rival{hardware: hw, member: stations[hw], since: now, defended: r.defended, tellFrom: r.tellFrom}
	}
	r.last = now
}

// judge decides about a rival that is or was a member: what it holds is asked
// for, and nothing else is done until that is known.
func (s *situation) judge(p *plan, pos *position, d election.Decision, sighted bool) {
	r := &pos.rival
	e, known := p.view.Entry(r.member, d.Addr)
	offer, live := p.view.Offer(r.member)
	if sighted && r.asked == 0 && !e.Holds && (known || r.guilt == noGuilt) && (r.absolved == 0 || s.now >= r.absolved+straggling) {
		r.asked = s.now
	}
	if r.asked == 0 {
		return
	}
	switch {
	case known && s.exchange.done && s.exchange.began >= r.asked:
		r.asked = 0
		if e.Holds {
			r.guilt = noGuilt // the rule for two holders has been applied
			return
		}
		// Neighbors may have believed it: have the last word. Once that is the
		// end of a hand-over or of a partition; again, it is not.
		if r.absolved > 0 {
			r.guilt = aKernel
		}
		r.absolved = s.now
		if d.Holders == 1 {
			pos.claim++
		}
	case s.now < r.asked+meeting:
		p.wakeAt(s.now, r.asked+meeting)
		if s.exchange.began < r.asked {
			again := s.exchange.began + exchangePause
			p.exchange = p.exchange || s.exchange.began == 0 || s.now >= again
			p.wakeAt(s.now, again)
		}
	case known, live && offer.Instance == 0:
		r.asked = 0 // it does not answer: either it will, or it is no member for long
	default:
		r.asked, r.guilt = 0, aStranger
	}
}

// oppose defends the address against a stranger, or gives way to it.
func (s *situation) oppose(p *plan, pos *position) {
	r := &pos.rival
	if s.config.Strangers == Yield {
		s.giveWay(pos, r.hardware)
		p.wakeAt(s.now, pos.pausedUntil)
		return
	}
	if r.defended > 0 && r.last <= r.defended {
		return
	}
	if again := r.defended + defendInterval; r.defended > 0 && s.now < again {
		p.wakeAt(s.now, again)
		return
	}
	r.defended = s.now
	pos.defense++
}

// giveWay leaves the address to a stranger, for a while that grows with each time.
func (s *situation) giveWay(pos *position, hw election.HardwareAddr) {
	disputes := pos.disputes
	pos.withdraw()
	pos.disputes = disputes + 1
	pos.pausedUntil = s.now + min(disputePause<<min(disputes, 10), disputePauseMost)
	pos.rival = rival{hardware: hw, guilt: aStranger, since: s.now, last: s.now}
}

// silence is whether a holder was cut off: it heard no other station on any
// interface that it announces the address on. That stands for a while after it
// has heard one, because on a segment that heals stations hear each other before
// members do, and while two holders meet.
type silence struct {
	fell  bool
	heard time.Duration // since when it is over; zero if it is not
}

// next returns the silence after one in which nothing is or is not heard, and
// when time alone changes it.
func (q silence) next(now time.Duration, silent, contested bool) (next silence, wake time.Duration) {
	switch {
	case contested:
		return silence{fell: q.fell}, 0
	case silent:
		return silence{fell: true}, 0
	case !q.fell:
		return silence{}, 0
	case q.heard == 0:
		return silence{true, now}, now + membersHold
	case now < q.heard+membersHold:
		return q, q.heard + membersHold
	}
	return silence{}, 0
}

// silent reports whether no other station is heard on any interface that the
// address is announced on.
func (s *situation) silent(i int) bool {
	fact := s.matched[i]
	if len(s.silentLinks) == 0 || fact == nil || fact.Mode != announce.Answer || len(fact.Links) == 0 {
		return false
	}
	for _, name := range fact.Links {
		if !s.silentLinks[name] {
			return false
		}
	}
	return true
}

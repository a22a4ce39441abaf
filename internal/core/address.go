package core

import (
	"fmt"
	"slices"
	"time"

	"github.com/l2vip/l2vip/announce"
	"github.com/l2vip/l2vip/election"
	"github.com/l2vip/l2vip/election/segment"
)

// Phase is where the machine of one address stands.
type Phase uint8

const (
	// Standby: the address is another's, or no node's. Nothing is on the wire. Left
	// when this node is elected: to Holding if it saw a holder lose the address, and
	// to Probing otherwise.
	Standby Phase = iota
	// Probing: a first claim (RFC 5227 section 2.1.1). Left for Holding when the probe
	// is clear, for Disputed if a foreign station uses the address, for Backoff if a
	// member probed at the same time, and for Standby if this node is not elected.
	Probing
	// Holding: this node is the owner, answers and announces. Left for Releasing when
	// it is no longer the owner, for Standby if another holds by right, the link is
	// lost or no member hears this node, and for Disputed if it yields to a foreign
	// station.
	Holding
	// Releasing: this node answers until its successor does. Left for Holding when it
	// is the owner again, and for Standby when the successor holds, none can come, the
	// time is over or the link is lost.
	Releasing
	// Disputed: a foreign station uses the address, so this node is no candidate. Left
	// for Standby when the pause is over.
	Disputed
	// Backoff: two members probed at once. Nothing is on the wire. Left for Standby
	// when the pause is over.
	Backoff
)

var phaseNames = [...]string{"standby", "probing", "holding", "releasing", "disputed", "backoff"}

// String returns the name of the phase.
func (p Phase) String() string {
	if int(p) < len(phaseNames) {
		return phaseNames[p]
	}
	return fmt.Sprintf("phase %d", uint8(p))
}

// AddressState is what this node does about one address. The zero value is that of
// an address that it neither holds nor wants.
type AddressState struct {
	Phase Phase
	// Claim belongs to Holding and Releasing; it is zero otherwise.
	Claim Claim
	// Conflict is another station that claims the address.
	Conflict Conflict

	// What is counted or timed throughout.

	// announcement and Defenses tell announcements apart: each new value announces
	// again at once.
	announcement uint64
	Defenses     uint64
	// Sightings is how many claims of other stations the announcer has seen.
	Sightings uint64
	// disputes is how often a foreign station got in the way in a row, and
	// pausedUntil is when Disputed and Backoff end.
	disputes    int
	pausedUntil time.Duration
	// sawHolder says that this node has seen a holder, itself or another, without a
	// break until now: a claim need not be probed.
	// The last one is lastHolder.
	sawHolder  bool
	lastHolder string
	// term is what a node that gave the address up to another has raised it to.
	term uint64
	// interfaces are those that the address was last assigned with: one that no
	// advertisement selects any more is answered there until its successor is there.
	interfaces []string
	// candidateSince is since when the node is a candidate; zero if it is none.
	candidateSince time.Duration
	// What was told last.
	holder    string
	reason    election.Reason
	told      bool
	announced time.Time
	// Configured is the interface of this node on which somebody else has put it.
	Configured string
}

// Claim is what belongs to one claim of an address.
type Claim struct {
	// Term is its term, and From the member that handed the address over.
	Term uint64
	From string
	// Contested says that another member holds the address too, and this one keeps it.
	Contested bool
	// handed says that From has not given it up yet.
	handed bool

	since time.Duration
	// handoverBy is when a hand-over ends that no successor takes.
	handoverBy time.Duration
	// fenced says that the lease ran out during the claim, isolated that no other
	// station was heard; both stand until the holders have settled. hears is since when
	// stations are heard again.
	fenced, isolated bool
	hears            time.Duration
	// announceAt is when to announce once more, and announcedAgain when that was done
	// last.
	announceAt, announcedAgain time.Duration
}

// Answers reports whether this node answers for the address.
func (a *AddressState) Answers() bool { return a.Phase == Holding || a.Phase == Releasing }

// Isolated reports whether another holder has the better right to the address.
func (a *AddressState) Isolated() bool { return a.Claim.fenced || a.Claim.isolated }

// mode is what the announcer is to do.
func (a *AddressState) mode() announce.Mode {
	switch a.Phase {
	case Holding, Releasing:
		return announce.Answer
	case Probing:
		return announce.Probe
	}
	return announce.Standby
}

// turn is an address, and what matters for it in this step.
type turn struct {
	*AddressState
	i     int
	info  *Address
	fact  *announce.Address
	d     *election.Decision
	owner bool // this node is
	// sighted says that another station has claimed the address since the last step.
	sighted bool
}

// enter is the only place that changes the phase of an address.
func (s *step) enter(t *turn, to Phase, cause string) {
	if t.Phase == to {
		return
	}
	s.tell(Transition{Kind: Moved, Addr: t.info.Addr, Service: t.info.Service, From: t.Phase, To: to, Cause: cause, Node: t.Claim.From})
	if answers := t.Answers(); answers && to != Holding && to != Releasing {
		t.Claim, t.Conflict, t.sawHolder = Claim{}, Conflict{}, false
	}
	t.Phase = to
}

// hold claims the address.
func (s *step) hold(t *turn, cause string) {
	t.Conflict, t.term = Conflict{}, 0
	t.Claim = Claim{Term: above(t.d.Term), From: t.d.Holder, handed: t.d.Holder != "", since: s.Now}
	t.announcement++
	t.sawHolder = true
	s.enter(t, Holding, cause)
}

// move makes the i-th address what the decision asks for.
func (s *step) move(i int) {
	own := s.turn(i)
	t := &own
	s.see(t)
	switch t.Phase {
	case Standby:
		s.standby(t)
	case Probing:
		s.probing(t)
	case Holding:
		s.holding(t)
	case Releasing:
		s.releasing(t)
	case Backoff:
		if t.owner && s.takeover(t) {
			s.hold(t, "takeover")
		}
	case Disputed: // its end is a matter of time alone: see expire
	}
}

// turn returns the i-th address.
func (s *step) turn(i int) turn {
	t := turn{AddressState: &s.after.Addresses[i], i: i, info: &s.Table.Addresses[i], fact: s.facts[i], d: s.decisions[i]}
	t.owner = t.d.Owner == s.Settings.Name
	return t
}

// see takes note of what is seen of the address: other stations that claim it, and
// whether it is held.
func (s *step) see(t *turn) {
	if t.fact != nil {
		more := t.fact.Sightings > t.Sightings
		t.Sightings = t.fact.Sightings
		t.sighted = more && t.Answers() && t.fact.Mode == announce.Answer && len(t.fact.Rival) > 0
	}
	s.clearForeign(t)
	switch {
	case s.blind(t):
		t.sawHolder = false
	case t.d.Holder != "":
		t.sawHolder, t.lastHolder = true, t.d.Holder
	}
}

// clearForeign forgets a foreign station that got in the way of a claim, if it turns out to
// be a live member's, which was not known yet, or if a member holds the address.
func (s *step) clearForeign(t *turn) {
	if t.Answers() || t.Conflict.Class != ForeignStationConflict {
		return
	}
	name, member := s.after.stations[t.Conflict.Station], s.isMember(t.Conflict.Station)
	if !member && (t.Phase == Disputed || t.d.Holder == "") {
		return
	}
	if member {
		t.disputes = 0
	}
	t.Conflict = Conflict{}
	if t.Phase == Disputed {
		s.enter(t, Standby, "used by "+name+", a member")
	}
}

// isMember reports whether the station is that of a live member.
func (s *step) isMember(hw election.HardwareAddr) bool {
	m := s.member(s.after.stations[hw])
	return m != nil && m.Live
}

// blind reports whether this node can't see now who holds the address.
func (s *step) blind(t *turn) bool {
	if t.Answers() {
		return false
	}
	if s.after.fence.state != Valid {
		return true
	}
	switch s.reason(t.i) {
	case election.NoInterface, election.LinkDown, election.Damped, election.Joining, election.Isolated, election.Unheard:
		return true
	}
	return false
}

// takeover reports whether the owner may claim without a probe. What the last holder
// gave it up for must be known: a foreign station may use the address. And a holder
// whose kernel answers may be one that this node does not understand any more, because
// their secrets differ.
func (s *step) takeover(t *turn) bool {
	e, _ := s.after.View.Entry(t.lastHolder, t.info.Addr)
	return t.d.Takeover && t.sawHolder && s.after.fence.state == Valid && e.Reason != election.Unconfirmed && !s.stalled(t.lastHolder)
}

// stalled reports whether a member is not live any more, though its kernel answers.
func (s *step) stalled(name string) bool {
	m := s.member(name)
	if m == nil || m.Live || m.Peer == nil {
		return false
	}
	return slices.ContainsFunc(m.Peer.Rows, func(r segment.Row) bool { return r.State == segment.Stalled })
}

// standby claims an address that this node is to own.
func (s *step) standby(t *turn) {
	switch {
	case !t.owner || s.after.fence.state != Valid:
	case s.takeover(t):
		s.hold(t, s.takeoverCause(t))
	case s.awaited(t):
	default:
		t.announcement++
		s.enter(t, Probing, "first claim")
	}
}

// takeoverCause says what freed the address.
func (s *step) takeoverCause(t *turn) string {
	if t.d.Holder != "" {
		return "handed over by " + t.d.Holder
	}
	if t.holder != "" && t.holder != s.Settings.Name {
		return t.holder + " holds it no more"
	}
	return "freed"
}

// awaited reports whether a member is about to say whether it is a candidate. Of
// nodes that start together, the first would claim what belongs to another.
func (s *step) awaited(t *turn) bool {
	until := t.candidateSince + s.Settings.StartHold
	if s.Now >= until {
		return false
	}
	for _, e := range s.after.View.Entries(t.info.Addr) {
		if e.Reason == election.Joining {
			s.wakeAt(until)
			return true
		}
	}
	return false
}

// probing waits for what becomes of the probe.
func (s *step) probing(t *turn) {
	switch {
	case !t.owner:
		s.enter(t, Standby, s.unelected(t))
		return
	case s.after.fence.state != Valid:
		s.enter(t, Standby, "lease lost")
		return
	case s.takeover(t):
		s.hold(t, s.takeoverCause(t))
		return
	case t.fact == nil || t.fact.Mode != announce.Probe || t.fact.Claim != t.announcement:
		return // the announcer has not begun yet
	}
	switch t.fact.Probe {
	case announce.Unknown:
	case announce.Clear:
		s.hold(t, "probe clear")
	case announce.Conflict:
		station := hardwareAddr(t.fact.Rival)
		if !s.isMember(station) {
			s.dispute(t, station)
			return
		}
		t.pausedUntil = s.Now + backoffPause
		s.wakeAt(t.pausedUntil)
		s.enter(t, Backoff, "a member probed at the same time")
	}
}

// unelected says why this node is not the owner.
func (s *step) unelected(t *turn) string {
	switch why := s.reason(t.i); {
	case why != election.Offered:
		return why.String()
	case t.d.Members < s.Settings.MinMembers:
		return "too few members"
	case t.d.Owner == "":
		return "no member is elected"
	}
	return t.d.Owner + " is elected"
}

// lost says why no client is reached through this node any more; empty if some are.
func (s *step) lost(t *turn) string {
	switch why := s.reason(t.i); why {
	case election.NoInterface, election.LinkDown, election.Damped, election.Unheard:
		return why.String()
	}
	return ""
}

// holding keeps the address, or begins to give it up.
func (s *step) holding(t *turn) {
	holder := t.d.Holder == s.Settings.Name
	switch lost := s.lost(t); {
	case lost != "":
		s.enter(t, Standby, lost)
	case !holder:
		s.yield(t)
	case t.owner:
		s.keep(t)
		s.watch(t)
	default:
		t.Claim.handoverBy = s.Now + s.Settings.HandoverTimeout
		s.enter(t, Releasing, s.unelected(t))
		s.releasing(t)
	}
}

// keep is Holding of the owner.
func (s *step) keep(t *turn) {
	c := &t.Claim
	sole := t.d.Holders <= 1
	fenced := s.after.fence.state != Valid
	switch {
	case sole && !fenced && t.d.Term > c.Term, // another has claimed since, whether this node saw it hold or not
		sole && (c.Contested || c.fenced && !fenced): // have the last word
		c.announceAgain(s.Now)
	case s.rejoined:
		c.announceAgain(s.Now + conflictWait) // it may have held the address meanwhile, on its side
	}
	if sole && !fenced && c.announceAt > 0 && s.Now >= c.announceAt {
		t.announcement++
		c.announceAt, c.announcedAgain = 0, s.Now
		if t.d.Term > c.Term {
			c.Term, c.From = above(t.d.Term), ""
		}
	}
	s.wakeAt(c.announceAt)
	c.fenced = fenced || c.fenced && !sole
	s.isolate(t, sole)
	if s.Now >= c.since+conflictOver {
		t.disputes = 0 // whatever got in the way has gone
	}
}

// announceAgain asks for one more announcement at a time, or before if one is asked
// for already; but not so soon after the last one that two holders which do not hear
// each other answer one announcement with the next.
func (c *Claim) announceAgain(at time.Duration) {
	if c.announcedAgain > 0 {
		at = max(at, c.announcedAgain+announceAgainPause)
	}
	if c.announceAt == 0 || at < c.announceAt {
		c.announceAt = at
	}
}

// isolate keeps whether the holder was cut off. That stands for a while after it has
// heard another station, and while two holders settle.
func (s *step) isolate(t *turn, sole bool) {
	c := &t.Claim
	var names []string
	if t.fact != nil && t.fact.Mode == announce.Answer {
		names = t.fact.Links
	}
	switch {
	case s.isolatedOn(names):
		c.isolated, c.hears, c.announceAt = true, 0, 0
	case !c.isolated:
	case c.hears == 0:
		c.hears = s.Now
		c.announceAgain(s.Now + conflictWait)
		s.wakeAt(c.announceAt)
		s.wakeAt(c.hears + isolatedHold)
	case !sole:
		c.hears = s.Now
	case s.Now >= c.hears+isolatedHold:
		c.isolated, c.hears = false, 0
	default:
		s.wakeAt(c.hears + isolatedHold)
	}
}

// releasing answers until the successor does, or for a while if there is none.
func (s *step) releasing(t *turn) {
	holder := t.d.Holder == s.Settings.Name
	t.Claim.fenced = t.Claim.fenced || s.after.fence.state != Valid
	none := t.d.Owner == "" && (s.Draining || t.d.Members < s.Settings.MinMembers || t.d.Members <= 1)
	switch lost := s.lost(t); {
	case lost != "":
		s.enter(t, Standby, lost)
	case !holder:
		s.yield(t)
	case t.owner:
		t.Claim.handoverBy = 0
		t.Claim.announceAgain(s.Now) // it was quiet
		s.enter(t, Holding, "owner again")
		s.keep(t)
	case none:
		s.enter(t, Standby, "no successor")
	case s.Now >= t.Claim.handoverBy:
		s.enter(t, Standby, "no successor in time")
	default:
		s.wakeAt(t.Claim.handoverBy)
	}
}

// yield gives the address up to another member that holds it by right. If that is
// not the successor to which it was handed over, it may never see that this node
// held too; a higher term tells it, and that it must have the last word.
func (s *step) yield(t *turn) {
	e, _ := s.after.View.Entry(t.d.Holder, t.info.Addr)
	s.enter(t, Standby, t.d.Holder+" holds it")
	t.sawHolder = true
	if e.From != s.Settings.Name {
		t.term = above(t.d.Term)
	}
}

// dispute leaves the address to a foreign station, for a while that grows with each
// time.
func (s *step) dispute(t *turn, station election.HardwareAddr) {
	s.enter(t, Disputed, "used by "+station.String())
	t.disputes++
	t.pausedUntil = s.Now + disputedFor(t.disputes)
	s.wakeAt(t.pausedUntil)
	t.Conflict = Conflict{Class: ForeignStationConflict, Station: station, Since: s.Now, Last: s.Now}
	s.tell(Transition{Kind: DisputedBy, Addr: t.info.Addr, Service: t.info.Service, Station: station, Detail: t.info.advice()})
}

// expire ends the pauses that are over.
func (s *step) expire(i int) {
	t := &turn{AddressState: &s.after.Addresses[i], i: i, info: &s.Table.Addresses[i]}
	if t.Phase != Disputed && t.Phase != Backoff {
		return
	}
	if s.Now >= t.pausedUntil {
		s.enter(t, Standby, "pause over")
	}
	s.wakeAt(t.pausedUntil)
}

// conclude tells what has become of the i-th address.
func (s *step) conclude(i int) {
	t := s.turn(i)
	about := Transition{Addr: t.info.Addr, Service: t.info.Service}
	if t.fact != nil && t.fact.Configured != t.Configured {
		t.Configured = t.fact.Configured
		about := about
		about.Kind = ConfiguredHere
		if t.Configured != "" {
			about.Detail = configuredAdvice(t.Configured)
		}
		s.tell(about)
	}
	contested := t.Answers() && t.d.Holders > 1
	t.Claim.handed = t.Claim.handed && contested
	if contested && !t.Claim.Contested && !t.Claim.handed && t.Phase == Holding {
		about.Kind = Contested
		s.tell(about)
	}
	t.Claim.Contested = contested
	if t.Answers() {
		s.out.Held++
		if t.fact != nil && t.fact.Claim == t.announcement && !t.fact.Announced.IsZero() && !t.fact.Announced.Equal(t.announced) {
			t.announced = t.fact.Announced
			s.tell(Transition{Kind: Announced, Addr: about.Addr, Service: about.Service, At: t.announced})
		}
	}
	if t.d.Holder != t.holder {
		t.holder = t.d.Holder
		s.tell(Transition{Kind: HolderChanged, Addr: about.Addr, Service: about.Service, Node: t.holder})
	}
	if reason := s.after.Offer.Entries[i].Reason; reason != t.reason || !t.told {
		first := !t.told && reason == election.Offered
		t.reason, t.told = reason, true
		if !first {
			s.tell(Transition{Kind: OfferChanged, Addr: about.Addr, Service: about.Service, Reason: reason, Detail: s.detail(i)})
		}
	}
}

// above returns the term after the highest that was seen. It never wraps, whatever
// a member may have sent.
func above(term uint64) uint64 { return max(term, term+1) }

// hardwareAddr returns hw as a value; zero if it is no Ethernet address.
func hardwareAddr(hw []byte) (addr election.HardwareAddr) {
	if len(hw) == len(addr) {
		addr = election.HardwareAddr(hw)
	}
	return addr
}

// assignments returns what the announcer is to do: for all addresses that this node
// may announce, and those that it still answers for.
func (s *step) assignments() []announce.Assignment {
	list := make([]announce.Assignment, 0, len(s.after.Addresses))
	for i := range s.after.Addresses {
		a, st := &s.Table.Addresses[i], &s.after.Addresses[i]
		switch {
		case a.Selected && !a.NoneLeft:
			st.interfaces = a.Interfaces
		case !st.Answers():
			continue
		}
		list = append(list, announce.Assignment{
			Addr: a.Addr, Interfaces: st.interfaces, Mode: st.mode(),
			Claim: st.announcement, Defense: st.Defenses, Quiet: s.quiet(i),
		})
	}
	return list
}

// quiet reports whether the node answers for the address and announces nothing: its
// successor has the last word, or no other station is heard, so none can have asked it,
// and another may have taken over.
func (s *step) quiet(i int) bool {
	st, fact := &s.after.Addresses[i], s.facts[i]
	switch {
	case st.Phase == Releasing:
		return true
	case !st.Answers() || fact == nil || len(fact.Links) == 0:
		return false
	}
	for _, name := range fact.Links {
		if l := s.link(name); l == nil || l.isolated == 0 || l.alone {
			return false
		}
	}
	return true
}

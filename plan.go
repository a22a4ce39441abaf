package l2vip

import (
	"cmp"
	"maps"
	"math"
	"net/netip"
	"slices"
	"time"

	"github.com/l2vip/l2vip/announce"
	"github.com/l2vip/l2vip/election"
	"github.com/l2vip/l2vip/election/heartbeat"
	"github.com/l2vip/l2vip/health"
)

// This file decides and does nothing: given what the node knows at a moment, it
// computes what the node offers, holds and announces. The Runner acts on it.

// situation is what the node knows at a moment.
type situation struct {
	now      time.Duration // by the loop's clock; never zero
	config   *Config
	roster   *roster
	facts    announce.Facts // addresses sorted
	health   map[string]health.State
	others   []election.Offer
	peers    []heartbeat.Peer
	joined   bool // another member was joined, or the start hold has passed
	draining bool
	deserted bool // the lease ran out, and the others have not been heard since
	exchange exchange

	matched     []*announce.Address // facts, one for each address of the roster; nil if there is none
	silentLinks map[string]bool     // names of those on which no other station is heard
}

// position is what this node is doing about an address. The zero value is that
// of an address that it neither holds nor wants.
type position struct {
	holds bool
	// probing asks whether a stranger uses the address, before a first claim.
	probing bool
	// claim and defense tell announcements apart: each new value announces again
	// at once.
	claim, defense uint64
	// term is that of the claim; for a node that yielded, the one it has raised.
	term uint64
	from string
	// contested: another member holds it too, and this one keeps it.
	contested bool
	// isolated: this node's lease ran out while it held the address, so any
	// other holder has the better right to it. So it has after a silence.
	isolated bool
	silence  silence
	// doubt: only the membership asked for the claim, and this node may be the
	// one that is cut off. It is when the announcer will have found out.
	doubt time.Duration
	// released: this node gave the address up, and has seen nobody hold it
	// since. What it saw before that is no reason to claim without a probe.
	released bool
	// holder is the other member that was last seen to hold the address, and
	// lost is since when none is; zero if one is.
	holder string
	lost   time.Duration
	// candidateSince is since when the node has been a candidate; zero if it
	// is none.
	candidateSince time.Duration
	// handoverBy is when a hand-over that nobody takes ends; zero if there is
	// none.
	handoverBy time.Duration
	// disputes is how often a stranger got in the way in a row.
	disputes int
	// rival is another station that claims the address; sightings is how many
	// claims the announcer has seen.
	rival     rival
	sightings uint64
	// heldSince is since when the node holds the address.
	heldSince time.Duration
	// pausedUntil is when a probe may be tried again; zero if it may now.
	pausedUntil time.Duration
}

// plan is what follows from a situation.
type plan struct {
	offer       election.Offer
	view        *election.View
	positions   []position            // one for each address of the roster
	assignments []announce.Assignment // of the addresses this node is selected for
	members     memberCount
	others      []election.Offer // the other members: those that the membership knows, and those kept
	kept        map[string]kept
	pulse       pulse
	stations    map[election.HardwareAddr]string // the members, live and former ones, whose these are
	exchange    bool                             // an exchange with another member is wanted now
	wake        time.Duration                    // when time alone changes the plan; zero for never
}

const (
	// membersHold is for how long more members must be seen before a holder
	// says so in its offer, which then would no longer tell what it saw while
	// two holders were apart.
	membersHold = 10 * time.Second
	// The pauses after which a disputed address is tried again: the first, and
	// the longest that doubling it leads to.
	disputePause, disputePauseMost = time.Second, time.Minute
	// crossedPause is the pause after two members have probed at once.
	crossedPause = 150 * time.Millisecond
)

// next computes the plan that follows before, which is of the same roster.
func (s *situation) next(before *plan) *plan {
	p := &plan{positions: slices.Clone(before.positions)}
	s.matchFacts()
	p.others = s.members(p, before)
	s.others = p.others
	held, contested := before.holding()
	members, wake := before.members.next(s.now, s.heard(), held, contested)
	p.members = members
	p.wakeAt(s.now, wake)
	p.pulse = s.pulse(p, before.pulse)
	p.offer = election.Offer{
		Node: s.config.Name, Config: s.roster.digest, Labels: s.config.Labels, Hardware: hardware(s.facts),
		Members: p.members.count,
		Entries: make([]election.Entry, len(s.roster.addresses)),
	}
	for i := range s.roster.addresses {
		s.time(&p.positions[i], i)
		p.offer.Entries[i] = s.entry(p, i, before.view)
	}

	// What the node does changes its offer and with it the view; one more
	// round settles that, because nobody else moves meanwhile.
	p.view = before.view.Next(s.policy(), s.live(p))
	p.stations = stations(before.stations, p.view)
	entries := make([]election.Entry, len(p.positions))
	for i := range p.positions {
		s.move(p, i, p.decision(i))
		entries[i] = s.entry(p, i, p.view)
	}
	if !slices.Equal(entries, p.offer.Entries) {
		p.offer.Entries = entries // the view keeps the ones before
		p.view = p.view.Next(s.policy(), s.live(p))
	}
	for i := range p.positions {
		p.positions[i].contested = p.positions[i].holds && p.decision(i).Holders > 1
	}
	p.assignments = s.assignments(p)
	return p
}

// decision returns what the view says of the i-th address.
func (p *plan) decision(i int) election.Decision {
	d, _ := p.view.Owner(p.offer.Entries[i].Addr)
	return d
}

func (s *situation) policy() election.Policy {
	return election.Policy{MinMembers: s.config.MinMembers}
}

// live returns the offers of all live members, this node's among them: of those
// that the membership knows, less those that heartbeats miss.
func (s *situation) live(p *plan) []election.Offer {
	live := make([]election.Offer, 0, len(s.others)+1)
	for i := range s.others {
		if o := &s.others[i]; o.Node != p.offer.Node && !p.pulse.silent(o) {
			live = append(live, *o)
		}
	}
	return append(live, p.offer)
}

// time keeps since when the node is a candidate for the address.
func (s *situation) time(pos *position, i int) {
	if s.reason(pos, i) != election.Offered {
		pos.candidateSince = 0
	} else if pos.candidateSince == 0 {
		pos.candidateSince = s.now
	}
}

// entry returns what the node says of the address in its position.
func (s *situation) entry(p *plan, i int, view *election.View) election.Entry {
	a, pos := &s.roster.addresses[i], &p.positions[i]
	e := election.Entry{
		Addr: a.addr, Service: a.service, Reason: s.reason(pos, i), Weight: s.weight(a),
		Holds: pos.holds, Term: pos.term, From: pos.from, Isolated: pos.cutOff(),
	}
	if !pos.holds {
		d, _ := view.Owner(a.addr)
		e.Term = max(d.Term, pos.term)
		p.wakeAt(s.now, pos.pausedUntil)
		if failback := s.config.Failback; failback > 0 && e.Reason == election.Offered {
			settles := pos.candidateSince + failback
			e.Settled = s.now >= settles
			p.wakeAt(s.now, settles)
		}
	}
	return e
}

// reason returns why the node is no candidate for the address, or Offered.
func (s *situation) reason(pos *position, i int) election.Reason {
	a := &s.roster.addresses[i]
	if !a.selected {
		return election.NotSelected
	}
	if a.noneLeft {
		return election.NoInterface
	}
	fact := s.matched[i]
	switch {
	case fact == nil:
		return election.Joining // the announcer has not got round to it yet
	case fact.Problem == announce.NoInterface:
		return election.NoInterface
	case fact.Problem == announce.LinkDown:
		return election.LinkDown
	case fact.Problem != announce.NoProblem:
		return election.NotBound
	case !s.health[a.service].Ready:
		return election.NotReady
	case s.draining:
		return election.Draining
	case !s.joined:
		return election.Joining
	case pos.disputes > 0 && s.now < pos.pausedUntil:
		return election.Disputed
	}
	return election.Offered
}

// weight returns the advertisement's weight with the health score added.
func (s *situation) weight(a *address) uint32 {
	sum := int64(a.weight) + int64(s.health[a.service].Score)
	return uint32(min(max(sum, 0), math.MaxUint32))
}

// matchFacts finds the announcer's fact for each address, which are both sorted,
// and the links that are silent.
func (s *situation) matchFacts() {
	s.matched = make([]*announce.Address, len(s.roster.addresses))
	rest := s.facts.Addresses
	for i := range s.roster.addresses {
		addr := s.roster.addresses[i].addr
		for len(rest) > 0 && rest[0].Addr.Less(addr) {
			rest = rest[1:]
		}
		if len(rest) > 0 && rest[0].Addr == addr {
			s.matched[i] = &rest[0]
		}
	}
	s.silentLinks = make(map[string]bool)
	for _, l := range s.facts.Links {
		if l.Silent {
			s.silentLinks[l.Name] = true
		}
	}
}

// move changes the node's position to what the decision asks for.
func (s *situation) move(p *plan, i int, d election.Decision) {
	pos := &p.positions[i]
	self := s.config.Name
	sighted := s.sighted(pos, i)
	if d.Holder != "" && d.Holder != self {
		pos.released = false
		pos.holder, pos.lost = d.Holder, 0
	} else if pos.lost == 0 {
		pos.lost = s.now
	}
	switch {
	case pos.holds && s.unheard(pos, i):
		pos.withdraw()
	case pos.holds && d.Owner == self && d.Holder == self:
		s.keep(p, i, d)
		s.watch(p, i, d, sighted)
	case pos.holds && d.Holder == self:
		s.handOver(p, pos, d)
	case pos.holds:
		s.yield(p, pos, d)
	case d.Owner != self || s.deserted:
		pos.probing = false
	case d.Takeover && !pos.released && d.Holder == "" && s.returns(p, pos):
		pos.probing = false
	case d.Takeover && !pos.released:
		pos.hold(s.now, above(d.Term), d.Holder)
		if s.doubtful(pos.holder) {
			pos.doubt = s.now + doubted
		}
	default:
		s.firstClaim(p, i, d)
	}
}

// unheard reports whether nobody can hear the node answer for the address. Then
// there is nothing to hand over, and a claim kept until the link returns would
// meet that of the successor.
func (s *situation) unheard(pos *position, i int) bool {
	reason := s.reason(pos, i)
	return reason == election.LinkDown || reason == election.NoInterface
}

// keep is the position of the owner that holds.
func (s *situation) keep(p *plan, i int, d election.Decision) {
	pos := &p.positions[i]
	pos.handoverBy = 0
	if d.Holders == 1 && !s.deserted && d.Term > pos.term {
		// Another has claimed since, whether this node saw it hold or not.
		pos.claim++
		pos.term, pos.from = above(d.Term), ""
	} else if d.Holders == 1 && pos.contested {
		pos.claim++ // the others have withdrawn: have the last word
	}
	pos.isolated = s.deserted || pos.isolated && d.Holders > 1
	var wake time.Duration
	pos.silence, wake = pos.silence.next(s.now, s.silent(i), d.Holders > 1)
	p.wakeAt(s.now, wake)
	if s.now >= pos.doubt && d.Holders == 1 {
		pos.doubt = 0
	}
	p.wakeAt(s.now, pos.doubt)
	if s.now >= pos.heldSince+rivalGone {
		pos.disputes = 0 // whoever got in the way has gone
	}
}

// yield gives the address up to another member that holds it by right. If that is
// not the successor to whom it was handed over, it may never see that this node
// held too; a higher term tells it, and that it must have the last word.
func (s *situation) yield(p *plan, pos *position, d election.Decision) {
	pos.withdraw()
	if e, _ := p.view.Entry(d.Holder, d.Addr); e.From != s.config.Name {
		pos.term = above(d.Term)
	}
}

// handOver keeps the address until the successor holds it, or for a while if
// none does.
func (s *situation) handOver(p *plan, pos *position, d election.Decision) {
	if pos.handoverBy == 0 {
		pos.handoverBy = s.now + s.config.HandoverTimeout
	}
	nobody := d.Owner == "" && (s.draining || p.view.Members() < s.config.MinMembers)
	if nobody || s.now >= pos.handoverBy {
		pos.withdraw()
		return
	}
	p.wakeAt(s.now, pos.handoverBy)
}

// firstClaim claims an address that nobody was seen to hold, once a probe has
// shown that no stranger uses it.
func (s *situation) firstClaim(p *plan, i int, d election.Decision) {
	pos := &p.positions[i]
	if s.now < pos.pausedUntil {
		pos.probing = false
		return
	}
	if by := pos.candidateSince + s.config.StartHold; s.now < by && p.awaited(i) {
		p.wakeAt(s.now, by)
		return
	}
	if !pos.probing {
		pos.probing = true
		pos.claim++
		return
	}
	fact := s.matched[i]
	if fact == nil || fact.Mode != announce.Probe || fact.Claim != pos.claim {
		return // the announcer has not begun yet
	}
	switch fact.Probe {
	case announce.Unknown:
	case announce.Clear:
		pos.hold(s.now, above(d.Term), "")
	case announce.Conflict:
		if hw := hardwareAddr(fact.Rival); p.stations[hw] == "" {
			s.giveWay(pos, hw)
		} else {
			pos.probing = false
			pos.pausedUntil = s.now + crossedPause
		}
		p.wakeAt(s.now, pos.pausedUntil)
	}
}

// awaited reports whether a member is about to say whether it is a candidate. Of
// nodes that start together, the first would claim what belongs to another.
func (p *plan) awaited(i int) bool {
	for _, e := range p.view.Entries(p.offer.Entries[i].Addr) {
		if e.Reason == election.Joining {
			return true
		}
	}
	return false
}

// above returns the term after the highest that was seen. It never wraps, whatever
// a member may have sent.
func above(term uint64) uint64 { return max(term, term+1) }

// hold is the claim of an address.
func (pos *position) hold(now time.Duration, term uint64, from string) {
	disputes := pos.disputes
	pos.forget()
	pos.holds, pos.heldSince, pos.term, pos.from, pos.disputes = true, now, term, from, disputes
	pos.claim++
}

// withdraw gives the address up.
func (pos *position) withdraw() {
	pos.forget()
	pos.released = true
}

// forget leaves of the position only what is counted and timed throughout.
func (pos *position) forget() {
	*pos = position{
		claim: pos.claim, defense: pos.defense, sightings: pos.sightings, candidateSince: pos.candidateSince,
		holder: pos.holder, lost: pos.lost,
	}
}

// cutOff reports whether another holder has the better right to the address.
func (pos *position) cutOff() bool { return pos.isolated || pos.silence.fell || pos.doubt > 0 }

// mode is what the announcer is to do.
func (pos *position) mode() announce.Mode {
	switch {
	case pos.holds:
		return announce.Answer
	case pos.probing:
		return announce.Probe
	}
	return announce.Standby
}

// assignments returns what the announcer is to do for all addresses.
func (s *situation) assignments(p *plan) []announce.Assignment {
	list := make([]announce.Assignment, 0, len(p.positions))
	for i := range p.positions {
		a, pos := &s.roster.addresses[i], &p.positions[i]
		if a.selected && !a.noneLeft {
			list = append(list, announce.Assignment{Addr: a.addr, Interfaces: a.interfaces, Mode: pos.mode(), Claim: pos.claim, Defense: pos.defense})
		}
	}
	return list
}

// wakeAt makes the plan be made anew at t, if that is to come.
func (p *plan) wakeAt(now, t time.Duration) {
	if t > now && (p.wake == 0 || t < p.wake) {
		p.wake = t
	}
}

// superseded reports whether another member holds by right what this node holds.
func (p *plan) superseded() bool {
	for i := range p.positions {
		if p.positions[i].holds && p.decision(i).Holder != p.offer.Node {
			return true
		}
	}
	return false
}

// holding returns how many addresses the node holds, and how many of those
// another member holds too.
func (p *plan) holding() (held, contested int) {
	for i := range p.positions {
		if p.positions[i].holds {
			held++
		}
		if p.positions[i].contested {
			contested++
		}
	}
	return held, contested
}

// maxStations bounds the hardware addresses that are remembered.
const maxStations = 4096

// stations returns which member has which hardware address, those before and those
// in the view. A member that was cut off is met on the wire before it is met again
// as a member, and must not be taken for a stranger.
func stations(before map[election.HardwareAddr]string, view *election.View) map[election.HardwareAddr]string {
	all, copied := before, false
	for o := range view.Offers() {
		for _, hw := range o.Hardware {
			switch {
			case all[hw] == o.Node:
				continue
			case len(all) == 0 || len(all) >= maxStations:
				all, copied = make(map[election.HardwareAddr]string), true
			case !copied:
				all, copied = maps.Clone(before), true
			}
			all[hw] = o.Node
		}
	}
	return all
}

// memberCount is the number of members that a node says it sees: the truth while
// it holds nothing; while it holds, the fewest that it has seen lately.
type memberCount struct {
	count uint32
	since time.Duration // when more than count were first seen; zero if they are not
}

// next returns the count after seeing members, and when time alone changes it.
func (m memberCount) next(now time.Duration, members, held, contested int) (next memberCount, wake time.Duration) {
	seen := uint32(members)
	switch {
	case held == 0 || seen <= m.count:
		return memberCount{count: seen}, 0
	case contested > 0:
		return memberCount{count: m.count}, 0
	case m.since == 0:
		return memberCount{m.count, now}, now + membersHold
	case now < m.since+membersHold:
		return m, m.since + membersHold
	}
	return memberCount{count: seen}, 0
}

// hardware returns the hardware addresses of the usable links.
func hardware(facts announce.Facts) []election.HardwareAddr {
	var all []election.HardwareAddr
	for _, l := range facts.Links {
		if len(l.HardwareAddr) == len(election.HardwareAddr{}) {
			all = append(all, election.HardwareAddr(l.HardwareAddr))
		}
	}
	return all
}

// hardwareAddr returns hw as a value; zero if it is no Ethernet address.
func hardwareAddr(hw []byte) (addr election.HardwareAddr) {
	if len(hw) == len(addr) {
		addr = election.HardwareAddr(hw)
	}
	return addr
}

// earlier returns the earlier of two times that may be zero for never.
func earlier(a, b time.Duration) time.Duration {
	if a == 0 || b == 0 {
		return cmp.Or(a, b)
	}
	return min(a, b)
}

// carry returns the plan for the roster after, in which an address keeps its
// position if it is for the same service still.
func (p *plan) carry(before, after *roster) *plan {
	kept := make(map[netip.Addr]int, len(before.addresses))
	for i := range before.addresses {
		kept[before.addresses[i].addr] = i
	}
	next := *p
	next.positions = make([]position, len(after.addresses))
	for i := range after.addresses {
		if j, ok := kept[after.addresses[i].addr]; ok && before.addresses[j].service == after.addresses[i].service {
			next.positions[i] = p.positions[j]
		}
	}
	return &next
}

package core

import (
	"cmp"
	"slices"
	"time"

	"github.com/l2vip/l2vip/election"
	"github.com/l2vip/l2vip/election/segment"
)

// Member is another member: one row of the one list by which everything is decided,
// shown and told.
type Member struct {
	// Name is its name.
	Name string
	// Offer is the newest offer of its live instance, whichever way that came; only
	// its Node if none is known.
	Offer election.Offer
	// Live says that it counts. What it offers may still count on some links only:
	// see Peer.Rows.
	Live bool
	// Peer is what its beats tell; nil if it was never heard on a segment.
	Peer *segment.Peer
	// InMembership says that the membership knows it as live.
	InMembership bool
}

// member returns the member with the name, or nil.
func (s *step) member(name string) *Member {
	at := slices.IndexFunc(s.members, func(m Member) bool { return m.Name == name })
	if at < 0 {
		return nil
	}
	return &s.members[at]
}

// beats reports whether the member was heard on a link that is up.
func (m *Member) beats() bool { return m.Peer != nil && len(m.Peer.Rows) > 0 }

// Known reports whether the member's offer is known.
func (m *Member) Known() bool { return m.Offer.Instance != 0 }

// members returns the list of all other members: those that the segment tells of and
// those that the membership does, by name. Where a member beats, its beats decide
// whether it is alive.
func members(self string, peers []segment.Peer, offers []election.Offer, kernelAnswers bool) []Member {
	list := make([]Member, 0, max(len(peers), len(offers)))
	for i := range peers {
		list = append(list, Member{Name: peers[i].Node, Peer: &peers[i]})
	}
	for i := range offers {
		o := &offers[i]
		if o.Node == self {
			continue
		}
		at := slices.IndexFunc(list, func(m Member) bool { return m.Name == o.Node })
		if at < 0 {
			at = len(list)
			list = append(list, Member{Name: o.Node})
		}
		list[at].InMembership, list[at].Offer = true, *o
	}
	for i := range list {
		list[i].settle(kernelAnswers)
	}
	slices.SortFunc(list, func(a, b Member) int { return cmp.Compare(a.Name, b.Name) })
	return list
}

// settle makes one answer of what the segment and the membership say of a member.
func (m *Member) settle(kernelAnswers bool) {
	p, told := m.Peer, m.Offer
	m.Offer = election.Offer{Node: m.Name}
	if !m.beats() {
		// What it said on a link that is down may be newer than what has come since.
		m.Live, m.Offer = m.InMembership, told
		if p != nil && p.Offer != nil && p.Instance == told.Instance && p.Offer.Newer(&told) {
			m.Offer = *p.Offer
		}
		return
	}
	m.Live = slices.ContainsFunc(p.Rows, func(r segment.Row) bool { return m.alive(&r, kernelAnswers) })
	newest := told
	if p.Offer != nil && (newest.Instance != p.Instance || p.Offer.Newer(&newest)) {
		newest = *p.Offer
	}
	switch {
	case newest.Instance == p.Instance && p.Instance != 0:
		m.Offer = newest
	case !m.Live && told.Instance > p.Instance:
		// Started anew, on a host that is not heard.
		m.Live, m.Offer = true, told
	}
}

// alive reports whether a member is alive on one of its links. Where its host is
// alive and its beats are missing, they may be filtered out: then the membership
// tells.
func (m *Member) alive(r *segment.Row, kernelAnswers bool) bool {
	switch r.State {
	case segment.Up, segment.Suspect:
		return true
	case segment.Stalled:
		return r.Leased || m.InMembership
	case segment.Ended:
		return kernelAnswers && r.Leased
	}
	return false
}

// filtered reports whether the member counts though its beats do not arrive where they
// did: its host is heard there, and the membership knows that its process runs.
func (m *Member) filtered() bool {
	return m.Live && m.beats() && !slices.ContainsFunc(m.Peer.Rows, func(r segment.Row) bool {
		return r.State != segment.Stalled || r.Leased
	})
}

// presence is how a member counts for addresses on some links.
type presence struct {
	// reason is Offered if the member counts as it says itself, and otherwise why it
	// is no candidate.
	reason election.Reason
	// silent says that it answers for nothing there.
	silent bool
	// stalled says that its process does not run: it keeps what it holds, and gets
	// no more.
	stalled bool
}

// on returns how the member counts for addresses on the links with these indexes,
// all links if there are none.
func (m *Member) on(links []int, kernelAnswers bool) presence {
	if !m.beats() {
		return presence{}
	}
	alive, isolated, stalled := 0, 0, 0
	for i := range m.Peer.Rows {
		r := &m.Peer.Rows[i]
		if len(links) > 0 && !slices.Contains(links, r.Link) || !m.alive(r, kernelAnswers) {
			continue
		}
		alive++
		switch {
		case r.State != segment.Up && r.State != segment.Suspect:
			stalled++
		case r.Isolated:
			isolated++
		}
	}
	switch {
	case alive == 0:
		return presence{reason: election.Unreachable, silent: true}
	case m.Peer.Fenced && stalled < alive:
		return presence{reason: election.Fenced, silent: true}
	case isolated == alive:
		return presence{reason: election.Isolated, silent: true}
	}
	return presence{stalled: stalled == alive}
}

// confirmed reports whether the member's newest offer is known, and, if it is not,
// whether it is known to hold nothing.
func (m *Member) confirmed() (current, holdsNothing bool) {
	if !m.beats() || m.Offer.Revision >= m.Peer.Revision {
		return true, false
	}
	return false, m.Peer.HoldsNothing
}

// offer returns what the member offers as it counts here: entries for addresses on
// links where it does not count say why, and that it does not hold them.
func (s *step) offer(m *Member) election.Offer {
	o := m.Offer
	if !m.beats() || len(o.Entries) == 0 {
		return o
	}
	current, nothing := m.confirmed()
	if current && s.heardEverywhere(m) {
		return o
	}
	table, copied := s.Table.Addresses, false
	var on presence
	var links []string
	known := false
	for i := range o.Entries {
		e := o.Entries[i]
		for len(table) > 0 && table[0].Addr.Less(e.Addr) {
			table = table[1:]
		}
		var names []string
		answers := false
		if len(table) > 0 && table[0].Addr == e.Addr {
			at := len(s.Table.Addresses) - len(table)
			answers = s.after.Addresses[at].Answers()
			if fact := s.facts[at]; fact != nil {
				names = fact.Links
			}
		}
		if !known || !slices.Equal(names, links) {
			on, links, known = m.on(s.indexes(names), s.Settings.KernelAnswers), names, true
		}
		before := e
		on.apply(&e)
		if !current {
			// Nothing is claimed that it may hold, nor given up to it for what it
			// said before: it may have been cut off since. If it holds something else
			// than it offered, it may be a successor: it is waited for as before.
			e.Holds = e.Holds && !nothing
			claims := !nothing && !m.Peer.HoldsAsOffered
			if (answers || !e.Holds && !claims) && e.Reason == election.Offered {
				e.Reason = election.Unconfirmed
			}
		}
		if e == before {
			continue
		}
		if !copied {
			o.Entries, copied = slices.Clone(o.Entries), true
		}
		o.Entries[i] = e
	}
	return o
}

// heardEverywhere reports whether the member counts as it says itself, whichever of
// this host's links an address is on.
func (s *step) heardEverywhere(m *Member) bool {
	if m.on(nil, s.Settings.KernelAnswers) != (presence{}) {
		return false
	}
	for i := range s.after.links {
		if l := &s.after.links[i]; l.up && m.on([]int{l.index}, s.Settings.KernelAnswers) != (presence{}) {
			return false
		}
	}
	return true
}

// apply makes an entry what it counts for.
func (p presence) apply(e *election.Entry) {
	if p.silent {
		e.Holds = false
	}
	switch {
	case p.reason != election.Offered:
		e.Reason = p.reason
	case p.stalled && !e.Holds && e.Reason == election.Offered:
		e.Reason = election.Unreachable
	}
}

// indexes returns the kernel's numbers of the links with these names.
func (s *step) indexes(names []string) []int {
	var all []int
	for _, name := range names {
		if l := s.link(name); l != nil && l.up {
			all = append(all, l.index)
		}
	}
	return all
}

// live returns the offers of all live members, as they count here, and this node's.
func (s *step) live() []election.Offer {
	live := make([]election.Offer, 0, len(s.members)+1)
	for i := range s.members {
		if s.members[i].Live {
			live = append(live, s.offers[i])
		}
	}
	return append(live, s.after.Offer)
}

// meet tells which members have come and gone.
func (s *step) meet(before []Member) {
	was := func(name string) *Member {
		if i := slices.IndexFunc(before, func(m Member) bool { return m.Name == name && m.Live }); i >= 0 {
			return &before[i]
		}
		return nil
	}
	for i := range s.members {
		m := &s.members[i]
		old := was(m.Name)
		switch {
		case m.Live && old == nil:
			s.tell(Transition{Kind: MemberJoined, Node: m.Name})
		case !m.Live && old != nil:
			s.tell(Transition{Kind: m.lost(old), Node: m.Name})
		}
		if m.filtered() {
			s.missBeats(m.Name)
		}
		if m.Live && m.Known() && (old == nil || !old.Known()) {
			s.tell(Transition{Kind: MemberOffered, Node: m.Name})
		}
		if m.Live && m.Known() && m.Offer.Config != s.Table.Digest && (old == nil || !old.Known() || old.Offer.Config != m.Offer.Config) {
			s.tell(Transition{Kind: ConfigDiffers, Node: m.Name})
		}
	}
	for i := range before {
		gone := !slices.ContainsFunc(s.members, func(m Member) bool { return m.Name == before[i].Name })
		if before[i].Live && gone {
			s.tell(Transition{Kind: MemberLeft, Node: before[i].Name})
		}
	}
}

// missingMember is a member that was live once and is not.
type missingMember struct {
	name     string
	instance uint64
}

// miss keeps the members that were live once and are not, and notes whether one of them
// has come back as another instance: that may have held addresses meanwhile, and says
// nothing of it. The same instance tells by its terms.
func (s *step) miss() {
	missing := slices.Clone(s.before.missing)
	missing = slices.DeleteFunc(missing, func(m missingMember) bool {
		at := slices.IndexFunc(s.members, func(o Member) bool { return o.Name == m.name && o.Live && o.Known() })
		if at < 0 {
			return false
		}
		s.rejoined = s.rejoined || s.members[at].Offer.Instance != m.instance
		return true
	})
	for i := range s.before.Members {
		m := &s.before.Members[i]
		if !m.Live || !m.Known() || slices.ContainsFunc(s.members, func(o Member) bool { return o.Name == m.Name && o.Live }) {
			continue
		}
		missing = slices.DeleteFunc(missing, func(o missingMember) bool { return o.name == m.Name })
		if len(missing) < maxMissing {
			missing = append(missing, missingMember{m.Name, m.Offer.Instance})
		}
	}
	s.after.missing = missing
}

// maxMissing bounds the missing members that are remembered.
const maxMissing = 1024

// beatsMissing is a member whose beats are filtered out.
type beatsMissing struct {
	since time.Duration
	told  bool
}

// missBeats tells of a member whose beats have been missing for a while: until the
// membership has noticed the same it may just have stopped.
func (s *step) missBeats(node string) {
	b, known := s.before.beatsMissing[node]
	if !known {
		b.since = s.Now
	}
	if !b.told && s.Now >= b.since+beatsMissingAfter {
		b.told = true
		s.tell(Transition{Kind: BeatsMissing, Node: node, Detail: beatsAdvice})
	}
	s.wakeAt(b.since + beatsMissingAfter)
	if s.after.beatsMissing == nil {
		s.after.beatsMissing = make(map[string]beatsMissing)
	}
	s.after.beatsMissing[node] = b
}

// beatsAdvice is what people can do about beats that do not arrive.
const beatsAdvice = "its host is heard on the segment, its beats are not: let frames of EtherType 0x88b5 pass; until then the membership alone tells whether it is alive"

// lost is how a member went that was live before and is not any more. Where it beat,
// it has left only if it said so on all links.
func (m *Member) lost(before *Member) Kind {
	if m.beats() && slices.ContainsFunc(m.Peer.Rows, func(r segment.Row) bool { return r.State != segment.Left }) || before.beats() && !m.beats() {
		return MemberSilent
	}
	return MemberLeft
}

// stations returns which member has which Ethernet address, those before and those
// that are known now. A member that was cut off is met on the wire before it is met
// again as a member, and must not be taken for a foreign station.
func (s *step) stations(before map[election.HardwareAddr]string) map[election.HardwareAddr]string {
	all, copied := before, false
	note := func(hw election.HardwareAddr, node string) {
		if all[hw] == node || hw == (election.HardwareAddr{}) {
			return
		}
		if !copied || len(all) >= maxStations {
			fresh := make(map[election.HardwareAddr]string, len(all)+1)
			if len(all) < maxStations {
				for k, v := range all {
					fresh[k] = v
				}
			}
			all, copied = fresh, true
		}
		all[hw] = node
	}
	for i := range s.members {
		m := &s.members[i]
		for _, hw := range m.Offer.Hardware {
			note(hw, m.Name)
		}
		if m.Peer != nil {
			for _, r := range m.Peer.Rows {
				note(r.HardwareAddr, m.Name)
			}
		}
	}
	for _, n := range s.Segment.Namesakes {
		note(n.HardwareAddr, n.Node)
	}
	return all
}

// maxStations bounds the Ethernet addresses that are remembered.
const maxStations = 4096

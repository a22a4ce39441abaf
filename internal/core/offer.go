package core

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/l2vip/l2vip/announce"
	"github.com/l2vip/l2vip/election"
)

// publish makes the offer of this node from the states of its addresses and what is
// decided, and reports whether it differs from the one before in this step.
func (s *step) publish() (changed bool) {
	first := s.after.Offer.Node == ""
	if first {
		for i := range s.after.Addresses {
			s.expire(i)
			s.time(i)
		}
		s.after.Offer = election.Offer{
			Node: s.Settings.Name, Instance: s.Settings.Instance, Config: s.Table.Digest, Labels: s.Settings.Labels,
			Hardware: s.hardware(), Members: s.after.count.count,
		}
	}
	entries := make([]election.Entry, len(s.after.Addresses))
	for i := range entries {
		entries[i] = s.entry(i)
	}
	if !first && slices.Equal(entries, s.after.Offer.Entries) {
		return false
	}
	s.after.Offer.Entries = entries
	return true
}

// number numbers the offer if it says something new.
func (s *step) number() {
	o, before := &s.after.Offer, &s.before.Offer
	o.Revision = before.Revision
	if before.Revision == 0 || !o.Equal(before) {
		o.Revision++
	}
}

// time keeps since when the node is a candidate for the i-th address.
func (s *step) time(i int) {
	st := &s.after.Addresses[i]
	if s.reason(i) != election.Offered {
		st.candidateSince = 0
	} else if st.candidateSince == 0 {
		st.candidateSince = s.Now
	}
}

// entry returns what the node says of the i-th address.
func (s *step) entry(i int) election.Entry {
	a, st := &s.Table.Addresses[i], &s.after.Addresses[i]
	e := election.Entry{
		Addr: a.Addr, Service: a.Service, Reason: s.reason(i), Weight: s.weight(a),
		Holds: st.Answers(), Term: st.Claim.Term, From: st.Claim.From, Isolated: st.Isolated(),
	}
	if e.Holds {
		return e
	}
	e.Term = max(s.decisions[i].Term, st.term)
	if failback := s.Settings.Failback; failback > 0 && e.Reason == election.Offered {
		// One that hears no station would lose it to the holder again at once.
		settles := st.candidateSince + failback
		e.Settled = s.Now >= settles && !s.isolatedOn(s.facts[i].Links)
		s.wakeAt(settles)
	}
	return e
}

// reason returns why the node is no candidate for the i-th address, or Offered.
func (s *step) reason(i int) election.Reason {
	a, st, fact := &s.Table.Addresses[i], &s.after.Addresses[i], s.facts[i]
	switch {
	case !a.Selected:
		return election.NotSelected
	case a.NoneLeft:
		return election.NoInterface
	case fact == nil:
		return election.Joining // the announcer has not got round to it yet
	}
	switch fact.Problem {
	case announce.NoProblem:
	case announce.NoInterface:
		return election.NoInterface
	case announce.LinkDown:
		return election.LinkDown
	default:
		return election.NotBound
	}
	switch {
	case s.nameTaken():
		return election.NameTaken
	case !s.Health[a.Service].Ready:
		return election.NotReady
	case s.Draining:
		return election.Draining
	case !s.after.joined:
		return election.Joining
	case st.Phase == Disputed:
		return election.Disputed
	}
	// A holder that hears no station goes on: whether it is cut off, or nothing is
	// there, makes no difference to clients.
	if why := s.linkReason(fact.Links); why != election.Isolated || !st.Answers() {
		return why
	}
	return election.Offered
}

// detail says in words why the node is no candidate for the i-th address.
func (s *step) detail(i int) string {
	a, st := &s.Table.Addresses[i], &s.after.Addresses[i]
	reason := s.reason(i)
	switch reason {
	case election.NoInterface, election.LinkDown, election.NotBound:
		if a.NoneLeft {
			return "the advertisement names no interface that this node announces on"
		}
		return fmt.Sprintf("%v: %s", reason, s.facts[i].Detail)
	case election.NotReady:
		return HealthDetail(s.Health[a.Service])
	case election.Disputed:
		detail := fmt.Sprintf("%v: %v", reason, st.Conflict.Station)
		if advice := a.advice(); advice != "" {
			detail += ", " + advice
		}
		return detail
	case election.NameTaken:
		for _, n := range s.Segment.Namesakes {
			if n.Node == s.Settings.Name {
				return fmt.Sprintf("%v: %v at %v", reason, election.HardwareAddr(n.HardwareAddr), n.Addr)
			}
		}
	}
	return reason.String()
}

// Details returns, for each address of the table, why the node is no candidate.
func Details(state *State, in Input) []string {
	s := &step{Input: &in, before: state, after: state, members: state.Members}
	s.matchFacts()
	all := make([]string, len(state.Addresses))
	for i := range all {
		all[i] = s.detail(i)
	}
	return all
}

// weight returns the advertisement's weight with the health score added.
func (s *step) weight(a *Address) uint32 {
	sum := int64(a.Weight) + int64(s.Health[a.Service].Score)
	return uint32(min(max(sum, 0), math.MaxUint32))
}

// hardware returns the Ethernet addresses of the links.
func (s *step) hardware() []election.HardwareAddr {
	if s.Facts == nil {
		return nil
	}
	var all []election.HardwareAddr
	for i := range s.Facts.Links {
		if hw := hardwareAddr(s.Facts.Links[i].HardwareAddr); hw != (election.HardwareAddr{}) {
			all = append(all, hw)
		}
	}
	return all
}

// memberCount is the number of members that a node says it sees: the truth while
// it holds nothing; while it holds, the fewest that it has seen lately. So it tells
// what the node saw while two holders were apart.
type memberCount struct {
	count uint32
	since time.Duration // when more than count were first seen; zero if they are not
}

// count returns the one after before.
func (s *step) count(before memberCount) memberCount {
	seen := uint32(1)
	for i := range s.members {
		if s.members[i].Live {
			seen++
		}
	}
	held, contested := false, false
	for i := range s.before.Addresses {
		held = held || s.before.Addresses[i].Answers()
		contested = contested || s.before.Addresses[i].Claim.Contested
	}
	switch {
	case !held || seen <= before.count:
		return memberCount{count: seen}
	case contested:
		return memberCount{count: before.count}
	case before.since == 0:
		s.wakeAt(s.Now + countHold)
		return memberCount{before.count, s.Now}
	case s.Now < before.since+countHold:
		s.wakeAt(before.since + countHold)
		return before
	}
	return memberCount{count: seen}
}

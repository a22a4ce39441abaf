package core

import (
	"maps"
	"slices"
	"time"

	"github.com/l2vip/l2vip/announce"
	"github.com/l2vip/l2vip/election"
	"github.com/l2vip/l2vip/election/segment"
	"github.com/l2vip/l2vip/health"
)

// Input is what a node knows at a moment. It is not changed.
type Input struct {
	// Now is the time, by the clock that the reports of the segment are in; never
	// zero.
	Now time.Duration
	// Settings and Table are the configuration.
	Settings *Settings
	Table    *Table
	// Facts are the announcer's; nil before its first report.
	Facts *announce.Facts
	// Health is the state of each service.
	Health map[string]health.State
	// Segment is what the segment tells.
	Segment segment.Report
	// Membership is what the membership tells; nil before its first report, and if
	// there is none.
	Membership *election.Membership
	// Synced is when the last exchange with the membership began that succeeded.
	Synced time.Duration
	// LeaseLost says that the lease had run out when the loop turned.
	LeaseLost bool
	// Draining says that the node hands its addresses over and takes none.
	Draining bool
}

// State is what a node remembers from one step to the next. The zero State is that
// of a node that has just started. It is immutable.
type State struct {
	// Table is the one that Addresses are of.
	Table *Table
	// Members are the other members, by name.
	Members []Member
	// View is what the election makes of their offers and this node's.
	View *election.View
	// Addresses are the states of the addresses, in the order of Table.
	Addresses []AddressState
	// Offer is this node's.
	Offer election.Offer

	factsAt   time.Duration // when the first facts came
	joined    bool
	links     []link
	fence     fence
	count     memberCount
	stations  map[election.HardwareAddr]string
	namesakes []segment.Namesake
	// beatsMissing are the members whose beats are filtered out.
	beatsMissing map[string]beatsMissing
	missing      []missingMember
	health       map[string]health.State
}

// Fence returns whether the node may act on what it holds.
func (s *State) Fence() FenceState { return s.fence.state }

// Output is what follows from a step. It is acted on in the order of its fields.
type Output struct {
	// Assignments are for the announcer.
	Assignments []announce.Assignment
	// Offer is for the members, by all ways, and Epoch numbers the question who is
	// heard from now on.
	Offer election.Offer
	Epoch uint64
	// Resynced says that the lease may hold again.
	Resynced bool
	// Sync says that an exchange with the membership is wanted.
	Sync bool
	// Deadline is when time alone changes something; zero for never.
	Deadline time.Duration
	// Transitions are what has changed, in the order in which it did.
	Transitions []Transition
	// Joined says that the node knows the others, or that there are none.
	Joined bool
	// Held is how many addresses the node answers for.
	Held int
}

// step is one step under way.
type step struct {
	*Input
	before *State
	after  *State
	out    Output

	members []Member
	offers  []election.Offer // of members, as they count here
	// facts and decisions are of the addresses of the table; nil for unknown.
	facts     []*announce.Address
	decisions []*election.Decision
	// rejoined says that a member that was missing is back as another instance.
	rejoined bool
}

// Step returns what follows from the state before and what is known now. Members
// come first, then the links, then what this node offers, then the election, then
// the state of each address.
func Step(before *State, in Input) (*State, Output) {
	s := &step{
		Input: &in, before: before, after: &State{Table: in.Table},
		decisions: make([]*election.Decision, len(in.Table.Addresses)),
	}
	s.start()
	s.matchFacts()
	var told []election.Offer
	if in.Membership != nil {
		told = in.Membership.Offers
	}
	s.members = members(in.Settings.Name, in.Segment.Peers, told, in.Settings.KernelAnswers)
	s.after.Members = s.members
	s.meet(before.Members)
	s.miss()
	s.meetNamesakes()
	s.after.stations = s.stations(before.stations)
	s.after.links = s.links(before.links)
	s.after.joined = s.join()
	s.after.fence = s.fence(before.fence)
	s.watchHealth()
	s.offers = make([]election.Offer, len(s.members))
	for i := range s.members {
		s.offers[i] = s.offer(&s.members[i])
	}
	s.after.count = s.count(before.count)

	s.matchDecisions(before.View)
	s.publish()
	s.elect()
	for i := range s.after.Addresses {
		s.move(i)
	}
	// What the node does changes its offer and with it the view; one more round
	// settles that, because no other member moves meanwhile.
	if s.publish() {
		s.elect()
	}
	for i := range s.after.Addresses {
		s.conclude(i)
	}
	s.number()

	s.out.Assignments = s.assignments()
	s.out.Offer = s.after.Offer
	s.out.Epoch = s.after.fence.epoch
	s.out.Resynced = before.fence.state != Valid && s.after.fence.state == Valid
	s.out.Sync = s.wantsSync(&s.after.fence) || s.linkWantsSync()
	s.out.Joined = s.after.joined
	return s.after, s.out
}

// start carries over what stays.
func (s *step) start() {
	s.after.factsAt = s.before.factsAt
	if s.after.factsAt == 0 && s.Facts != nil {
		s.after.factsAt = s.Now
	}
	s.after.Addresses = carry(s.before, s.Table)
}

// carry returns the states for the table, in which an address keeps its state if it
// is for the same service still.
func carry(before *State, table *Table) []AddressState {
	if before.Table == table {
		return slices.Clone(before.Addresses)
	}
	states := make([]AddressState, len(table.Addresses))
	if before.Table == nil {
		return states
	}
	rest := before.Table.Addresses
	for i := range table.Addresses {
		a := &table.Addresses[i]
		for len(rest) > 0 && rest[0].Addr.Less(a.Addr) {
			rest = rest[1:]
		}
		if len(rest) > 0 && rest[0].Addr == a.Addr && rest[0].Service == a.Service {
			states[i] = before.Addresses[len(before.Table.Addresses)-len(rest)]
		}
	}
	return states
}

// join reports whether the node may claim: it knows the offers of all members that
// it has met, or the start hold has passed since there was a link to hear them on.
func (s *step) join() bool {
	if s.before.joined || s.Settings.Alone {
		return true
	}
	met, unknown := false, false
	for i := range s.members {
		met = met || s.members[i].Live
		unknown = unknown || s.members[i].Live && !s.members[i].Known()
	}
	if met && !unknown {
		return true
	}
	if s.Facts == nil {
		return false
	}
	hold := s.after.factsAt + s.Settings.StartHold
	s.wakeAt(hold)
	return s.Now >= hold
}

// meetNamesakes tells of members that use a name which another one has.
func (s *step) meetNamesakes() {
	s.after.namesakes = s.Segment.Namesakes
	for _, n := range s.Segment.Namesakes {
		known := slices.ContainsFunc(s.before.namesakes, func(k segment.Namesake) bool { return k.Node == n.Node && k.Instance == n.Instance })
		if !known {
			detail := "another node uses this name"
			if n.Addr.IsValid() {
				detail += ", at " + n.Addr.String()
			}
			s.tell(Transition{Kind: NameConflict, Node: n.Node, Station: n.HardwareAddr, Detail: detail})
		}
	}
}

// nameTaken reports whether a live member that started earlier has this node's name.
func (s *step) nameTaken() bool {
	return slices.ContainsFunc(s.Segment.Namesakes, func(n segment.Namesake) bool {
		return n.Node == s.Settings.Name && n.Instance < s.Settings.Instance
	})
}

// watchHealth tells which services became ready, or no longer are.
func (s *step) watchHealth() {
	s.after.health = s.Health
	for _, name := range slices.Sorted(maps.Keys(s.Health)) {
		state := s.Health[name]
		if was := s.before.health[name]; was.Ready != state.Ready || was.Reason != state.Reason {
			s.tell(Transition{Kind: HealthChanged, Service: name, Detail: HealthDetail(state)})
		}
	}
}

// HealthDetail says in words whether a service is ready.
func HealthDetail(s health.State) string {
	switch {
	case s.Ready:
		return "ready"
	case s.Reason == "":
		return "not ready"
	}
	return "not ready: " + s.Reason
}

// matchFacts finds the announcer's fact for each address; both are in order.
func (s *step) matchFacts() {
	s.facts = make([]*announce.Address, len(s.Table.Addresses))
	if s.Facts == nil {
		return
	}
	rest := s.Facts.Addresses
	for i := range s.Table.Addresses {
		addr := s.Table.Addresses[i].Addr
		for len(rest) > 0 && rest[0].Addr.Less(addr) {
			rest = rest[1:]
		}
		if len(rest) > 0 && rest[0].Addr == addr {
			s.facts[i] = &rest[0]
		}
	}
}

// elect makes the view of all offers after the one before.
func (s *step) elect() {
	view := s.after.View
	if view == nil {
		view = s.before.View
	}
	s.after.View = view.Next(election.Policy{MinMembers: s.Settings.MinMembers}, s.live())
	s.matchDecisions(s.after.View)
}

// noDecision is that of an address which no live member has configured.
var noDecision election.Decision

// matchDecisions finds the view's decision for each address; both are in order.
func (s *step) matchDecisions(view *election.View) {
	rest := view.Decisions()
	for i := range s.Table.Addresses {
		addr := s.Table.Addresses[i].Addr
		for len(rest) > 0 && rest[0].Addr.Less(addr) {
			rest = rest[1:]
		}
		s.decisions[i] = &noDecision
		if len(rest) > 0 && rest[0].Addr == addr {
			s.decisions[i] = &rest[0]
		}
	}
}

// tell notes a transition.
func (s *step) tell(t Transition) { s.out.Transitions = append(s.out.Transitions, t) }

// wakeAt asks for another step at a time that is to come.
func (s *step) wakeAt(t time.Duration) {
	if t > s.Now && (s.out.Deadline == 0 || t < s.out.Deadline) {
		s.out.Deadline = t
	}
}

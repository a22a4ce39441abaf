package election

import (
	"cmp"
	"iter"
	"net/netip"
	"slices"
)

// Policy is what the members of a cluster agree on. It must be alike on all.
type Policy struct {
	// MinMembers is how many members, itself included, a member must see for
	// any address to have an owner. Zero and one ask for none but itself.
	MinMembers int
}

// Decision is what a view says of one address.
type Decision struct {
	// Addr is the address.
	Addr netip.Addr
	// Service is the service that the address is for. Where members differ it
	// is the holder's, then the one that most of them name.
	Service string
	// Owner is the member that shall hold the address; empty if none can.
	Owner string
	// Holder is the member that holds it now; empty if none does. Where several
	// do it is the one that keeps it: the others withdraw.
	Holder string
	// Holders is how many members hold the address.
	Holders int
	// Term is the highest term that was ever seen for the address.
	Term uint64
	// Takeover says that this view saw a holder until the event that freed the
	// address, or still sees it: the owner may claim without a probe.
	Takeover bool
}

// View is what a member makes of the offers of all live members. It is
// immutable; the nil View is that of a member that has seen nothing yet.
type View struct {
	offers    []Offer    // by node, each once
	decisions []Decision // by address
}

// seat is one member's entry for the address at hand.
type seat struct {
	offer *Offer
	entry *Entry
}

// Next returns the view after v in which the members live and offer as in live.
// An offer without entries is that of a member that has offered nothing yet; it
// counts as a member. Of several offers of one node the newest stands. Next
// neither changes nor copies the entries, which must not change afterwards.
func (v *View) Next(p Policy, live []Offer) *View {
	next := &View{offers: normalise(live)}
	quorum := len(next.offers) >= p.MinMembers
	if len(next.offers) > 0 {
		next.decisions = make([]Decision, 0, len(next.offers[0].Entries))
	}

	// Every list of entries is sorted, and so are the decisions before: walk
	// them together, one address at a time.
	var before []Decision
	if v != nil {
		before = v.decisions
	}
	rest := make([][]Entry, len(next.offers))
	for i := range next.offers {
		rest[i] = next.offers[i].Entries
	}
	seats := make([]seat, 0, len(next.offers))
	for {
		addr, ok := lowest(rest)
		if !ok {
			return next
		}
		seats = seats[:0]
		for i := range rest {
			if len(rest[i]) > 0 && rest[i][0].Addr == addr {
				seats = append(seats, seat{&next.offers[i], &rest[i][0]})
			}
			for len(rest[i]) > 0 && rest[i][0].Addr == addr {
				rest[i] = rest[i][1:]
			}
		}
		for len(before) > 0 && before[0].Addr.Less(addr) {
			before = before[1:]
		}
		last := Decision{Addr: addr}
		if len(before) > 0 && before[0].Addr == addr {
			last = before[0]
		}
		next.decisions = append(next.decisions, decide(last, seats, quorum))
	}
}

// decide returns the decision after last for the address of all seats.
func decide(last Decision, seats []seat, quorum bool) Decision {
	d := Decision{Addr: last.Addr, Service: serviceOf(seats), Term: last.Term}

	var holder, settled *seat
	for i := range seats {
		s := &seats[i]
		d.Term = max(d.Term, s.entry.Term)
		if s.entry.Holds {
			d.Holders++
			if holder == nil || prevails(s, holder, d.Service) {
				holder = s
			}
		}
		if s.entry.Settled && s.candidate(d.Service) && (settled == nil || compareRank(d.Addr, s, settled) < 0) {
			settled = s
		}
	}
	if holder != nil {
		d.Holder = holder.offer.Node
	}
	if !quorum {
		return d
	}

	owner := holder
	switch {
	case holder == nil || !holder.candidate(d.Service):
		owner = best(seats, d.Service)
	case settled != nil && compareRank(d.Addr, settled, holder) < 0:
		owner = settled
	}
	if owner == nil {
		return d
	}
	d.Owner = owner.offer.Node
	d.Takeover = d.Holder != "" || last.Holder != "" || last.Takeover
	return d
}

// best returns the candidate that ranks first, or nil if there is none.
func best(seats []seat, service string) *seat {
	var first *seat
	for i := range seats {
		if s := &seats[i]; s.candidate(service) && (first == nil || compareRank(s.entry.Addr, s, first) < 0) {
			first = s
		}
	}
	return first
}

// candidate reports whether the member may own the address for service.
func (s *seat) candidate(service string) bool {
	return s.entry.Reason == Offered && s.entry.Service == service
}

// prevails reports whether, of two holders, a keeps the address. The package
// documentation has the rules in words.
func prevails(a, b *seat, service string) bool {
	if ca, cb := a.candidate(service), b.candidate(service); ca != cb {
		return ca
	}
	if a.succeeds(b) != b.succeeds(a) {
		return a.succeeds(b)
	}
	if a.entry.Isolated != b.entry.Isolated {
		return b.entry.Isolated
	}
	return cmp.Or(
		cmp.Compare(b.offer.Members, a.offer.Members),
		cmp.Compare(b.entry.Term, a.entry.Term),
		compareRank(a.entry.Addr, a, b),
	) < 0
}

// succeeds reports whether s has the address from other, by a hand-over.
func (s *seat) succeeds(other *seat) bool {
	return s.entry.From == other.offer.Node && s.entry.Term > other.entry.Term
}

// serviceOf returns the service that the address of all seats is for: of the
// holders if any holds, else of all; there, the one named most often, then the
// first by name.
func serviceOf(seats []seat) string {
	service := seats[0].entry.Service
	alike := true
	for _, s := range seats[1:] {
		alike = alike && s.entry.Service == service
	}
	if alike {
		return service
	}
	votes := make(map[string]int)
	holds := slices.ContainsFunc(seats, func(s seat) bool { return s.entry.Holds })
	for _, s := range seats {
		if s.entry.Holds == holds {
			votes[s.entry.Service]++
		}
	}
	best := ""
	for name, n := range votes {
		if n > votes[best] || n == votes[best] && name < best {
			best = name
		}
	}
	return best
}

// lowest returns the lowest address at the head of any list.
func lowest(lists [][]Entry) (addr netip.Addr, ok bool) {
	for _, l := range lists {
		if len(l) > 0 && (!ok || l[0].Addr.Less(addr)) {
			addr, ok = l[0].Addr, true
		}
	}
	return addr, ok
}

// normalise returns the offers sorted by node, each node once with its newest,
// and the entries of each sorted by address.
func normalise(live []Offer) []Offer {
	offers := slices.Clone(live)
	slices.SortStableFunc(offers, func(a, b Offer) int {
		return cmp.Or(cmp.Compare(a.Node, b.Node), cmp.Compare(b.Instance, a.Instance), cmp.Compare(b.Revision, a.Revision))
	})
	offers = slices.CompactFunc(offers, func(a, b Offer) bool { return a.Node == b.Node })
	byAddr := func(a, b Entry) int { return a.Addr.Compare(b.Addr) }
	for i := range offers {
		if o := &offers[i]; !slices.IsSortedFunc(o.Entries, byAddr) {
			o.Entries = slices.SortedStableFunc(slices.Values(o.Entries), byAddr)
		}
	}
	return offers
}

// Owner returns the decision for addr, and whether any live member offers or
// refuses that address at all.
func (v *View) Owner(addr netip.Addr) (Decision, bool) {
	if v == nil {
		return Decision{}, false
	}
	i, ok := slices.BinarySearchFunc(v.decisions, addr, func(d Decision, a netip.Addr) int { return d.Addr.Compare(a) })
	if !ok {
		return Decision{}, false
	}
	return v.decisions[i], true
}

// Decisions iterates over the decisions of all addresses, in their order.
func (v *View) Decisions() iter.Seq[Decision] {
	return func(yield func(Decision) bool) {
		if v == nil {
			return
		}
		for _, d := range v.decisions {
			if !yield(d) {
				return
			}
		}
	}
}

// Offers iterates over the offers of all live members, by name. They must not be
// changed.
func (v *View) Offers() iter.Seq[Offer] {
	return func(yield func(Offer) bool) {
		if v == nil {
			return
		}
		for _, o := range v.offers {
			if !yield(o) {
				return
			}
		}
	}
}

// Offer returns the offer of node, and whether node is live.
func (v *View) Offer(node string) (Offer, bool) {
	if v == nil {
		return Offer{}, false
	}
	i, ok := slices.BinarySearchFunc(v.offers, node, func(o Offer, n string) int { return cmp.Compare(o.Node, n) })
	if !ok {
		return Offer{}, false
	}
	return v.offers[i], true
}

// Members returns the number of live members.
func (v *View) Members() int {
	if v == nil {
		return 0
	}
	return len(v.offers)
}

// Rank returns the entries of all live members for addr, each with its member's
// name: the candidates in the order in which they would own the address, then
// the others by name. It is for explaining a decision.
func (v *View) Rank(addr netip.Addr) []Ranked {
	d, ok := v.Owner(addr)
	if !ok {
		return nil
	}
	var seats []seat
	for i := range v.offers {
		o := &v.offers[i]
		j, ok := slices.BinarySearchFunc(o.Entries, addr, func(e Entry, a netip.Addr) int { return e.Addr.Compare(a) })
		if ok {
			seats = append(seats, seat{o, &o.Entries[j]})
		}
	}
	// The offers are sorted by name already, and the sort is stable.
	slices.SortStableFunc(seats, func(a, b seat) int {
		switch ca, cb := a.candidate(d.Service), b.candidate(d.Service); {
		case ca && cb:
			return compareRank(addr, &a, &b)
		case ca:
			return -1
		case cb:
			return 1
		}
		return 0
	})
	ranked := make([]Ranked, len(seats))
	for i, s := range seats {
		ranked[i] = Ranked{Node: s.offer.Node, Entry: *s.entry, Candidate: s.candidate(d.Service)}
	}
	return ranked
}

// Ranked is a member's place among the candidates for an address.
type Ranked struct {
	Node      string // the member
	Entry     Entry  // what it says of the address
	Candidate bool   // whether it may own it
}

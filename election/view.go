package election

import (
	"cmp"
	"iter"
	"maps"
	"net/netip"
	"slices"
)

// Policy is what the members of a cluster agree on. It must be alike on all.
type Policy struct {
	// MinMembers is the quorum: how many members, itself included, a member must
	// see that have an address, for the address to have an owner. Zero and one ask for
	// none but itself.
	MinMembers int
}

// Decision is what a view says of one address.
type Decision struct {
	// Addr is the address.
	Addr netip.Addr
	// Service is the service that the address is for. Where members differ it
	// is that of the holder if it is a candidate, and else the one that most
	// members name.
	Service string
	// Owner is the member that shall hold the address; empty if none can.
	Owner string
	// Holder is the member that holds it now; empty if none does. Where several
	// do it is the one that keeps it: the others withdraw.
	Holder string
	// Holders is how many members hold the address.
	Holders int
	// Members is how many members have the address and are heard where its clients
	// are: those that count towards the quorum.
	Members int
	// Term is the highest term that any member or this view has seen for the
	// address; the next claim's is one more. It is forgotten only when no live
	// member has the address configured any more.
	Term uint64
	// Takeover says that this view saw a holder until the event that freed the
	// address, or still sees it: the owner may claim without a probe. False if
	// there is no owner, or if the holder gave way to a station outside of the
	// cluster (Disputed); once that was so the next claim is a first one.
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
	name  uint64 // hashName of the member
	score uint64 // zero if it was not asked for yet
}

// Next returns the view after v in which the members live and offer as in live.
// An offer without entries is that of a member that has offered nothing yet; it
// counts as a member. Of several offers of one node the newest stands, and of
// several entries for one address the first. The view keeps what it is given
// and does not copy it: neither entries nor labels may change afterwards. Next
// itself changes nothing, so any number may run at once.
func (v *View) Next(p Policy, live []Offer) *View {
	next := &View{offers: normalise(live)}
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
	names := make([]uint64, len(next.offers))
	for i := range next.offers {
		rest[i] = next.offers[i].Entries
		names[i] = hashName(next.offers[i].Node)
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
				seats = append(seats, seat{offer: &next.offers[i], entry: &rest[i][0], name: names[i]})
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
		next.decisions = append(next.decisions, decide(last, seats, p.MinMembers))
	}
}

// decide returns the decision after last for the address of all seats.
func decide(last Decision, seats []seat, quorum int) Decision {
	d := Decision{Addr: last.Addr, Service: serviceOf(seats), Term: last.Term}

	var holder, settled *seat
	for i := range seats {
		s := &seats[i]
		d.Term = max(d.Term, s.entry.Term)
		if s.counts() {
			d.Members++
		}
		if s.entry.Holds {
			d.Holders++
			holder = s
		}
		if s.entry.Settled && s.candidate(d.Service) && (settled == nil || compareRank(s, settled) < 0) {
			settled = s
		}
	}
	if d.Holders > 1 {
		holder = keeper(seats, d.Service)
	}
	if holder != nil {
		d.Holder = holder.offer.Node
	}
	if d.Members < quorum {
		return d
	}

	owner := holder
	switch {
	case holder == nil || !holder.candidate(d.Service):
		owner = best(seats, d.Service)
	case settled != nil && compareRank(settled, holder) < 0:
		owner = settled
	}
	if owner == nil {
		return d
	}
	d.Owner = owner.offer.Node
	d.Takeover = d.Holder != "" || (last.Holder != "" || last.Takeover) && !gaveWay(last.Holder, seats)
	return d
}

// gaveWay reports whether the last holder gave the address up to a station
// outside of the cluster.
func gaveWay(holder string, seats []seat) bool {
	return slices.ContainsFunc(seats, func(s seat) bool {
		return s.offer.Node == holder && s.entry.Reason == Disputed
	})
}

// best returns the candidate that ranks first, or nil if there is none.
func best(seats []seat, service string) *seat {
	var first *seat
	for i := range seats {
		if s := &seats[i]; s.candidate(service) && (first == nil || compareRank(s, first) < 0) {
			first = s
		}
	}
	return first
}

// keeper returns the holder that keeps the address; there is one at least. The
// package documentation has the rules in words.
//
// Each rule leaves out holders, because compared by twos they could go round in
// a circle: a has it from b, which saw more members than c, which saw more than
// a. So the choice depends on nothing but who holds. Rule 3 never leaves out
// all, because terms rise from each holder to the one that succeeded it.
//
// Of three holders another may be chosen once one has withdrawn. Then all three
// may withdraw, and the address is claimed anew at once.
func keeper(seats []seat, service string) *seat {
	var all []*seat
	for i := range seats {
		if seats[i].entry.Holds {
			all = append(all, &seats[i])
		}
	}
	all = prefer(all, func(s *seat) bool { return s.candidate(service) })
	all = prefer(all, func(s *seat) bool { return !s.entry.Isolated })
	all = prefer(all, func(s *seat) bool {
		return !slices.ContainsFunc(all, func(other *seat) bool { return other.succeeds(s) })
	})
	return slices.MinFunc(all, func(a, b *seat) int {
		return cmp.Or(
			cmp.Compare(b.offer.Members, a.offer.Members),
			cmp.Compare(b.entry.Term, a.entry.Term),
			compareRank(a, b),
		)
	})
}

// prefer returns the seats that are good, or all of them if none is.
func prefer(seats []*seat, good func(*seat) bool) []*seat {
	var chosen []*seat
	for _, s := range seats {
		if good(s) {
			chosen = append(chosen, s)
		}
	}
	if len(chosen) == 0 {
		return seats
	}
	return chosen
}

// counts reports whether the member is heard where the address's clients are.
func (s *seat) counts() bool {
	return s.entry.Reason != Unreachable && s.entry.Reason != Isolated
}

// candidate reports whether the member may own the address for service.
func (s *seat) candidate(service string) bool {
	return s.entry.Reason == Offered && s.entry.Service == service
}

// succeeds reports whether s has the address from other, by a hand-over.
func (s *seat) succeeds(other *seat) bool {
	return s.entry.Term > other.entry.Term && s.entry.From == other.offer.Node
}

// compareRank orders two candidates for an address: negative if a ranks before b.
func compareRank(a, b *seat) int {
	if a.entry.Weight != b.entry.Weight {
		return cmp.Compare(b.entry.Weight, a.entry.Weight)
	}
	for _, s := range [...]*seat{a, b} {
		if s.score == 0 {
			s.score = score(s.name, s.entry.Addr)
		}
	}
	return cmp.Or(cmp.Compare(b.score, a.score), cmp.Compare(a.offer.Node, b.offer.Node))
}

// serviceOf returns the service that the address of all seats is for: of the
// holders that offer it, if any, else of all members, the service that is named
// most often, then offered most often, then the first by name.
func serviceOf(seats []seat) string {
	alike := true
	for _, s := range seats[1:] {
		alike = alike && s.entry.Service == seats[0].entry.Service
	}
	if alike {
		return seats[0].entry.Service
	}
	holds := func(s seat) bool { return s.entry.Holds && s.entry.Reason == Offered }
	held := slices.ContainsFunc(seats, holds)
	type votes struct{ named, offered int }
	count := make(map[string]votes)
	for _, s := range seats {
		if held && !holds(s) {
			continue
		}
		n := count[s.entry.Service]
		n.named++
		if s.entry.Reason == Offered {
			n.offered++
		}
		count[s.entry.Service] = n
	}
	return slices.MinFunc(slices.Collect(maps.Keys(count)), func(a, b string) int {
		return cmp.Or(
			cmp.Compare(count[b].named, count[a].named),
			cmp.Compare(count[b].offered, count[a].offered),
			cmp.Compare(a, b),
		)
	})
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
	order := make([]*Offer, len(live))
	for i := range live {
		order[i] = &live[i]
	}
	slices.SortFunc(order, func(a, b *Offer) int {
		switch {
		case a.Node != b.Node:
			return cmp.Compare(a.Node, b.Node)
		case a.Newer(b):
			return -1
		case b.Newer(a):
			return 1
		}
		return 0
	})
	offers := make([]Offer, 0, len(live))
	for i, o := range order {
		if i == 0 || o.Node != order[i-1].Node {
			offers = append(offers, *o)
		}
	}
	byAddr := func(a, b Entry) int { return a.Addr.Compare(b.Addr) }
	for i := range offers {
		if o := &offers[i]; !slices.IsSortedFunc(o.Entries, byAddr) {
			o.Entries = slices.SortedStableFunc(slices.Values(o.Entries), byAddr)
		}
	}
	return offers
}

// Owner returns the decision for addr, and whether any live member has that
// address configured at all.
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

// Decisions returns the decisions of all addresses, in their order. They must not be
// changed.
func (v *View) Decisions() []Decision {
	if v == nil {
		return nil
	}
	return v.decisions
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

// Entries iterates over what the live members say of addr, by name. It is
// cheaper than [View.Rank].
func (v *View) Entries(addr netip.Addr) iter.Seq2[string, Entry] {
	return func(yield func(string, Entry) bool) {
		if v == nil {
			return
		}
		for i := range v.offers {
			if e := v.offers[i].entry(addr); e != nil && !yield(v.offers[i].Node, *e) {
				return
			}
		}
	}
}

// Entry returns what node says of addr, and whether node is live and has said
// anything at all. The zero Entry is that of a member that does not know addr.
func (v *View) Entry(node string, addr netip.Addr) (e Entry, known bool) {
	o, _ := v.Offer(node)
	if own := o.entry(addr); own != nil {
		e = *own
	}
	return e, o.Instance != 0
}

// entry returns the entry for addr, nil if there is none.
func (o *Offer) entry(addr netip.Addr) *Entry {
	i, ok := slices.BinarySearchFunc(o.Entries, addr, func(e Entry, a netip.Addr) int { return e.Addr.Compare(a) })
	if !ok {
		return nil
	}
	return &o.Entries[i]
}

// Ranked is a member's place among the candidates for an address.
type Ranked struct {
	Node      string // the member
	Entry     Entry  // what it says of the address
	Candidate bool   // whether it may own it
}

// Rank returns the entries of all live members for addr: the candidates in the
// order in which they would own the address if nobody held it, then the others
// by name. It is for explaining a decision; nil if no live member has the
// address configured.
func (v *View) Rank(addr netip.Addr) []Ranked {
	d, ok := v.Owner(addr)
	if !ok {
		return nil
	}
	var seats []*seat
	for i := range v.offers {
		o := &v.offers[i]
		if e := o.entry(addr); e != nil {
			seats = append(seats, &seat{offer: o, entry: e, name: hashName(o.Node)})
		}
	}
	// The offers are sorted by name already, and the sort is stable.
	slices.SortStableFunc(seats, func(a, b *seat) int {
		switch ca, cb := a.candidate(d.Service), b.candidate(d.Service); {
		case ca && cb:
			return compareRank(a, b)
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

package election_test

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/l2vip/l2vip/election"
)

// fewAddresses are the addresses of the generated offers: few, of both families.
var fewAddresses = []netip.Addr{
	netip.MustParseAddr("10.0.0.1"),
	netip.MustParseAddr("192.168.122.100"),
	netip.MustParseAddr("192.168.122.101"),
	netip.MustParseAddr("fd00::1"),
}

var fewNodes = []string{"a", "b", "c", "d", "e"}

// mostly generates common values, and others in a fifth of all cases.
func mostly[T any](t *rapid.T, label string, common T, others ...T) T {
	return rapid.SampledFrom(append([]T{common, common, common, common}, others...)).Draw(t, label)
}

// anEntry generates what a member says of addr. Numbers are small, so that
// members agree by chance as often as not.
func anEntry(t *rapid.T, addr netip.Addr) election.Entry {
	return election.Entry{
		Addr:     addr,
		Service:  mostly(t, "service", "web", "mail"),
		Reason:   mostly(t, "reason", election.Offered, election.NotReady, election.Draining, election.Reason(77)),
		Weight:   mostly[uint32](t, "weight", 0, 1, 2),
		Settled:  rapid.Bool().Draw(t, "settled"),
		Holds:    rapid.Bool().Draw(t, "holds"),
		Term:     rapid.Uint64Range(0, 3).Draw(t, "term"),
		From:     mostly(t, "from", "", fewNodes...),
		Isolated: mostly(t, "isolated", false, true),
	}
}

// anOffer generates the offer of node: sometimes for some addresses only, and
// sometimes none at all.
func anOffer(t *rapid.T, node string) election.Offer {
	o := election.Offer{
		Node: node, Instance: rapid.Uint64Range(1, 2).Draw(t, "instance"), Revision: 1,
		Members: mostly[uint32](t, "members", 3, 2, 1),
	}
	if mostly(t, "silent", false, true) {
		return o
	}
	for _, addr := range fewAddresses {
		if mostly(t, "configured", true, false) {
			o.Entries = append(o.Entries, anEntry(t, addr))
		}
	}
	return o
}

// someOffers generates the offers of live members, each once.
func someOffers(t *rapid.T) []election.Offer {
	var live []election.Offer
	for _, node := range rapid.SliceOfNDistinct(rapid.SampledFrom(fewNodes), 0, len(fewNodes), rapid.ID).Draw(t, "nodes") {
		live = append(live, anOffer(t, node))
	}
	return live
}

// disorder returns the offers in another order, with entries in another order,
// and with older offers of the same nodes and doubled entries in between, which
// say the opposite.
func disorder(t *rapid.T, live []election.Offer) []election.Offer {
	var all []election.Offer
	for _, o := range live {
		o.Entries = rapid.Permutation(o.Entries).Draw(t, "entries")
		opposite := slices.Clone(o.Entries)
		for i := range opposite {
			opposite[i].Holds = !opposite[i].Holds
			opposite[i].Term += 100
		}
		if rapid.Bool().Draw(t, "older") {
			old := o
			if rapid.Bool().Draw(t, "instance") {
				old.Instance, old.Revision = o.Instance-1, 1000
			} else {
				old.Revision--
			}
			old.Entries = opposite
			all = append(all, old)
		}
		if rapid.Bool().Draw(t, "double") {
			o.Entries = slices.Concat(o.Entries, opposite)
		}
		all = append(all, o)
	}
	return rapid.Permutation(all).Draw(t, "offers")
}

func aPolicy(t *rapid.T) election.Policy {
	return election.Policy{MinMembers: rapid.IntRange(0, 3).Draw(t, "min members")}
}

// aHistory generates views that follow each other.
func aHistory(t *rapid.T, p election.Policy) (v *election.View, last []election.Offer) {
	for range rapid.IntRange(0, 3).Draw(t, "views") {
		last = someOffers(t)
		v = v.Next(p, last)
	}
	return v, last
}

// decisions returns a copy; nil if there are none.
func decisions(v *election.View) []election.Decision {
	return append([]election.Decision(nil), v.Decisions()...)
}

// offers returns whether the offer has a candidate's entry for d.
func offers(o election.Offer, d election.Decision) bool {
	return slices.ContainsFunc(o.Entries, func(e election.Entry) bool {
		return e.Addr == d.Addr && e.Reason == election.Offered && e.Service == d.Service
	})
}

func TestNextIsWhatTheReferenceSays(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := aPolicy(t)
		var v *election.View
		r := make(reference)
		for range rapid.IntRange(1, 6).Draw(t, "views") {
			live := disorder(t, someOffers(t))
			v, r = v.Next(p, live), r.next(p, live)
			require.Equal(t, r.decisions(), decisions(v))
		}
	})
}

func TestNextDoesNotDependOnOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := aPolicy(t)
		v, _ := aHistory(t, p)
		live := someOffers(t)
		one, other := v.Next(p, live), v.Next(p, disorder(t, live))
		require.Equal(t, decisions(one), decisions(other))
		for _, addr := range fewAddresses {
			require.Equal(t, one.Rank(addr), other.Rank(addr))
		}
	})
}

func TestNextDoesNotChangeItsInput(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := aPolicy(t)
		v, last := aHistory(t, p)
		before := decisions(v)
		copied := clone(last)
		live := disorder(t, someOffers(t))
		given := clone(live)
		v.Next(p, live)
		require.Equal(t, given, live)
		require.Equal(t, copied, last)
		require.Equal(t, before, decisions(v))
	})
}

func clone(live []election.Offer) []election.Offer {
	all := slices.Clone(live)
	for i := range all {
		all[i].Entries = slices.Clone(all[i].Entries)
	}
	return all
}

// Whatever members have seen before, with the same offers they agree on who
// shall hold, who holds and what for. Only terms and takeovers are told from
// history.
func TestViewsAgree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := aPolicy(t)
		one, _ := aHistory(t, p)
		other, _ := aHistory(t, p)
		live := someOffers(t)
		a, b := decisions(one.Next(p, live)), decisions(other.Next(p, live))
		for _, list := range [][]election.Decision{a, b} {
			for i := range list {
				list[i].Term, list[i].Takeover = 0, false
			}
		}
		require.Equal(t, a, b)
	})
}

func TestOwnersAreCandidates(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := aPolicy(t)
		v, _ := aHistory(t, p)
		live := someOffers(t)
		next := v.Next(p, live)
		for _, d := range next.Decisions() {
			var candidates []string
			for _, o := range live {
				if offers(o, d) {
					candidates = append(candidates, o.Node)
				}
			}
			if d.Members >= p.MinMembers && len(candidates) > 0 {
				require.Contains(t, candidates, d.Owner)
			} else {
				require.Empty(t, d.Owner)
				require.False(t, d.Takeover)
			}
		}
	})
}

func TestOwnersAreSticky(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := aPolicy(t)
		v, _ := aHistory(t, p)
		live := someOffers(t)
		next := v.Next(p, live)
		for _, d := range next.Decisions() {
			holder, ok := next.Offer(d.Holder)
			if !ok || !offers(holder, d) || d.Members < p.MinMembers {
				continue
			}
			if d.Owner == d.Holder {
				continue
			}
			// Only one that is settled and ranks before the holder may come.
			rank := next.Rank(d.Addr)
			at := func(node string) int {
				return slices.IndexFunc(rank, func(r election.Ranked) bool { return r.Node == node })
			}
			require.Less(t, at(d.Owner), at(d.Holder))
			require.True(t, rank[at(d.Owner)].Entry.Settled)
		}
	})
}

// calm generates what members say that agree, where each address is held by its
// owner: the state that a cluster comes to rest in.
func calm(t *rapid.T) []election.Offer {
	var live []election.Offer
	nodes := rapid.IntRange(1, 8).Draw(t, "nodes")
	for i := range nodes {
		o := election.Offer{Node: fmt.Sprint("node-", i), Instance: 1}
		for j := range 20 {
			o.Entries = append(o.Entries, election.Entry{
				Addr: netip.AddrFrom4([4]byte{10, 0, 0, byte(j)}), Service: "web",
				Reason: mostly(t, "reason", election.Offered, election.NotReady),
				Weight: mostly[uint32](t, "weight", 0, 1),
			})
		}
		live = append(live, o)
	}
	if rapid.Bool().Draw(t, "held") {
		var v *election.View
		v = v.Next(election.Policy{}, live)
		for i := range live {
			for j := range live[i].Entries {
				e := &live[i].Entries[j]
				d, _ := v.Owner(e.Addr)
				e.Holds, e.Term = d.Owner == live[i].Node, 1
			}
		}
	}
	return live
}

func TestWhoLeavesMovesOnlyItsOwnAddresses(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		live := calm(t)
		var v *election.View
		v = v.Next(election.Policy{}, live)
		leaves := rapid.IntRange(0, len(live)-1).Draw(t, "who leaves")
		gone := live[leaves].Node
		after := v.Next(election.Policy{}, slices.Delete(slices.Clone(live), leaves, leaves+1))
		for _, d := range after.Decisions() {
			was, ok := v.Owner(d.Addr)
			require.True(t, ok)
			if was.Owner != gone {
				require.Equal(t, was.Owner, d.Owner)
			} else {
				require.NotEqual(t, gone, d.Owner)
				require.Equal(t, was.Holder != "" && d.Owner != "", d.Takeover)
			}
		}
		// And who joins takes only what is its own by the election, from nobody
		// that holds.
		for _, d := range v.Decisions() {
			was, ok := after.Owner(d.Addr)
			if ok && was.Owner != d.Owner {
				require.Equal(t, gone, d.Owner)
			}
		}
	})
}

func TestTermsNeverFall(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := aPolicy(t)
		var v *election.View
		terms := make(map[netip.Addr]uint64)
		for range rapid.IntRange(1, 8).Draw(t, "views") {
			live := someOffers(t)
			v = v.Next(p, live)
			seen := make(map[netip.Addr]uint64)
			for _, o := range live {
				for _, e := range o.Entries {
					seen[e.Addr] = max(seen[e.Addr], terms[e.Addr], e.Term)
				}
			}
			terms = seen
			got := maps.Collect(func(yield func(netip.Addr, uint64) bool) {
				for _, d := range v.Decisions() {
					yield(d.Addr, d.Term)
				}
			})
			require.Equal(t, terms, got)
		}
	})
}

// Of several holders one keeps the address, and goes on keeping it while the
// others withdraw one after the other, in any order; unless one has it from
// another by a hand-over, see the next test.
func TestTheHolderThatKeepsIt(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		live := holding(t)
		for i := range live {
			live[i].Entries[0].From = ""
		}
		var v *election.View
		v = v.Next(election.Policy{}, live)
		first, _ := v.Owner(theAddress)
		order := rapid.Permutation(live).Draw(t, "who withdraws")
		for left := order; len(left) > 0; left = left[1:] {
			d, _ := v.Next(election.Policy{}, left).Owner(theAddress)
			require.Equal(t, len(left), d.Holders)
			require.Equal(t, first.Holder, d.Holder)
			if left[0].Node == first.Holder {
				return
			}
		}
	})
}

// A holder that was succeeded in its own sight gives way if its successor is not
// out for a greater reason, whoever else holds the address.
func TestTheSucceededGoes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		live := holding(t)
		var v *election.View
		d, _ := v.Next(election.Policy{}, live).Owner(theAddress)
		kept := live[slices.IndexFunc(live, func(o election.Offer) bool { return o.Node == d.Holder })].Entries[0]
		for _, o := range live {
			e := o.Entries[0]
			if e.Reason == kept.Reason && e.Service == kept.Service && e.Isolated == kept.Isolated {
				require.False(t, e.From == d.Holder && e.Term > kept.Term, "%s has it from %s", o.Node, d.Holder)
			}
		}
	})
}

// holding generates offers of members that all hold the address.
func holding(t *rapid.T) []election.Offer {
	var live []election.Offer
	for _, node := range rapid.SliceOfNDistinct(rapid.SampledFrom(fewNodes), 1, len(fewNodes), rapid.ID).Draw(t, "nodes") {
		e := anEntry(t, theAddress)
		e.Holds, e.Service = true, "web"
		live = append(live, election.Offer{
			Node: node, Instance: 1, Members: mostly[uint32](t, "members", 3, 2, 1), Entries: []election.Entry{e},
		})
	}
	return live
}

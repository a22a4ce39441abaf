package election_test

import (
	"maps"
	"net/netip"
	"slices"

	"github.com/l2vip/l2vip/election"
)

// reference is the election as naively as the words of the package say it: maps,
// sorting, everything computed anew. It is the oracle of View.Next.
type reference map[netip.Addr]election.Decision

// claimant is what one member says of the address at hand.
type claimant struct {
	node    string
	members uint32
	election.Entry
}

func (before reference) next(p election.Policy, live []election.Offer) reference {
	newest := make(map[string]election.Offer)
	for _, o := range live {
		if old, ok := newest[o.Node]; !ok || o.Newer(&old) {
			newest[o.Node] = o
		}
	}
	said := make(map[netip.Addr][]claimant)
	for _, o := range newest {
		seen := make(map[netip.Addr]bool)
		for _, e := range o.Entries {
			if !seen[e.Addr] {
				seen[e.Addr] = true
				said[e.Addr] = append(said[e.Addr], claimant{o.Node, o.Members, e})
			}
		}
	}

	after := make(reference)
	for addr, all := range said {
		last := before[addr]
		service := referenceService(all)
		candidates := filter(all, func(c claimant) bool { return c.Reason == election.Offered && c.Service == service })
		slices.SortFunc(candidates, byElection)
		holders := filter(all, func(c claimant) bool { return c.Holds })

		heard := filter(all, func(c claimant) bool { return c.Reason != election.Unreachable && c.Reason != election.Isolated })
		d := election.Decision{Addr: addr, Service: service, Holders: len(holders), Members: len(heard), Term: last.Term}
		for _, c := range all {
			d.Term = max(d.Term, c.Term)
		}
		if len(holders) > 0 {
			d.Holder = referenceHolder(holders, candidates)
		}
		if len(heard) >= p.MinMembers && len(candidates) > 0 {
			d.Owner = candidates[0].node
			if i := slices.IndexFunc(candidates, func(c claimant) bool { return c.node == d.Holder }); i >= 0 {
				d.Owner = d.Holder
				if before := filter(candidates[:i], func(c claimant) bool { return c.Settled }); len(before) > 0 {
					d.Owner = before[0].node
				}
			}
			disputed := slices.ContainsFunc(all, func(c claimant) bool { return c.node == last.Holder && c.Reason == election.Disputed })
			d.Takeover = d.Holder != "" || !disputed && (last.Holder != "" || last.Takeover)
		}
		after[addr] = d
	}
	return after
}

func referenceService(all []claimant) string {
	if held := filter(all, func(c claimant) bool { return c.Holds && c.Reason == election.Offered }); len(held) > 0 {
		all = held
	}
	var names []string
	for _, c := range all {
		names = append(names, c.Service)
	}
	slices.Sort(names)
	best, most := "", -1
	for _, name := range slices.Compact(names) {
		votes := 0
		for _, c := range all {
			if c.Service == name {
				votes += 1000
				if c.Reason == election.Offered {
					votes++
				}
			}
		}
		if votes > most {
			best, most = name, votes
		}
	}
	return best
}

func referenceHolder(holders, candidates []claimant) string {
	left := holders
	keep := func(good func(claimant) bool) {
		if those := filter(left, good); len(those) > 0 {
			left = those
		}
	}
	keep(func(c claimant) bool {
		return slices.ContainsFunc(candidates, func(d claimant) bool { return c.node == d.node })
	})
	keep(func(c claimant) bool { return !c.Isolated })
	peers := left
	keep(func(c claimant) bool {
		return !slices.ContainsFunc(peers, func(d claimant) bool { return d.From == c.node && d.Term > c.Term })
	})
	most := slices.MaxFunc(left, func(c, d claimant) int { return int(c.members) - int(d.members) }).members
	keep(func(c claimant) bool { return c.members == most })
	highest := uint64(0)
	for _, c := range left {
		highest = max(highest, c.Term)
	}
	keep(func(c claimant) bool { return c.Term == highest })
	slices.SortFunc(left, byElection)
	return left[0].node
}

// byElection puts first who is first in the order of the election.
func byElection(c, d claimant) int {
	before := func(c, d claimant) bool {
		if c.Weight != d.Weight {
			return c.Weight > d.Weight
		}
		cs, ds := election.Score(c.node, c.Addr), election.Score(d.node, d.Addr)
		return cs > ds || cs == ds && c.node < d.node
	}
	switch {
	case before(c, d):
		return -1
	case before(d, c):
		return 1
	}
	return 0
}

func filter(all []claimant, good func(claimant) bool) []claimant {
	return slices.DeleteFunc(slices.Clone(all), func(c claimant) bool { return !good(c) })
}

// decisions returns the decisions in the order of their addresses.
func (r reference) decisions() []election.Decision {
	return slices.SortedFunc(maps.Values(r), func(a, b election.Decision) int { return a.Addr.Compare(b.Addr) })
}

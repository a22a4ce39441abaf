// Package election decides which member of a cluster owns which address.
//
// It is pure: no clock, no goroutine, no I/O, no log. Every member publishes an
// [Offer], which says of each configured address whether the member is a
// candidate for it, and if not, why. A [View] is what one member makes of the
// offers of all live members: [View.Next] takes the view before and the offers
// now and returns the view after, in which every address has a [Decision]. The
// same view and the same offers give the same decisions on every member, so
// there are no votes and there is no coordinator.
//
//	offers of the live members ─► View.Next ─► View ─► Owner(addr)
//	                the View before ─┘
//
// # How an owner is found
//
// Candidates for an address are the members whose entry for it has the reason
// [Offered]. Between candidates the greater weight wins, and between equal
// weights rendezvous hashing (highest random weight, see [Score]).
//
// A member that has the address configured for another service than the holder,
// or, without a holder that is a candidate, than most members, is no candidate.
//
// A holder, a member that says it answers for the address now, keeps it while
// it is a candidate, even if another would rank before it, until a candidate
// that ranks before it is Settled: that one gets the address by a hand-over.
//
// An address has no owner while fewer members have it configured, and are heard where
// its clients are, than the [Policy] asks for.
//
// # Claims
//
// A [Decision] asks its owner to claim the address if it does not hold it yet.
// That is a takeover if this very view saw the address held until the event that
// freed it. Once there was neither holder nor owner, and for a member that has
// just started, it is a first claim: a stranger may use the address by now. So
// is the claim after a holder gave the address up as [Disputed]: a stranger does.
//
// # Terms
//
// Every claim of an address has a term, one more than the highest term that any
// live member has ever seen for the address. The view keeps the highest, so a
// term outlives the holder that made it.
//
// A holder that withdraws before another, unless it handed over to that one,
// raises the term that it tells by one. A holder that sees a higher term than its
// own, and no other holder, claims once more. So the one that stays announces
// last, even if it learns of the other only when that has withdrawn.
//
// # Two holders
//
// After a partition two members or more may hold one address. Every member
// settles that alike, by the first of these that tells them apart, each among
// those that the rules before it have left; the others withdraw:
//
//  1. a candidate stays before members that only still answer, to hand over;
//  2. a holder that hears other stations stays before isolated ones;
//  3. a holder that was succeeded by another, in its own sight, goes;
//  4. the one that saw the most members while they were apart stays;
//  5. then the one with the highest term;
//  6. then the first in the order of the election: weight, then rendezvous hashing.
//
// So a member that was merely cut off never takes an address from one that kept
// serving.
package election

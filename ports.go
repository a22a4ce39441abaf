package l2vip

import (
	"context"
	"time"

	"github.com/l2vip/l2vip/announce"
	"github.com/l2vip/l2vip/election"
	"github.com/l2vip/l2vip/election/segment"
)

// Membership knows members that share no segment with this node, and carries every
// member's offer to all. Package election/gossip has one; any store with watches and
// leases can be another.
//
// All that the Runner asks of an engine is in these methods: one that wraps another,
// to count or to log, loses nothing.
type Membership interface {
	// Run joins as the member local and calls report with what it knows of all other
	// live members: first when it has joined, or knows that no other is there to join,
	// and then at every change. report never blocks; the slice of offers is the
	// Runner's, its entries are not to be changed. When ctx is cancelled Run leaves and
	// returns nil.
	Run(ctx context.Context, local election.Local, report func(election.Membership)) error
	// Publish replaces this node's offer and returns at once; it may be called before
	// Run. The offer has the Instance of local, and a Revision that rises with each
	// change. The Runner publishes each change, and the unchanged offer several times
	// a second for as long as it is alive: a member that was taken for dead is
	// believed again only by what it has published since.
	Publish(election.Offer)
	// Sync completes a full exchange with a live member, after which report has been
	// called with its outcome, or finds that no other is there.
	Sync(ctx context.Context) error
}

// Segment is the members on the Ethernet segments that this node announces on.
// Package election/segment has one.
type Segment interface {
	// Run beats as the member local, and reports all that is known of the others
	// whenever something about them has changed, until ctx is cancelled. report never
	// blocks.
	Run(ctx context.Context, local election.Local, report func(segment.Report)) error
	// Set replaces what this member says of itself; it takes effect at once.
	Set(segment.State)
}

// Announcer is package announce's Announcer as the Runner uses it.
type Announcer interface {
	// Run works until ctx is cancelled, and reports all facts whenever they change.
	Run(ctx context.Context, report func(announce.Facts)) error
	// Set replaces all assignments; what is gone is not answered when it returns.
	Set([]announce.Assignment) error
	// Renew lets it answer for d from now.
	Renew(d time.Duration)
}

// Alone is the Membership of a node that has no others, on purpose.
var Alone Membership = alone{}

type alone struct{}

func (alone) Run(ctx context.Context, _ election.Local, report func(election.Membership)) error {
	report(election.Membership{})
	<-ctx.Done()
	return nil
}

func (alone) Publish(election.Offer)     {}
func (alone) Sync(context.Context) error { return nil }

// NoSegment is the Segment of a node that relies on its Membership alone: failures
// are noticed as slowly as that notices them.
var NoSegment Segment = noSegment{}

type noSegment struct{}

func (noSegment) Run(ctx context.Context, _ election.Local, _ func(segment.Report)) error {
	<-ctx.Done()
	return nil
}

func (noSegment) Set(segment.State) {}

// noMembership is the Membership of a node that relies on its Segment alone.
type noMembership struct{}

func (noMembership) Run(ctx context.Context, _ election.Local, _ func(election.Membership)) error {
	<-ctx.Done()
	return nil
}

func (noMembership) Publish(election.Offer)     {}
func (noMembership) Sync(context.Context) error { return nil }

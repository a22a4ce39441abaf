package election_test

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/l2vip/l2vip/election"
)

func TestNilView(t *testing.T) {
	var v *election.View
	_, ok := v.Owner(theAddress)
	assert.False(t, ok)
	_, ok = v.Offer("a")
	assert.False(t, ok)
	_, ok = v.Entry("a", theAddress)
	assert.False(t, ok)
	assert.Zero(t, v.Members())
	assert.Nil(t, v.Rank(theAddress))
	assert.Empty(t, v.Decisions())
	assert.Empty(t, slices.Collect(v.Offers()))
	assert.Empty(t, maps.Collect(v.Entries(theAddress)))
}

func TestViewAnswers(t *testing.T) {
	other := netip.MustParseAddr("192.168.122.101")
	offer := func(node string, entries ...election.Entry) election.Offer {
		return election.Offer{Node: node, Instance: 1, Entries: entries}
	}
	live := []election.Offer{
		offer("d", election.Entry{Addr: theAddress, Service: "web", Reason: election.Draining, Holds: true}),
		offer("c", election.Entry{Addr: other, Service: "mail"}, election.Entry{Addr: theAddress, Service: "web"}),
		offer("b", election.Entry{Addr: theAddress, Service: "web"}),
		offer("a", election.Entry{Addr: theAddress, Service: "web", Reason: election.NotReady, Weight: 9}),
		offer("e", election.Entry{Addr: theAddress, Service: "mail"}),
		offer("f"),
	}
	var v *election.View
	v = v.Next(election.Policy{}, live)
	assert.Equal(t, 6, v.Members())

	var names []string
	for o := range v.Offers() {
		names = append(names, o.Node)
	}
	assert.Equal(t, []string{"a", "b", "c", "d", "e", "f"}, names)
	o, ok := v.Offer("c")
	require.True(t, ok)
	assert.Len(t, o.Entries, 2)
	_, ok = v.Offer("bb")
	assert.False(t, ok)
	e, ok := v.Entry("c", other)
	assert.True(t, ok)
	assert.Equal(t, "mail", e.Service)
	e, ok = v.Entry("f", other)
	assert.True(t, ok, "it has no such address")
	assert.Zero(t, e)
	_, ok = v.Entry("bb", other)
	assert.False(t, ok)

	assert.Equal(t, []election.Decision{
		{Addr: theAddress, Service: "web", Owner: "b", Holder: "d", Holders: 1, Members: 5, Takeover: true},
		{Addr: other, Service: "mail", Owner: "c", Members: 1},
	}, decisions(v))
	_, ok = v.Owner(netip.MustParseAddr("192.168.122.102"))
	assert.False(t, ok)

	// b and c are the candidates, in the order of their scores.
	var rank []string
	for _, r := range v.Rank(theAddress) {
		rank = append(rank, fmt.Sprint(r.Node, " ", r.Candidate, " ", r.Entry.Reason))
	}
	assert.Equal(t, []string{
		"b true offered", "c true offered", "a false service not ready", "d false draining", "e false offered",
	}, rank)

	assert.Equal(t, []string{"a", "b", "c", "d", "e"}, slices.Sorted(maps.Keys(maps.Collect(v.Entries(theAddress)))))
	assert.Equal(t, map[string]election.Entry{"c": live[1].Entries[0]}, maps.Collect(v.Entries(other)))

	// Every iteration can be left early.
	for range v.Offers() {
		break
	}
	for range v.Decisions() {
		break
	}
	for range v.Entries(theAddress) {
		break
	}
}

// A view and the offers it was made from may be used by any number of goroutines.
func TestViewsAreImmutable(t *testing.T) {
	live := crowd(5, 50, true)
	slices.Reverse(live)
	for i := range live {
		slices.Reverse(live[i].Entries)
	}
	var v *election.View
	v = v.Next(election.Policy{}, live)
	want := decisions(v)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			assert.Equal(t, want, decisions(v.Next(election.Policy{}, live)))
			assert.Len(t, v.Rank(netip.MustParseAddr("10.0.0.7")), 5)
		})
	}
	all.Wait()
}

func TestNewerAndEqual(t *testing.T) {
	o := func(instance, revision uint64) *election.Offer {
		return &election.Offer{Node: "a", Instance: instance, Revision: revision}
	}
	assert.True(t, o(1, 2).Newer(o(1, 1)))
	assert.True(t, o(2, 1).Newer(o(1, 9)), "a later instance counts its revisions anew")
	assert.False(t, o(1, 9).Newer(o(2, 1)))
	assert.False(t, o(1, 1).Newer(o(1, 1)))

	assert.True(t, o(1, 1).Equal(o(2, 2)))
	for _, change := range []func(*election.Offer){
		func(o *election.Offer) { o.Node = "b" },
		func(o *election.Offer) { o.Config++ },
		func(o *election.Offer) { o.Members++ },
		func(o *election.Offer) { o.Labels = map[string]string{"zone": "a"} },
		func(o *election.Offer) { o.Hardware = nil },
		func(o *election.Offer) { o.Entries = o.Entries[1:] },
		func(o *election.Offer) {
			o.Entries = slices.Clone(o.Entries)
			o.Entries[0].Isolated = false
		},
	} {
		other := golden
		change(&other)
		assert.False(t, golden.Equal(&other))
		assert.False(t, other.Equal(&golden))
	}
}

func TestReasons(t *testing.T) {
	// The numbers are part of the protocol.
	for n, reason := range []election.Reason{
		election.Offered, election.NotSelected, election.NoInterface, election.LinkDown, election.NotBound,
		election.NotReady, election.Draining, election.Joining, election.Disputed, election.Isolated, election.Unheard,
		election.Damped, election.Fenced, election.NameTaken, election.Unconfirmed, election.Unreachable,
	} {
		assert.EqualValues(t, n, reason)
		assert.NotContains(t, reason.String(), "reason")
	}
	assert.Equal(t, "reason 16", election.Reason(16).String())
	assert.Equal(t, "reason 255", election.Reason(255).String())
}

func TestHardwareAddrString(t *testing.T) {
	assert.Equal(t, "02:00:0a:ff:00:01", election.HardwareAddr{2, 0, 10, 255, 0, 1}.String())
}

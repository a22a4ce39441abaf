package election_test

import (
	"fmt"
	"net/netip"

	"github.com/l2vip/l2vip/election"
)

// entry is what a member says of the address of the examples.
func entry() election.Entry {
	return election.Entry{Addr: netip.MustParseAddr("192.168.122.100"), Service: "web"}
}

func show(d election.Decision) {
	fmt.Printf("%v: owner %q, holder %q, term %d, takeover %v\n", d.Addr, d.Owner, d.Holder, d.Term, d.Takeover)
}

// Three members, one of which cannot carry the address: every member that sees
// these offers finds the same owner.
func Example() {
	sick := entry()
	sick.Reason = election.NotReady
	offers := []election.Offer{
		{Node: "front-0", Instance: 1, Entries: []election.Entry{entry()}},
		{Node: "front-1", Instance: 1, Entries: []election.Entry{sick}},
		{Node: "front-2", Instance: 1, Entries: []election.Entry{entry()}},
	}

	var view *election.View // a member that has seen nothing yet
	view = view.Next(election.Policy{}, offers)

	d, _ := view.Owner(netip.MustParseAddr("192.168.122.100"))
	show(d)
	for i, r := range view.Rank(d.Addr) {
		fmt.Printf("%d. %s: %v\n", i+1, r.Node, r.Entry.Reason)
	}
	// Output:
	// 192.168.122.100: owner "front-2", holder "", term 0, takeover false
	// 1. front-2: offered
	// 2. front-0: offered
	// 3. front-1: service not ready
}

// The holder of an address is lost. A member that saw it hold until then knows
// that the claim which follows is a takeover, and needs no probe.
func ExampleView_Next_failover() {
	holds := entry()
	holds.Holds, holds.Term = true, 1
	front0 := election.Offer{Node: "front-0", Instance: 1, Entries: []election.Entry{entry()}}
	front1 := election.Offer{Node: "front-1", Instance: 1, Entries: []election.Entry{holds}}

	var view *election.View
	view = view.Next(election.Policy{}, []election.Offer{front0, front1})
	d, _ := view.Owner(holds.Addr)
	show(d)

	view = view.Next(election.Policy{}, []election.Offer{front0})
	d, _ = view.Owner(holds.Addr)
	show(d)

	// front-0 claims the address, with the next term.
	holds.Term = d.Term + 1
	front0.Entries = []election.Entry{holds} // views keep the entries before
	view = view.Next(election.Policy{}, []election.Offer{front0})
	d, _ = view.Owner(holds.Addr)
	show(d)
	// Output:
	// 192.168.122.100: owner "front-1", holder "front-1", term 1, takeover true
	// 192.168.122.100: owner "front-0", holder "", term 1, takeover true
	// 192.168.122.100: owner "front-0", holder "front-0", term 2, takeover true
}

func ExampleScore() {
	addr := netip.MustParseAddr("192.168.122.100")
	for _, node := range []string{"front-0", "front-1", "front-2"} {
		fmt.Printf("%s %016x\n", node, election.Score(node, addr))
	}
	// Output:
	// front-0 5b5db562d393783d
	// front-1 eb67690b272ca5da
	// front-2 9a4797fe9735a32a
}

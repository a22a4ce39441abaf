package segment_test

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/l2vip/l2vip/election"
	"github.com/l2vip/l2vip/election/segment"
)

// A member that beats each 2 ms and falls silent, its kernel too, is found out
// after five of them and the time to ask the others.
func ExampleConfig_Detection() {
	c := segment.Config{Interval: 2 * time.Millisecond, Misses: 5}
	fmt.Println(c.Detection())
	// Output: 12ms
}

// Two members on a cable in memory hear each other, and one learns what the other
// holds.
func Example() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	cable := new(cable)
	holds := make(chan netip.Addr, 1)
	done := make(chan error, 2)
	for i, name := range []string{"front-0", "front-1"} {
		station := cable.plug()
		s, err := segment.New(segment.Config{Ethernet: station})
		if err != nil {
			fmt.Println(err)
			return
		}
		instance := uint64(i + 1)
		s.Set(segment.State{
			Links: []segment.Link{station.link},
			Offer: election.Offer{Node: name, Instance: instance, Revision: 1, Entries: []election.Entry{
				{Addr: netip.MustParseAddr("192.168.122.100"), Holds: name == "front-0"},
			}},
		})
		report := func(r segment.Report) {
			for _, p := range r.Peers {
				if p.Node == "front-0" && p.HoldsAsOffered {
					select {
					case holds <- p.Offer.Entries[0].Addr:
					default:
					}
				}
			}
		}
		local := election.Local{Name: name, Instance: instance, Cluster: "example"}
		go func() { done <- s.Run(ctx, local, report) }()
	}
	fmt.Println("front-0 holds", <-holds)
	cancel()
	fmt.Println(<-done, <-done)
	// Output:
	// front-0 holds 192.168.122.100
	// <nil> <nil>
}

package core_test

import (
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/l2vip/l2vip/announce"
	"github.com/l2vip/l2vip/election"
	"github.com/l2vip/l2vip/election/segment"
	"github.com/l2vip/l2vip/health"
	"github.com/l2vip/l2vip/internal/core"
)

// BenchmarkStep measures a step of one of three members when nothing has changed, and
// every third address is its own.
func BenchmarkStep(b *testing.B) {
	for _, n := range []int{1, 1000, 10000} {
		b.Run(fmt.Sprintf("addresses=%d", n), func(b *testing.B) {
			in := clusterOf(n)
			state, out := core.Step(new(core.State), in)
			for range 2 {
				// The announcer takes up what it is told, and what it probes is clear.
				facts := *in.Facts
				facts.Addresses = nil
				for _, a := range out.Assignments {
					facts.Addresses = append(facts.Addresses, announce.Address{Addr: a.Addr, Mode: a.Mode, Claim: a.Claim, Links: []string{"eth0"}, Probe: announce.Clear})
				}
				in.Facts = &facts
				state, out = core.Step(state, in)
			}
			require.Equal(b, (n+2)/3, out.Held)
			b.ReportAllocs()
			for b.Loop() {
				in.Now += time.Millisecond
				state, out = core.Step(state, in)
			}
			require.Equal(b, (n+2)/3, out.Held)
		})
	}
}

// clusterOf returns the input of node a in a cluster of three, of which b and c hold
// two thirds of n addresses.
func clusterOf(n int) core.Input {
	hw := station("a", 1)
	in := core.Input{
		Now: epoch, Settings: &core.Settings{Name: "a", Instance: 100, Detection: 280 * time.Millisecond, Lease: time.Second},
		Health:  map[string]health.State{"web": {Ready: true}},
		Facts:   &announce.Facts{Links: []announce.Link{{Name: "eth0", Index: 1, HardwareAddr: net.HardwareAddr(hw[:])}}},
		Segment: segment.Report{Links: []segment.LinkReport{{Index: 1, Since: epoch}}},
	}
	table := new(core.Table)
	addr := netip.MustParseAddr("10.0.0.1")
	for range n {
		table.Addresses = append(table.Addresses, core.Address{Addr: addr, Service: "web", Selected: true, Weight: 1})
		in.Facts.Addresses = append(in.Facts.Addresses, announce.Address{Addr: addr, Links: []string{"eth0"}})
		addr = addr.Next()
	}
	in.Table = table
	for k, name := range []string{"b", "c"} {
		o := &election.Offer{Node: name, Instance: 100, Revision: 1, Members: 3}
		for i := range table.Addresses {
			o.Entries = append(o.Entries, election.Entry{Addr: table.Addresses[i].Addr, Service: "web", Holds: i%3 == k+1, Term: 1})
		}
		in.Segment.Peers = append(in.Segment.Peers, segment.Peer{
			Node: name, Instance: 100, Offer: o, Revision: 1, HoldsAsOffered: true,
			Rows: []segment.Row{{Link: 1, HardwareAddr: station(name, 1)}},
		})
	}
	return in
}

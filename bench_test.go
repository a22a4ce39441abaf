package l2vip

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/l2vip/l2vip/announce"
	"github.com/l2vip/l2vip/election"
	"github.com/l2vip/l2vip/health"
)

// BenchmarkPlan makes a plan of a cluster of three, as at every event.
func BenchmarkPlan(b *testing.B) {
	for _, n := range []int{1, 1000, 10_000} {
		b.Run(fmt.Sprintf("addresses=%d", n), func(b *testing.B) {
			service := Service{Name: "web"}
			addr := netip.MustParseAddr("10.0.0.0")
			for range n {
				addr = addr.Next()
				service.Addresses = append(service.Addresses, addr)
			}
			config, err := Config{Name: "a", Membership: Alone, Announcer: idle{}, Services: []Service{service}}.validated()
			require.NoError(b, err)
			ro, err := config.newRoster(config.Services)
			require.NoError(b, err)
			s := situation{now: time.Hour, config: &config, roster: ro, joined: true, health: map[string]health.State{"web": {Ready: true}}}
			others := []election.Offer{{Node: "b", Instance: 1}, {Node: "c", Instance: 1}}
			for i := range ro.addresses {
				s.facts.Addresses = append(s.facts.Addresses, announce.Address{Addr: ro.addresses[i].addr, Links: []string{"eth0"}})
				others[0].Entries = append(others[0].Entries, election.Entry{Addr: ro.addresses[i].addr, Service: "web", Holds: true, Term: 1})
				others[1].Entries = append(others[1].Entries, election.Entry{Addr: ro.addresses[i].addr, Service: "web"})
			}
			s.others = others
			p := &plan{positions: make([]position, n)}
			b.ReportAllocs()
			for b.Loop() {
				p = s.next(p)
			}
		})
	}
}

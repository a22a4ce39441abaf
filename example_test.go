package l2vip_test

import (
	"context"
	"fmt"
	"net/netip"
	"os/signal"
	"syscall"

	"github.com/l2vip/l2vip"
	"github.com/l2vip/l2vip/health"
	"github.com/l2vip/l2vip/pool"
)

// The smallest program: one address, announced by one of the nodes on the segment,
// which find each other there.
func Example() {
	run := func(ctx context.Context) error {
		r, err := l2vip.New(l2vip.Config{
			Interfaces: []string{"eth0"},
			Services:   []l2vip.Service{{Addresses: []netip.Addr{netip.MustParseAddr("192.168.122.100")}}},
		})
		if err != nil {
			return err
		}
		return r.Run(ctx)
	}

	// Interrupted, Run hands the address over before it returns.
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Println(err)
	}
}

// Addresses from a pool are known before anything runs, and alike on all nodes.
func ExampleRunner_Addresses() {
	r, err := l2vip.New(l2vip.Config{
		Labels:         map[string]string{"node-role": "front"},
		Membership:     l2vip.Alone,
		Pools:          []pool.Pool{{Name: "mypool", Ranges: []pool.Range{pool.MustParseRange("192.168.122.100/24")}}},
		Advertisements: []pool.Advertisement{{Pools: []string{"mypool"}}},
		Services: []l2vip.Service{
			{Name: "web", Pool: "mypool", Health: health.HTTP{URL: "http://127.0.0.1/healthz"}},
			{Name: "dns", Pool: "mypool", Count: 2, Health: health.Process{PIDFile: "/run/named.pid"}},
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(r.Addresses("web"), r.Addresses("dns"))
	// Output: [192.168.122.100] [192.168.122.101 192.168.122.102]
}

// What is wrong is said all at once, each with its place.
func ExampleConfigError() {
	_, err := l2vip.New(l2vip.Config{
		Name:     "front-0",
		Segment:  l2vip.NoSegment,
		Services: []l2vip.Service{{Name: "web", Pool: "mypool"}},
	})
	fmt.Println(err)
	// Output:
	// Membership: required where there is no segment: gossip.New for a cluster, or l2vip.Alone for one node, on purpose
	// Services[0].Pool: service "web" asks for pool "mypool", which does not exist
}

package announce_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/signal"

	"github.com/l2vip/l2vip/announce"
)

// A program that answers for an address until it is interrupted. It makes sure
// by itself that no other node does: that is what package l2vip is for.
func Example() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()

	a, err := announce.New(announce.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	err = a.Set([]announce.Assignment{{
		Addr:       netip.MustParseAddr("192.168.122.100"),
		Interfaces: []string{"eth0"},
		Mode:       announce.Answer,
	}})
	if err != nil {
		fmt.Println(err)
		return
	}
	err = a.Run(ctx, func(f announce.Facts) {
		for _, addr := range f.Addresses {
			fmt.Println(addr.Addr, "on", addr.Links, "problem:", addr.Problem, addr.Detail)
		}
	})
	var missing *announce.CapabilityError
	if errors.As(err, &missing) {
		fmt.Println("run it with", missing.Capability)
	}
}

// All that is wrong with a list is told at once, and nothing changes.
func ExampleAnnouncer_Set() {
	a, err := announce.New(announce.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	err = a.Set([]announce.Assignment{
		{Addr: netip.MustParseAddr("192.168.122.100")},
		{Addr: netip.MustParseAddr("224.0.0.1")},
		{Addr: netip.MustParseAddr("2001:db8::1%eth0")},
	})
	fmt.Println(err)
	// Output:
	// [1].Addr: 224.0.0.1 is no unicast address of a network
	// [2].Addr: 2001:db8::1%eth0 has a zone: name the interface in Interfaces
}

// Command embed is a program in a module of its own that embeds l2vip: the
// smallest program of the package documentation, run until it answers.
package main

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"time"

	"github.com/l2vip/l2vip"
)

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := run(ctx, cancel); err != nil {
		fmt.Fprintln(os.Stderr, "embed:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, stop func()) error {
	r, err := l2vip.New(l2vip.Config{
		Interfaces: []string{"eth0"},
		Services:   []l2vip.Service{{Addresses: []netip.Addr{netip.MustParseAddr("192.168.122.100")}}},
	})
	if err != nil {
		return err
	}
	events := r.Events(ctx, 0)
	held := false
	go func() {
		for e := range events {
			fmt.Println(e.Kind, e.Addr, e.Node, e.Detail)
			if e.Kind == l2vip.Claimed {
				held = true
				stop()
			}
		}
	}()
	if err := r.Run(ctx); err != nil {
		return err
	}
	if !held {
		return fmt.Errorf("192.168.122.100 was never claimed:\n%s", r.Status().Explain(netip.MustParseAddr("192.168.122.100")))
	}
	return nil
}

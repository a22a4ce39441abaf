// Announce answers for addresses on a network interface until it is interrupted:
// other machines on the network reach this one under them.
//
//	go build ./examples/announce
//	sudo ./announce -i eth0 192.168.122.100 192.168.122.101
//
// Then, on another machine of the same network:
//
//	ping 192.168.122.100
//
// It is the smallest program with package announce: it decides nothing, so two of
// them must not answer for the same address. What decides is package l2vip.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"syscall"

	"github.com/l2vip/l2vip/announce"
)

func main() {
	name := flag.String("i", "", "network `interface` to answer on")
	flag.Usage = func() {
		fmt.Fprintf(flag.CommandLine.Output(), "usage: %s -i interface address...\n", os.Args[0])
		flag.PrintDefaults()
	}
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *name, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "announce:", err)
		os.Exit(1)
	}
}

// run answers for the addresses on the interface until ctx ends.
func run(ctx context.Context, name string, addresses []string) error {
	if name == "" || len(addresses) == 0 {
		return errors.New("needs an interface and at least one address, as in -i eth0 192.168.122.100")
	}
	if _, err := net.InterfaceByName(name); err != nil {
		return fmt.Errorf("interface %s: %w", name, err)
	}
	var assignments []announce.Assignment
	for _, text := range addresses {
		addr, err := netip.ParseAddr(text)
		if err != nil {
			return err
		}
		assignments = append(assignments, announce.Assignment{
			Addr: addr, Interfaces: []string{name}, Mode: announce.Answer, Claim: 1,
		})
	}
	announcer, err := announce.New(announce.Config{})
	if err != nil {
		return err
	}
	if err := announcer.Set(assignments); err != nil {
		return err
	}
	told := make(map[netip.Addr]string)
	return announcer.Run(ctx, func(facts announce.Facts) {
		for _, a := range facts.Addresses {
			if now := describe(a); told[a.Addr] != now {
				told[a.Addr] = now
				fmt.Println(now)
			}
		}
	})
}

// describe says in a line what is known of an address.
func describe(a announce.Address) string {
	switch {
	case a.Problem != announce.NoProblem:
		return fmt.Sprintf("%v: %v (%s)", a.Addr, a.Problem, a.Detail)
	case a.Rival != nil:
		return fmt.Sprintf("%v: %v claims it too", a.Addr, a.Rival)
	default:
		return fmt.Sprintf("%v: answered on %v", a.Addr, a.Links)
	}
}

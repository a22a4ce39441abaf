// Announce answers for addresses, IPv4 and IPv6, until it is interrupted: other
// machines on the network reach this one under them.
//
//	go build ./examples/announce
//	sudo ./announce -i eth0 192.168.122.100 2001:db8:122::100
//
// Then, on another machine of the same network:
//
//	ping 192.168.122.100
//	ping 2001:db8:122::100
//
// Without -i an address is answered on every interface with a subnet that
// contains it; -i 'eth*' stands for all interfaces whose names begin so, and may
// be given more than once. What becomes of the interfaces is followed, and
// printed with everything else that is known: what is wrong with an interface,
// that nobody else is heard on it, who else claims an address.
//
// It is the smallest program with package announce: it decides nothing, so two of
// them must not answer for the same address. What decides is package l2vip.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"os/signal"
	"syscall"

	"github.com/l2vip/l2vip/announce"
)

func main() {
	var interfaces []string
	flag.Func("i", "`interface` to answer on, or a pattern such as eth*; may be repeated", func(name string) error {
		interfaces = append(interfaces, name)
		return nil
	})
	flag.Usage = func() {
		fmt.Fprintf(flag.CommandLine.Output(), "usage: %s [-i interface]... address...\n", os.Args[0])
		flag.PrintDefaults()
	}
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, interfaces, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "announce:", err)
		os.Exit(1)
	}
}

// run answers for the addresses on the interfaces until ctx ends.
func run(ctx context.Context, interfaces, addresses []string) error {
	if len(addresses) == 0 {
		return errors.New("needs at least one address, as in -i eth0 192.168.122.100")
	}
	var assignments []announce.Assignment
	for _, text := range addresses {
		addr, err := netip.ParseAddr(text)
		if err != nil {
			return err
		}
		assignments = append(assignments, announce.Assignment{
			Addr: addr, Interfaces: interfaces, Mode: announce.Answer, Claim: 1,
		})
	}
	announcer, err := announce.New(announce.Config{})
	if err != nil {
		return err
	}
	if err := announcer.Set(assignments); err != nil {
		return err
	}
	told := make(map[string]string) // of each interface and address
	tell := func(what, now string) {
		if told[what] != now {
			told[what] = now
			fmt.Printf("%s: %s\n", what, now)
		}
	}
	return announcer.Run(ctx, func(facts announce.Facts) {
		for _, l := range facts.Links {
			tell(l.Name, describeLink(l))
		}
		for _, a := range facts.Addresses {
			tell(a.Addr.String(), describe(a))
		}
	})
}

// describeLink says what is known of an interface.
func describeLink(l announce.Link) string {
	switch {
	case l.Problem != "":
		return l.Problem
	case l.Silent:
		return "nobody else is heard, so this host may be cut off"
	default:
		return fmt.Sprintf("in use at %v", l.HardwareAddr)
	}
}

// describe says what is known of an address.
func describe(a announce.Address) string {
	switch {
	case a.Problem != announce.NoProblem:
		return fmt.Sprintf("%v (%s)", a.Problem, a.Detail)
	case a.Rival != nil:
		return fmt.Sprintf("answered on %v, but %v claims it too", a.Links, a.Rival)
	default:
		return fmt.Sprintf("answered on %v", a.Links)
	}
}

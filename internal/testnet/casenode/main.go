// Command casenode runs one node of l2vip as its flags say, in a network namespace of
// a case that is tried by hand. It prints each event; SIGUSR1 prints what it holds,
// SIGUSR2 calls SetServices with -next.
package main

import (
	"context"
	"encoding/hex"
	"flag"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/l2vip/l2vip"
	"github.com/l2vip/l2vip/announce"
	"github.com/l2vip/l2vip/election/gossip"
	"github.com/l2vip/l2vip/health"
	"github.com/l2vip/l2vip/pool/manifest"
)

func main() {
	config, next := parse()
	r, err := l2vip.New(config)
	check("New", err)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	go func() {
		for e := range r.Events(context.Background(), 0) {
			fmt.Println("EVENT", e.Time.Format("15:04:05.000"), e.Kind, e.Addr, e.Node, e.Hardware, e.Detail)
		}
	}()
	askHolds, setNext := notify()
	go obey(r, next, askHolds, setNext)
	check("Run", r.Run(ctx))
	fmt.Println("Run: <nil>")
}

// check ends the program if there is an error.
func check(what string, err error) {
	if err != nil {
		fmt.Printf("%s: %v\n", what, err)
		os.Exit(1)
	}
}

// parse returns the configuration that the flags ask for, and the services of -next.
func parse() (config l2vip.Config, next []l2vip.Service) {
	name := flag.String("name", "", "name of the node")
	interfaces := flag.String("if", "", "interfaces, separated by commas")
	peers := flag.String("peers", "", "peers of the membership, separated by commas")
	advertise := flag.String("advertise", "", "`address` under which the membership is reached")
	alone := flag.Bool("alone", false, "there are no other nodes")
	key := flag.String("key", "", "secret of the cluster, in hex")
	pass := flag.String("pass", "", "passphrase of the cluster")
	now := flag.String("svc", "", "services: name=addr+addr;name=pool:NAME")
	then := flag.String("next", "", "services from SIGUSR2 on")
	file := flag.String("manifest", "", "`file` with pools and advertisements")
	bind := flag.String("bind", "", "interface: bind there, not on the loopback interface")
	minMembers := flag.Int("min", 0, "how many members there must be")
	failback := flag.Duration("failback", 0, "see Config.Failback")
	profile := flag.String("profile", "", "fast: the fast profile")
	ready := flag.String("ready", "", "each service is ready while this `file` exists")
	flag.Parse()

	logger := slog.New(slog.NewTextHandler(os.Stderr, nil))
	secret, err := hex.DecodeString(*key)
	check("-key", err)
	config = l2vip.Config{
		Name: *name, Key: secret, Passphrase: *pass, Interfaces: list(*interfaces), Services: services(*now),
		MinMembers: *minMembers, Failback: *failback, Membership: l2vip.Alone, Logger: logger,
	}
	if *profile == "fast" {
		config.Profile = l2vip.Fast()
	}
	if *bind == "interface" {
		config.Bind = announce.Interface
	}
	if *ready != "" {
		exists := func(context.Context) error { _, err := os.Stat(*ready); return err }
		for i := range config.Services {
			config.Services[i].Health = health.Monitor{Check: exists, Interval: 50 * time.Millisecond, Timeout: time.Second, Rise: 1, Fall: 1}
		}
	}
	if !*alone {
		members := gossip.Config{Peers: list(*peers), Logger: logger}
		if *advertise != "" {
			members.Advertise = netip.MustParseAddr(*advertise)
		}
		g, err := gossip.New(members)
		check("gossip.New", err)
		config.Membership = g
	}
	if *file != "" {
		m, err := manifest.ParseFiles(*file)
		check("ParseFiles", err)
		config.Pools, config.Advertisements = m.Pools, m.Advertisements
	}
	return config, services(*then)
}

// list returns what is separated by commas.
func list(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return r == ',' })
}

// services reads "name=addr+addr;name=pool:NAME".
func services(spec string) (all []l2vip.Service) {
	for s := range strings.FieldsFuncSeq(spec, func(r rune) bool { return r == ';' }) {
		name, what, _ := strings.Cut(s, "=")
		service := l2vip.Service{Name: name}
		if p, ok := strings.CutPrefix(what, "pool:"); ok {
			service.Pool = p
		} else {
			for a := range strings.SplitSeq(what, "+") {
				service.Addresses = append(service.Addresses, netip.MustParseAddr(a))
			}
		}
		all = append(all, service)
	}
	return all
}

// obey does what the signals ask for.
func obey(r *l2vip.Runner, next []l2vip.Service, askHolds, setNext <-chan os.Signal) {
	for {
		select {
		case <-setNext:
			fmt.Println("SetServices:", r.SetServices(next))
		case <-askHolds:
			for _, a := range r.Status().Addresses {
				fmt.Printf("HOLDS %v %t reason=%v detail=%q\n", a.Addr, a.Holds, a.Reason, a.Detail)
			}
		}
	}
}

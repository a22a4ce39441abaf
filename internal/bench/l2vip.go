package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/l2vip/l2vip"
	"github.com/l2vip/l2vip/election"
	"github.com/l2vip/l2vip/election/gossip"
	"github.com/l2vip/l2vip/health"
	"github.com/l2vip/l2vip/internal/labprog"
)

// profile is a configuration of l2vip.
type profile struct {
	name    string // of the system
	timings l2vip.Profile
	engine  bool // with a membership engine; without, the members are those on the segment
}

// profiles is the one place that says how l2vip is configured.
var profiles = []profile{
	{"l2vip", l2vip.DefaultProfile(), true},
	{"l2vip-fast", l2vip.Fast(), true},
	{"l2vip-segment", l2vip.DefaultProfile(), false},
	{"l2vip-segment-fast", l2vip.Fast(), false},
}

// profileNamed returns the one of a name that there is.
func profileNamed(name string) profile {
	return profiles[slices.IndexFunc(profiles, func(p profile) bool { return p.name == name })]
}

// ours is l2vip as a system.
func ours(p profile) system {
	return system{
		name: p.name, engine: p.engine,
		missing: func() error { return nil },
		speaker: func(l *lab, at *machine, told func(standing)) (*exec.Cmd, error) {
			cmd, err := labprog.Role("speaker", "-name", at.Name, "-system", p.name, "-check", l.check.String(),
				"-pidfile", at.pidFile(), "-allocate", strconv.Itoa(l.insides),
				"-nodes", strconv.Itoa(len(l.places())), "-addresses", strconv.Itoa(max(1, l.addresses)),
				"-hangs="+strconv.FormatBool(l.hangs))
			if err != nil {
				return nil, err
			}
			cmd.Stdout = labprog.Decode(l.Fail, told)
			return cmd, nil
		},
	}
}

// runSpeaker is the speaker of a node, until it is told to stop. It prints its
// standing as a line of JSON whenever that changes.
func runSpeaker(args []string) error {
	flags := flag.NewFlagSet("speaker", flag.ExitOnError)
	name := flags.String("name", "", "name of the node")
	systemName := flags.String("system", "", "name of the system")
	watched := flags.String("check", "none", "how to watch the application")
	pidFile := flags.String("pidfile", "", "pid file of the application")
	allocators := flags.Int("allocate", 0, "how many goroutines allocate all the time")
	nodes := flags.Int("nodes", 3, "how many nodes there are")
	addresses := flags.Int("addresses", 1, "how many addresses they carry")
	hangs := flags.Bool("hangs", false, "the loop can be made to hang")
	if err := flags.Parse(args); err != nil {
		return err
	}
	i := slices.IndexFunc(profiles, func(p profile) bool { return p.name == *systemName })
	if i < 0 {
		return fmt.Errorf("no system %q", *systemName)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()

	logger := slog.New(slog.NewTextHandler(os.Stderr, nil)).With("node", *name)
	config := l2vip.Config{
		Name:       *name,
		Interfaces: []string{"eth0"},
		Services:   []l2vip.Service{{Addresses: carried(*addresses), Health: source(*watched, *pidFile)}},
		Profile:    profiles[i].timings,
		Logger:     logger,
	}
	if profiles[i].engine {
		members := gossip.Config{Logger: logger}
		for _, at := range nodePlaces(*nodes) {
			members.Peers = append(members.Peers, at.addr)
		}
		g, err := gossip.New(members)
		if err != nil {
			return err
		}
		config.Membership = g
	}
	var loop *hangable
	if *hangs {
		var err error
		if loop, err = makeHangable(&config); err != nil {
			return err
		}
	}
	runner, err := l2vip.New(config)
	if err != nil {
		return err
	}
	if *hangs {
		go loop.hang(runner, config.Services)
	}
	for range *allocators {
		go allocate()
	}
	telling, done := context.WithCancel(context.Background())
	var group sync.WaitGroup
	group.Go(func() { tell(telling, runner, *nodes) })
	err = runner.Run(ctx)
	done()
	group.Wait()
	return err
}

// source is how l2vip watches the application; nil for not at all.
func source(name, pidFile string) health.Source {
	http := health.HTTP{URL: checkURL}
	switch name {
	case checkProcess.String():
		return health.Process{PIDFile: pidFile}
	case checkFast.String():
		return health.Monitor{Check: http.Check, Interval: 100 * time.Millisecond, Timeout: 100 * time.Millisecond, Fall: 1}
	case checkHTTP.String():
		return http
	}
	return nil
}

// tell prints the standing whenever it has changed, until ctx ends.
func tell(ctx context.Context, r *l2vip.Runner, nodes int) {
	out := json.NewEncoder(os.Stdout)
	events, ready := r.Events(ctx, 0), r.Ready()
	joined := false
	var told standing
	for {
		select {
		case <-ready:
			ready, joined = nil, true
		case _, ok := <-events:
			if !ok {
				return
			}
		}
		if now := look(r.Status(), joined, nodes); now != told {
			told = now
			_ = out.Encode(now)
		}
	}
}

// look returns the standing of a Runner, one of so many.
func look(status *l2vip.Status, joined bool, nodes int) standing {
	members := 0
	for _, m := range status.Members {
		if m.Offered {
			members++
		}
	}
	a := status.Addresses[slices.IndexFunc(status.Addresses, func(a l2vip.AddressStatus) bool { return a.Addr == vip })]
	return standing{
		Ready: joined && members == nodes && a.Reason == election.Offered,
		Holds: a.Holds,
	}
}

// allocated keeps the compiler from leaving out what allocate makes.
var allocated [16 << 10]*byte

// allocate keeps a processor and the garbage collector busy, as a program may
// that embeds a Runner.
func allocate() {
	for i := 0; ; i++ {
		b := make([]byte, 1<<10)
		allocated[i%len(allocated)] = &b[0]
	}
}

package main

import (
	"context"
	"encoding/json"
	"flag"
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"github.com/l2vip/l2vip"
	"github.com/l2vip/l2vip/election"
	"github.com/l2vip/l2vip/health"
)

// runSpeaker is the speaker of a node, until it is told to stop. It prints its
// standing as a line of JSON whenever that changes.
func runSpeaker(args []string) error {
	flags := flag.NewFlagSet("speaker", flag.ExitOnError)
	var f family
	familyFlag(flags, &f)
	name := flags.String("name", "", "name of the node")
	nodeRole := flags.String("role", "", "the node's label node-role; without one if empty")
	pidFile := flags.String("pidfile", "", "pid file of the web server; if empty, there is none to watch")
	if err := flags.Parse(args); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	runner, err := newRunner(f, *name, *nodeRole, *pidFile)
	if err != nil {
		return err
	}
	telling, done := context.WithCancel(context.Background())
	var group sync.WaitGroup
	group.Go(func() { tell(telling, runner) })
	err = runner.Run(ctx)
	done()
	group.Wait()
	return err
}

// newRunner makes the Runner of a node.
func newRunner(f family, name, nodeRole, pidFile string) (*l2vip.Runner, error) {
	logger := slog.New(slog.NewTextHandler(os.Stderr, nil)).With("node", name)
	m, _, err := readScenario(f)
	if err != nil {
		return nil, err
	}
	config := l2vip.Config{
		Name:           name,
		Pools:          m.Pools,
		Advertisements: m.Advertisements,
		Services:       []l2vip.Service{{Name: serviceName, Pool: servicePool}},
		Logger:         logger,
	}
	if nodeRole != "" {
		config.Labels = map[string]string{"node-role": nodeRole}
	}
	if pidFile != "" {
		// The end of the process is known at once, and by HTTP that it
		// serves. What is behind it is no reason to move the address: the
		// other fronts have the same behind them.
		config.Services[0].Health = health.All(
			health.Process{PIDFile: pidFile},
			health.HTTP{URL: f.healthURL()},
		)
	}
	return l2vip.New(config)
}

// tell prints the standing whenever it has changed, until ctx ends.
func tell(ctx context.Context, r *l2vip.Runner) {
	out := json.NewEncoder(os.Stdout)
	events, ready := r.Events(ctx, 0), r.Ready()
	told, now := standing{}, standing{}
	for {
		select {
		case <-ready:
			ready, now.Ready = nil, true
		case _, ok := <-events:
			if !ok {
				return
			}
		}
		now.look(r.Status())
		if now != told {
			told = now
			_ = out.Encode(now)
		}
	}
}

// look takes in what the Runner says of itself.
func (s *standing) look(status *l2vip.Status) {
	s.Members = 0
	for _, m := range status.Members {
		if m.Offered {
			s.Members++
		}
	}
	for _, a := range status.Addresses { // there is one
		s.Candidate = a.Reason == election.Offered
		s.Holds = a.Holds
	}
}

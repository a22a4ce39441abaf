package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"github.com/l2vip/l2vip/internal/labprog"
)

// testCase is something that happens to a cluster, and how it is measured.
type testCase struct {
	name string
	says string // what happens, for people
	// check is how the systems watch the application.
	check check
	// moves tells that another node must take over. If not, nothing need move.
	moves bool
	// figures are what matters.
	figures figures
	// oursOnly tells that the case means nothing to other systems, and engineOnly
	// that it means nothing to those without a membership engine, or the same as to
	// those with one.
	oursOnly, engineOnly bool
	// once tells that the case is played once only, because it would come to the
	// same again.
	once bool
	// nodes is how many there are, and addresses how many they carry; zero means
	// 3 and 1.
	nodes, addresses int
	// reckoned tells that the cost is not measured with so many nodes, but follows
	// from that of fewer.
	reckoned bool
	// insides is how many goroutines shall allocate inside every speaker.
	insides int
	// hangs tells that the loop of a speaker can be made to hang.
	hangs bool
	// needs is a program without which it cannot be played.
	needs string
	// lasts is for how long to look at the least after act began; zero means so
	// many minutes, at least one, of the length that -minute says.
	lasts   time.Duration
	minutes int
	// prepare goes before what is measured, and act begins it.
	prepare, act func(context.Context, *lab) error
}

// figures say what is measured of a case.
type figures uint8

const (
	// gaps are for how long clients miss the address.
	gaps figures = iota
	// counts are takeovers and answers; the gaps are not what matters.
	counts
	// holders are gaps and takeovers, and how often two nodes held the address, which
	// fails the run.
	holders
	// costs are processor time and packets while nothing happens.
	costs
	// risks are what came of a simulation.
	risks
)

// check is how the application is watched.
type check uint8

const (
	unchecked check = iota
	// checkProcess notices that its process has exited.
	checkProcess
	// checkFast asks by HTTP, and one failure is enough.
	checkFast
	// checkHTTP asks by HTTP as l2vip does by default.
	checkHTTP
)

var checkNames = [...]string{"none", "process", "fast", "http"}

func (c check) String() string { return checkNames[c] }

func (c testCase) String() string { return c.name }

// trial is one run of a case with a system.
type trial struct {
	testCase
	system
	options
	log io.Writer
}

// lasting returns for how long the trial looks at the least.
func (t trial) lasting() time.Duration {
	return cmp.Or(t.lasts, time.Duration(max(1, t.minutes))*t.minute)
}

// places are the nodes of the lab.
func (t trial) places() []place { return nodePlaces(cmp.Or(t.nodes, 3)) }

// fits reports whether the case means something to a system.
func (c testCase) fits(s system) bool {
	return (!c.oursOnly || !s.peer) && (!c.engineOnly || s.engine)
}

// play plays the case once.
func (c testCase) play(ctx context.Context, t trial) (result, error) {
	switch c.figures {
	case costs:
		if t.reckoned {
			return reckonCost(ctx, t)
		}
		return measureCost(ctx, t)
	case risks:
		return measureRisk(ctx, t)
	}
	return measureGap(ctx, t)
}

const (
	// settles is how long a takeover is looked at, at the least: what flaps
	// does so within it.
	settles = 2 * time.Second
	// away is for how long something is silent or stopped that returns.
	away = 5 * time.Second
	// returns is how long the return of a node is looked at.
	returns = 4 * time.Second
)

// cases are all cases, in the order of the tables.
var cases = []testCase{
	{
		name: "port-cut", says: "the leader's switch port is cut: it loses its carrier",
		moves: true, lasts: settles,
		act: func(_ context.Context, l *lab) error { return l.leader.Unplug() },
	},
	{
		name: "silent-kernel", says: "the leader's port forwards nothing, its carrier stays",
		moves: true, lasts: settles,
		act: func(_ context.Context, l *lab) error { return l.leader.Block() },
	},
	{
		name: "follower-cut", says: "a follower's port goes silent for 5 s and returns",
		lasts: away + returns,
		act: func(ctx context.Context, l *lab) error {
			follower := l.follower()
			if err := follower.Block(); err != nil {
				return err
			}
			if err := pause(ctx, away); err != nil {
				return err
			}
			return follower.Unblock()
		},
	},
	{
		name: "app-kill", says: "the application on the leader is killed",
		check: checkProcess, moves: true, lasts: settles,
		act: func(_ context.Context, l *lab) error { return l.leader.app.Kill() },
	},
	{
		name: "app-hang", says: "the application on the leader stops answering",
		check: checkFast, moves: true, lasts: settles,
		act: func(_ context.Context, l *lab) error { return l.leader.app.Freeze() },
	},
	{
		name: "drain", says: "the leader is told to stop",
		moves: true, lasts: settles,
		act: func(_ context.Context, l *lab) error { return l.leader.speaker.Terminate() },
	},
	{
		name: "speaker-kill", says: "the leader's speaker is killed, the application is not",
		moves: true, lasts: settles,
		act: func(_ context.Context, l *lab) error { return l.leader.speaker.Kill() },
	},
	{
		name: "node-return", says: "a failed node returns",
		lasts: returns,
		prepare: func(ctx context.Context, l *lab) error {
			if err := l.leader.Unplug(); err != nil {
				return err
			}
			return l.failOver(ctx)
		},
		act: func(_ context.Context, l *lab) error { return l.failed.Plug() },
	},
	{
		name: "busy-minute", says: "nothing fails for a minute, with twice as many busy processes as cores",
		check: checkHTTP, figures: counts,
		act: busy,
	},
	{
		name: "busy-minute-inside", says: "the same, with four allocating goroutines inside every speaker",
		check: checkHTTP, figures: counts, oursOnly: true, insides: 4,
		act: busy,
	},
	{
		name: "paused", says: "the leader's speaker is stopped for 5 s and continued",
		figures: counts, lasts: away + returns,
		act: func(ctx context.Context, l *lab) error {
			if err := l.leader.speaker.Freeze(); err != nil {
				return err
			}
			if err := pause(ctx, away); err != nil {
				return err
			}
			return l.leader.speaker.Thaw()
		},
	},
	{
		name: "lossy-minute", says: "for a minute, 2% of the frames at the leader's port are dropped in each direction",
		figures: counts, needs: "nft",
		act: func(ctx context.Context, l *lab) error { return filter(ctx, l.leader, lossy) },
	},
	{
		name: "deaf-holder", says: "nothing reaches the leader any more, what it sends still arrives",
		moves: true, figures: holders, lasts: settles, needs: "nft",
		act: func(ctx context.Context, l *lab) error { return filter(ctx, l.leader, deaf) },
	},
	{
		name: "deaf-return", says: "a leader that nothing reached hears again, after another node has taken over",
		figures: counts, lasts: returns, needs: "nft", oursOnly: true,
		prepare: func(ctx context.Context, l *lab) error {
			if err := filter(ctx, l.leader, deaf); err != nil {
				return err
			}
			return l.failOver(ctx)
		},
		act: func(ctx context.Context, l *lab) error { return filter(ctx, l.failed, "delete table netdev deaf") },
	},
	{
		name: "mute-holder", says: "nothing that the leader sends arrives any more, it hears all",
		moves: true, figures: holders, lasts: settles, needs: "nft",
		act: func(ctx context.Context, l *lab) error { return filter(ctx, l.leader, mute) },
	},
	{
		name: "membership-cut", says: "for two minutes, the port of the membership is closed on all nodes",
		figures: holders, engineOnly: true, minutes: 2, needs: "nft",
		act: func(ctx context.Context, l *lab) error {
			for _, m := range l.nodes {
				if err := filter(ctx, m, membershipCut); err != nil {
					return err
				}
			}
			return nil
		},
	},
	{
		name: "hung-loop", says: "the loop of the leader's Runner hangs for 5 s",
		moves: true, figures: holders, oursOnly: true, hangs: true, lasts: away + returns,
		act: func(_ context.Context, l *lab) error { return l.leader.hang() },
	},
	{
		// Hours on the wire would take hours.
		name: "loss", says: "simulated hours in which 2% of the frames at the leader's port are lost, two nodes and three",
		figures: risks, engineOnly: true, once: true, needs: "go",
	},
	{
		name: "idle", says: "nothing happens: what three nodes cost together",
		figures: costs,
	},
	{
		name: "idle-10-nodes", says: "what ten nodes cost together",
		figures: costs, oursOnly: true, nodes: 10,
	},
	{
		// Fifty speakers, which a machine would run for all others, are more than
		// most have processors for.
		name: "idle-50-nodes", says: "what fifty nodes would cost together, reckoned from ten and twenty",
		figures: costs, oursOnly: true, nodes: 50, reckoned: true,
	},
	{
		name: "idle-1000-addresses", says: "what three nodes cost together that carry 1,000 addresses",
		figures: costs, oursOnly: true, addresses: 1000,
	},
}

// busy starts twice as many busy processes as there are cores.
func busy(_ context.Context, l *lab) error {
	for range 2 * runtime.NumCPU() {
		cmd, err := labprog.Role("busy")
		if err != nil {
			return err
		}
		if _, err := l.Start(l.client, "busy process", cmd); err != nil {
			return err
		}
	}
	return nil
}

// What nft filters in a node. At the hooks of the network device even packet sockets
// receive only what was not dropped, unless they are open for all protocols.
const (
	lossy = `table netdev loss {
	chain in { type filter hook ingress device "eth0" priority 0; numgen random mod 100 < 2 drop; }
	chain out { type filter hook egress device "eth0" priority 0; numgen random mod 100 < 2 drop; }
}`
	deaf = `table netdev deaf {
	chain in { type filter hook ingress device "eth0" priority 0; drop; }
}`
	mute = `table netdev mute {
	chain out { type filter hook egress device "eth0" priority 0; drop; }
}`
	membershipCut = `table inet membership {
	chain in { type filter hook input priority 0; meta l4proto { tcp, udp } th dport 7946 drop; meta l4proto { tcp, udp } th sport 7946 drop; }
}`
)

// filter gives a node's nft the rules.
func filter(ctx context.Context, at *machine, rules string) error {
	return at.Do(func() error {
		cmd := exec.CommandContext(ctx, "nft", "-f", "-")
		cmd.Stdin = strings.NewReader(rules)
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("filter frames with nft: %w: %s", err, out)
		}
		return nil
	})
}

// pause waits for d to pass.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

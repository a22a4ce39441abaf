// Bench measures for how long clients miss an address when something fails: with
// l2vip, and with keepalived on the same lab in the same run.
//
//	go run ./internal/bench
//	go run ./internal/bench -runs 1 -case port-cut,app-kill,drain -system l2vip,keepalived-100ms
//
// The lab is three nodes, a client and a watcher on one bridge, each a network
// namespace, made anew for every run. Each node has an application that echoes
// datagrams sent to the address with the node's name, and a speaker of the
// system under test. The client sends a numbered datagram every millisecond,
// whether those before were answered or not. The gap is the longest time between
// the sending of two datagrams that were answered, with none answered between
// them, around what happens; so one millisecond means that clients noticed nothing. The
// watcher asks for the address by ARP a hundred times a second, and notes which
// nodes answer and announce it. Client, watcher and applications run with
// real-time priority where that is allowed, so that they do not measure
// themselves.
//
// The systems take turns, and every run meets what happens at a random moment. l2vip
// and l2vip-fast have a membership engine beside the segment; l2vip-segment and
// l2vip-segment-fast have the same timings and none.
// keepalived is Debian's package with its defaults but for the interval of its
// adverts (VRRP version 3), nopreempt, because l2vip's holders keep an address
// too, and the priorities that suit it best: see keepalived.go.
//
// A moment with two holders is a question of the watcher that two nodes have answered.
// Where one node must have lost the address before another takes it, such a moment
// fails the run: when the leader is deaf, mute or hangs, and when nothing may move.
//
// What happens too seldom to be waited for is simulated: loss plays the detection
// of silent nodes, as it is but for the clock and the network, by a test of its
// package, which needs the go command. The costs of ten nodes and of 1,000
// addresses are measured on the wire like all others, those of fifty nodes are
// reckoned from ten and twenty.
//
// Everything takes hours, most of them minutes in which nothing may happen; -minute
// makes them shorter.
//
// A run with -json is not lost: -from reads what such runs have printed, joins
// them, and prints and draws all that a run does.
//
//	go run ./internal/bench -json > monday.json
//	go run ./internal/bench -json -case drain > tuesday.json
//	go run ./internal/bench -from monday.json,tuesday.json -svg gaps.svg
//
// The document has an entry for each case with each system:
//
//	{"cases": [{"case": "port-cut", "system": "l2vip-fast", "runs": 5,
//		"median_ms": 12.1, "worst_ms": 15.8, "lost": 52,
//		"ratios": {"keepalived-10ms": 0.28}, "each": [...], ...}, ...], ...}
//
// median_ms and worst_ms are of the gaps of all runs, and lost is how many
// datagrams were not answered in all runs together, from what happens on. ratios
// has median_ms in relation to that of each peer in the same case: with 0.28 the
// gap is 28% of the peer's. each has the runs themselves. The type entry says what
// else there is.
//
// It needs Linux, and root or user namespaces for ordinary users. Nothing of the
// machine's network or configuration is touched. The exit status is 0 if in
// every run another node served where one had to, and no moment with two holders
// failed it; 1 if not, or if it was interrupted and has measured less, 2 for wrong
// arguments.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"github.com/l2vip/l2vip/internal/labprog"
	"github.com/l2vip/l2vip/internal/testnet"
)

// roles are the programs that run in the lab's nodes.
var roles = labprog.Roles{
	"app":     runApp,
	"busy":    runBusy,
	"check":   runCheck,
	"load":    runLoad,
	"speaker": runSpeaker,
	"watch":   runWatch,
}

func main() { os.Exit(labprog.Main(roles, run)) }

// run is the program itself; it returns the exit status.
func run() int {
	o, err := parseOptions(flag.CommandLine, os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second interrupt ends the program at once
	if err := bench(ctx, o, os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		return 1
	}
	return 0
}

// bench measures, or reads what was measured, and prints what came of it.
func bench(ctx context.Context, o options, stdout, stderr io.Writer) error {
	if len(o.from) > 0 {
		all, processors, err := readResults(o)
		if err != nil {
			return err
		}
		if !o.json {
			for _, c := range all.cases() {
				all.printCase(stdout, c)
			}
		}
		return all.present(o, stdout, processors)
	}
	all, err := measure(ctx, o, stdout, stderr)
	if len(all) == 0 {
		return err
	}
	return errors.Join(err, all.present(o, stdout, runtime.NumCPU()))
}

// measure plays all cases with all systems, and prints each case when it is done.
// With an error the results are what was measured until then, or in spite of it.
func measure(ctx context.Context, o options, stdout, stderr io.Writer) (all results, failures error) {
	if err := testnet.Available(); err != nil {
		return nil, err
	}
	var present []system
	for _, s := range o.systems {
		if err := s.missing(); err != nil {
			fmt.Fprintf(stderr, "%s is left out: %v\n", s.name, err)
			continue
		}
		present = append(present, s)
	}
	if len(present) == 0 {
		return nil, errors.New("no system is left to measure")
	}
	if !o.json {
		introduce(stdout)
	}
	var log io.Writer = io.Discard
	if o.verbose {
		log = labprog.Shared(stderr)
	}

	for _, c := range o.cases {
		if _, err := exec.LookPath(c.needs); c.needs != "" && err != nil {
			fmt.Fprintf(stderr, "%s is left out: %v\n", c.name, err)
			continue
		}
		runs := o.runs
		if c.once {
			runs = 1
		}
		for run := range runs {
			for _, s := range present {
				if !c.fits(s) {
					continue
				}
				r, err := c.play(ctx, trial{testCase: c, system: s, options: o, log: log})
				if ctx.Err() != nil {
					return all, errors.Join(failures, errors.New("interrupted"))
				}
				if err != nil {
					err = fmt.Errorf("%s with %s, run %d: %w", c.name, s.name, run+1, err)
					failures = errors.Join(failures, err)
				}
				fmt.Fprintf(stderr, "%s %d/%d %s: %s\n", c.name, run+1, runs, s.name, r.describe(c, err))
				all.add(c, s, r, err)
			}
		}
		if !o.json {
			all.printCase(stdout, c)
		}
	}
	return all, failures
}

// present prints and draws what there is at the end, measured with so many
// processors.
func (all results) present(o options, stdout io.Writer, processors int) error {
	var err error
	if o.json {
		err = all.printJSON(stdout, processors)
	} else {
		all.printMarkdown(stdout, processors)
	}
	if o.svg != "" {
		err = errors.Join(err, writePicture(o.svg, all))
	}
	return err
}

// introduce says what a reader must know about the machine.
func introduce(w io.Writer) {
	fmt.Fprintf(w, "three nodes, a datagram each %v, gaps in milliseconds, %s\n", every, plural(runtime.NumCPU(), "processor"))
	if load := loadAverage(); load > 0.5 {
		fmt.Fprintf(w, "the machine is busy already (load %.1f): look at the ratios\n", load)
	}
	if err := tryRealTime(); err != nil {
		fmt.Fprintf(w, "the client has no real-time priority (%v): on a busy machine it measures itself\n", err)
	}
}

// minute is how long the cases last by default that look at a calm network.
const minute = time.Minute

// Failover plays a scenario for real: three front nodes with a web server each, a
// worker with the applications behind them, and a client that uses one virtual
// address. The leader's web server dies, the leader's switch port is unplugged,
// its speaker is killed, then told to stop, and each time another front takes
// the address over. The program shows what the client notices.
//
//	go run ./examples/failover
//	go run ./examples/failover -6
//
// With -6 all of it is IPv6: the addresses, and what the web servers and the client
// say to each other. The speakers need no addresses to find each other: they do so on
// the segment. The nodes are network namespaces, joined by a bridge; every speaker,
// web server and application is a process of its own. So it needs Linux, and root or
// user namespaces for ordinary users. Nothing else must be installed: with nginx
// on the machine the fronts run nginx, and otherwise a small proxy of this
// program. Nothing of the machine's own network is touched, and nothing stays
// behind.
//
// The client sends a request on a new connection every 5 ms, none waiting for
// another. One that is unanswered after 250 ms has failed. The longest gap is
// between the sending times of two requests that were served, with none served
// between them.
//
// The exit status is 0 if every failure ended with the address served by another
// front, nothing moved when what had failed came back, and no other node ever
// answered for the address; 1 if not, 2 for wrong arguments, and 130 after an
// interrupt.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/l2vip/l2vip/internal/labprog"
	"github.com/l2vip/l2vip/internal/testnet"
)

// roles are what runs in the nodes: this program as well, started once more.
var roles = labprog.Roles{
	"app":     runApp,
	"client":  runClient,
	"proxy":   runProxy,
	"speaker": runSpeaker,
}

func main() { os.Exit(labprog.Main(roles, run)) }

// The exit statuses besides 0 and that of wrong arguments, which is flag's.
const (
	exitFailed      = 1
	exitInterrupted = 130
)

// options are the flags.
type options struct {
	family  family
	runs    int
	json    bool
	svg     string
	server  string
	verbose bool
	lasts   time.Duration // how long a phase lasts at the least
}

func parseOptions(flags *flag.FlagSet, args []string) (options, error) {
	o := options{lasts: 2500 * time.Millisecond}
	familyFlag(flags, &o.family)
	flags.IntVar(&o.runs, "runs", 1, "how often to play all phases")
	flags.BoolVar(&o.json, "json", false, "print only a JSON document with the result")
	flags.StringVar(&o.svg, "svg", "", "draw the timeline to this `file`")
	flags.StringVar(&o.server, "server", "auto", "web server of the fronts: nginx, embedded, or auto: nginx if there is one")
	flags.BoolVar(&o.verbose, "v", false, "print what the speakers log to the standard error; with -json, what happens as well")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	switch {
	case flags.NArg() > 0:
		return o, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	case o.runs < 1:
		return o, fmt.Errorf("-runs %d: at least 1", o.runs)
	case o.server != "auto" && o.server != "nginx" && o.server != "embedded":
		return o, fmt.Errorf("-server %s: auto, nginx or embedded", o.server)
	}
	return o, nil
}

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
	err = failover(ctx, o, os.Stdout, os.Stderr)
	switch {
	case err == nil:
		return 0
	case ctx.Err() != nil:
		fmt.Fprintln(os.Stderr, "interrupted")
		return exitInterrupted
	default:
		fmt.Fprintln(os.Stderr, "failed:", err)
		return exitFailed
	}
}

// failover builds the lab, plays the runs and prints the results. An error says
// why the exit status is not 0.
func failover(ctx context.Context, o options, stdout, stderr io.Writer) error {
	progress, log := stdout, io.Discard
	stderr = labprog.Shared(stderr)
	if o.json {
		progress = io.Discard
	}
	if o.verbose {
		log = stderr
		if o.json {
			progress = stderr
		}
	}
	_, vip, err := readScenario(o.family)
	if err != nil {
		return err
	}
	nginx, server, err := chooseServer(o.server)
	if err != nil {
		return err
	}
	if err := testnet.Available(); err != nil {
		return err
	}
	introduce(progress, o.family, vip, server)

	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	l, err := newLab(o.family, vip, nginx, log, fail)
	if err != nil {
		return err
	}
	p := &player{
		lab:   l,
		show:  &display{out: progress, colour: isTerminal(progress), board: l.board},
		lasts: o.lasts,
	}
	outcomes, err := p.playAll(ctx, o.runs)
	err = errors.Join(err, l.board.intruder(), l.Close())
	if o.json {
		err = errors.Join(err, report(vip, outcomes, o.runs, err == nil).print(stdout))
	} else {
		printRuns(stdout, outcomes, o.runs)
	}
	if o.svg != "" {
		title := fmt.Sprintf("%s, served by one of %d fronts with %s", vip, len(fronts), server)
		err = errors.Join(err, writeTimeline(o.svg, title, l.board.requests, outcomes))
	}
	return err
}

// chooseServer returns the path of nginx, empty for the embedded proxy, and what
// to call the web server.
func chooseServer(choice string) (path, name string, err error) {
	const embedded = "a proxy of this program"
	if choice == "embedded" {
		return "", embedded, nil
	}
	if path = labprog.Find("nginx"); path != "" {
		return path, nginxVersion(path), nil
	}
	if choice == "nginx" {
		return "", "", errors.New("-server nginx: there is no nginx on this machine")
	}
	return "", embedded + ", because there is no nginx on this machine", nil
}

// introduce says what is going to run where.
func introduce(w io.Writer, f family, vip netip.Addr, server string) {
	for _, at := range fronts {
		fmt.Fprintf(w, "%-8s  %s  speaker, web server: %s\n", at.name, f.addr(at), server)
	}
	fmt.Fprintf(w, "%-8s  %s  app-foo, app-bar, a speaker that must never announce\n", worker.name, f.addr(worker))
	fmt.Fprintf(w, "%-8s  %s  a request to %s every %v; one character is %d of them\n\n", user.name, f.addr(user), vip, every, cell)
}

// isTerminal reports whether w is a terminal, where there are colours.
func isTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

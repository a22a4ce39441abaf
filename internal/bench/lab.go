package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/l2vip/l2vip/internal/labprog"
	"github.com/l2vip/l2vip/internal/testnet"
)

// place is the name and the address of a node.
type place struct{ name, addr string }

// The nodes of the lab, and the address that they carry.
var (
	user    = place{"client", "192.168.122.90"}
	watcher = place{"watcher", "192.168.122.91"}
	vip     = netip.MustParseAddr("192.168.122.100")
)

// mostNodes is how many nodes there is room for below the client.
const mostNodes = 80

// nodePlaces are the first nodes of the lab.
func nodePlaces(n int) []place {
	var all []place
	for i := range n {
		all = append(all, place{fmt.Sprint("node-", i), fmt.Sprint("192.168.122.", 10+i)})
	}
	return all
}

// carried are the addresses that the nodes carry: the one that clients ask for, and
// others in a network that no node is in.
func carried(n int) []netip.Addr {
	all := []netip.Addr{vip}
	for i := 1; i < n; i++ {
		all = append(all, netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}))
	}
	return all
}

// appPort is where the application echoes datagrams.
const appPort = 9000

// lab is the network with everything that runs on it. It is used once.
type lab struct {
	*labprog.Lab
	trial

	board   *board
	nodes   []*machine
	client  *testnet.Node
	watcher *testnet.Node

	load, watch *observer
	leader      *machine // before what happens
	failed      *machine // what failed before that
}

// machine is a node with an application and a speaker.
type machine struct {
	*testnet.Node
	number       int
	dir          string // of its files
	app, speaker *labprog.Program
}

func (m *machine) pidFile() string { return filepath.Join(m.dir, "app.pid") }

// observer is a program that tells what it has seen when its input ends.
type observer struct {
	*labprog.Program
	input io.Closer
}

// newLab builds the nodes and starts the applications and speakers. If
// something fails later, or ends that should not, fail is called.
func newLab(t trial, fail func(error)) (_ *lab, err error) {
	nodes, err := labprog.New("l2vip-bench-", t.log, fail)
	if err != nil {
		return nil, err
	}
	l := &lab{Lab: nodes, trial: t, board: newBoard(t.places())}
	defer func() {
		if err != nil {
			err = errors.Join(err, l.Close())
		}
	}()
	for i, at := range l.places() {
		if err := l.addMachine(i, at); err != nil {
			return nil, err
		}
	}
	if l.client, err = l.addNode(user); err != nil {
		return nil, err
	}
	if l.watcher, err = l.addNode(watcher); err != nil {
		return nil, err
	}
	for _, m := range l.nodes {
		if err := l.startSpeaker(m); err != nil {
			return nil, err
		}
	}
	return l, nil
}

func (l *lab) addNode(at place) (*testnet.Node, error) {
	return l.AddNode(at.name, netip.PrefixFrom(netip.MustParseAddr(at.addr), 24))
}

func (l *lab) addMachine(number int, at place) error {
	node, err := l.addNode(at)
	if err != nil {
		return err
	}
	m := &machine{Node: node, number: number, dir: filepath.Join(l.Dir, at.name)}
	l.nodes = append(l.nodes, m)
	if err := os.Mkdir(m.dir, 0o700); err != nil {
		return err
	}
	cmd, err := labprog.Role("app", "-name", m.Name, "-pidfile", m.pidFile())
	if err != nil {
		return err
	}
	serving := make(chan struct{})
	cmd.Stdout = labprog.Lines(func([]byte) { close(serving) })
	if m.app, err = l.Start(node, "application", cmd); err != nil {
		return err
	}
	select {
	case <-serving:
		return nil
	case <-m.app.Done():
		return fmt.Errorf("the application of %s does not start", m.Name)
	}
}

func (l *lab) startSpeaker(m *machine) error {
	cmd, err := l.speaker(l, m, func(s standing) {
		l.board.Update(func() { l.board.speakers[m.Name] = s })
	})
	if err != nil {
		return err
	}
	m.speaker, err = l.Start(m.Node, l.name(), cmd)
	return err
}

// name is that of the system.
func (l *lab) name() string { return l.system.name }

// observe starts the client and the watcher.
func (l *lab) observe() error {
	var err error
	l.load, err = l.startObserver(l.client, "load", labprog.Decode(l.Fail, func(said message) {
		l.board.Update(func() {
			l.board.trace = said.Trace
			if said.Progress != nil {
				l.board.progress = *said.Progress
			}
		})
	}))
	if err != nil {
		return err
	}
	l.watch, err = l.startObserver(l.watcher, "watch", labprog.Decode(l.Fail, func(seen sighting) {
		l.board.Update(func() { l.board.sighting = &seen })
	}))
	return err
}

func (l *lab) startObserver(node *testnet.Node, name string, said io.Writer) (*observer, error) {
	cmd, err := labprog.Role(name)
	if err != nil {
		return nil, err
	}
	input, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	cmd.Stdout = said
	p, err := l.Start(node, name, cmd)
	return &observer{p, input}, err
}

// end lets the observer tell what it has seen, and waits until it has.
func (o *observer) end() error {
	o.MayEnd()
	err := o.input.Close()
	<-o.Done()
	return err
}

// node returns a node by its name.
func (l *lab) node(name string) *machine {
	return l.nodes[slices.IndexFunc(l.nodes, func(m *machine) bool { return m.Name == name })]
}

// follower returns the first node that does not lead.
func (l *lab) follower() *machine {
	return l.nodes[slices.IndexFunc(l.nodes, func(m *machine) bool { return m != l.leader })]
}

// steady is how many datagrams in a row must be answered by the same node until
// that is taken to serve.
const steady = int(500 * time.Millisecond / every)

// waitLeader waits until a node leads, all others are ready to, and the last
// datagrams, as many as streak, were answered by the leader.
func (l *lab) waitLeader(ctx context.Context, streak int) error {
	b := l.board
	err := b.Wait(ctx, "a node led and the others were ready", func() bool {
		leader := b.leader()
		return leader != "" && (streak == 0 || b.progress.By == leader && b.progress.Streak >= streak)
	})
	b.Read(func() {
		if err != nil {
			err = fmt.Errorf("%w: the speakers say %+v, the client %+v", err, b.speakers, b.progress)
		} else {
			l.leader = l.node(b.leader())
		}
	})
	return err
}

// failOver waits until a node other than the leader serves, which leads from then on.
func (l *lab) failOver(ctx context.Context) error {
	l.failed = l.leader
	err := l.board.Wait(ctx, "another node served", func() bool { return l.board.served(l.failed.Name, steady) })
	if err == nil {
		l.board.Read(func() { l.leader = l.node(l.board.progress.By) })
	}
	return err
}

// measureGap plays a case and returns what the client and the watcher saw.
func measureGap(ctx context.Context, t trial) (r result, err error) {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	l, err := newLab(t, fail)
	if err != nil {
		return result{}, err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	if err := l.waitLeader(ctx, 0); err != nil {
		return result{}, err
	}
	if err := l.observe(); err != nil {
		return result{}, err
	}
	// A random number, so that what happens meets the intervals of no system in
	// step.
	if err := l.waitLeader(ctx, steady+rand.IntN(int(time.Second/every))); err != nil {
		return result{}, err
	}
	if t.prepare != nil {
		if err := t.prepare(ctx, l); err != nil {
			return result{}, err
		}
	}
	from := now()
	if err := t.act(ctx, l); err != nil {
		return result{}, err
	}
	over := l.over(ctx, from)
	to := now()
	if err := errors.Join(l.load.end(), l.watch.end()); err != nil {
		return result{}, err
	}
	if l.board.trace == nil || l.board.sighting == nil {
		return result{}, cmp.Or(context.Cause(ctx), errors.New("the client or the watcher has said nothing"))
	}
	r = newResult(*l.board.trace, *l.board.sighting, l.leader.HardwareAddr.String(), from, to)
	if t.figures == holders && r.TwoHolders > 0 {
		over = errors.Join(over, fmt.Errorf("two nodes answered %s", plural(r.TwoHolders, "question")))
	}
	return r, over
}

// over waits until what began at a time is over.
func (l *lab) over(ctx context.Context, from time.Duration) error {
	if err := pause(ctx, from+l.lasting()-now()); err != nil || !l.moves {
		return err
	}
	return l.board.Wait(ctx, "another node served", func() bool { return l.board.served(l.leader.Name, steady) })
}

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
// others in a network that is nobody's.
func carried(n int) []netip.Addr {
	all := []netip.Addr{vip}
	for i := 1; i < n; i++ {
		all = append(all, netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}))
	}
	return all
}

// appPort is where the application echoes datagrams.
const appPort = 9000

// stage is a lab with everything that runs on it. It is used once.
type stage struct {
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

// newStage builds the nodes and starts the applications and speakers. If
// something fails later, or ends that should not, fail is called.
func newStage(t trial, fail func(error)) (_ *stage, err error) {
	lab, err := labprog.New("l2vip-bench-", t.log, fail)
	if err != nil {
		return nil, err
	}
	st := &stage{Lab: lab, trial: t, board: newBoard(t.places())}
	defer func() {
		if err != nil {
			err = errors.Join(err, st.Close())
		}
	}()
	for i, at := range st.places() {
		if err := st.addMachine(i, at); err != nil {
			return nil, err
		}
	}
	if st.client, err = st.addNode(user); err != nil {
		return nil, err
	}
	if st.watcher, err = st.addNode(watcher); err != nil {
		return nil, err
	}
	for _, m := range st.nodes {
		if err := st.startSpeaker(m); err != nil {
			return nil, err
		}
	}
	return st, nil
}

func (st *stage) addNode(at place) (*testnet.Node, error) {
	return st.AddNode(at.name, netip.PrefixFrom(netip.MustParseAddr(at.addr), 24))
}

func (st *stage) addMachine(number int, at place) error {
	node, err := st.addNode(at)
	if err != nil {
		return err
	}
	m := &machine{Node: node, number: number, dir: filepath.Join(st.Dir, at.name)}
	st.nodes = append(st.nodes, m)
	if err := os.Mkdir(m.dir, 0o700); err != nil {
		return err
	}
	cmd, err := labprog.Role("app", "-name", m.Name, "-pidfile", m.pidFile())
	if err != nil {
		return err
	}
	serving := make(chan struct{})
	cmd.Stdout = labprog.Lines(func([]byte) { close(serving) })
	if m.app, err = st.Start(node, "application", cmd); err != nil {
		return err
	}
	select {
	case <-serving:
		return nil
	case <-m.app.Done():
		return fmt.Errorf("the application of %s does not start", m.Name)
	}
}

func (st *stage) startSpeaker(m *machine) error {
	cmd, err := st.speaker(st, m, func(s standing) {
		st.board.Update(func() { st.board.speakers[m.Name] = s })
	})
	if err != nil {
		return err
	}
	m.speaker, err = st.Start(m.Node, st.name(), cmd)
	return err
}

// name is that of the system.
func (st *stage) name() string { return st.system.name }

// observe starts the client and the watcher.
func (st *stage) observe() error {
	var err error
	st.load, err = st.startObserver(st.client, "load", labprog.Decode(st.Fail, func(said message) {
		st.board.Update(func() {
			st.board.trace = said.Trace
			if said.Progress != nil {
				st.board.progress = *said.Progress
			}
		})
	}))
	if err != nil {
		return err
	}
	st.watch, err = st.startObserver(st.watcher, "watch", labprog.Decode(st.Fail, func(seen sighting) {
		st.board.Update(func() { st.board.sighting = &seen })
	}))
	return err
}

func (st *stage) startObserver(node *testnet.Node, name string, said io.Writer) (*observer, error) {
	cmd, err := labprog.Role(name)
	if err != nil {
		return nil, err
	}
	input, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	cmd.Stdout = said
	p, err := st.Start(node, name, cmd)
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
func (st *stage) node(name string) *machine {
	return st.nodes[slices.IndexFunc(st.nodes, func(m *machine) bool { return m.Name == name })]
}

// follower returns the first node that does not lead.
func (st *stage) follower() *machine {
	return st.nodes[slices.IndexFunc(st.nodes, func(m *machine) bool { return m != st.leader })]
}

// steady is how many datagrams in a row must be answered by the same node until
// that is taken to serve.
const steady = int(500 * time.Millisecond / every)

// waitLeader waits until a node leads, all others are ready to, and the last
// datagrams, as many as streak, were answered by the leader.
func (st *stage) waitLeader(ctx context.Context, streak int) error {
	b := st.board
	err := b.Wait(ctx, "a node led and the others were ready", func() bool {
		leader := b.leader()
		return leader != "" && (streak == 0 || b.progress.By == leader && b.progress.Streak >= streak)
	})
	b.Read(func() {
		if err != nil {
			err = fmt.Errorf("%w: the speakers say %+v, the client %+v", err, b.speakers, b.progress)
		} else {
			st.leader = st.node(b.leader())
		}
	})
	return err
}

// failOver waits until a node other than the leader serves, which leads from then on.
func (st *stage) failOver(ctx context.Context) error {
	st.failed = st.leader
	err := st.board.Wait(ctx, "another node served", func() bool { return st.board.served(st.failed.Name, steady) })
	if err == nil {
		st.board.Read(func() { st.leader = st.node(st.board.progress.By) })
	}
	return err
}

// measureGap plays a case and returns what the client and the watcher saw.
func measureGap(ctx context.Context, t trial) (r result, err error) {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	st, err := newStage(t, fail)
	if err != nil {
		return result{}, err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	if err := st.waitLeader(ctx, 0); err != nil {
		return result{}, err
	}
	if err := st.observe(); err != nil {
		return result{}, err
	}
	// A random number, so that what happens meets the intervals of no system in
	// step.
	if err := st.waitLeader(ctx, steady+rand.IntN(int(time.Second/every))); err != nil {
		return result{}, err
	}
	if t.prepare != nil {
		if err := t.prepare(ctx, st); err != nil {
			return result{}, err
		}
	}
	from := now()
	if err := t.act(ctx, st); err != nil {
		return result{}, err
	}
	over := st.over(ctx, from)
	to := now()
	if err := errors.Join(st.load.end(), st.watch.end()); err != nil {
		return result{}, err
	}
	if st.board.trace == nil || st.board.sighting == nil {
		return result{}, cmp.Or(context.Cause(ctx), errors.New("the client or the watcher has said nothing"))
	}
	r = newResult(*st.board.trace, *st.board.sighting, st.leader.HardwareAddr.String(), from, to)
	if t.figures == holders && r.TwoHolders > 0 {
		over = errors.Join(over, fmt.Errorf("two nodes answered %s", plural(r.TwoHolders, "question")))
	}
	return r, over
}

// over waits until what began at a time is over.
func (st *stage) over(ctx context.Context, from time.Duration) error {
	if err := pause(ctx, from+st.lasting()-now()); err != nil || !st.moves {
		return err
	}
	return st.board.Wait(ctx, "another node served", func() bool { return st.board.served(st.leader.Name, steady) })
}

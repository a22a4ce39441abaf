package main

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"

	"github.com/l2vip/l2vip/internal/labprog"
	"github.com/l2vip/l2vip/internal/testnet"
)

// place is the name of a node, and what its address ends with.
type place struct{ name, end string }

// The nodes of the scenario.
var (
	fronts = []place{{"front-0", "10"}, {"front-1", "11"}, {"front-2", "12"}}
	worker = place{"worker-0", "13"}
	user   = place{"client", "50"}
)

// speakers are the nodes that run a speaker.
func speakers() []place { return append([]place{worker}, fronts...) }

// isFront reports whether a node is one of the fronts.
func isFront(name string) bool {
	return slices.ContainsFunc(fronts, func(p place) bool { return p.name == name })
}

// lab is the scenario's network with everything that runs on it.
type lab struct {
	*labprog.Lab

	board  *board
	family family
	names  map[string]string // the nodes by hardware address
	fronts map[string]*front
	wire   net.PacketConn
	nginx  string // its path; empty for the embedded proxy
}

// front is a node that can lead.
type front struct {
	lab     *lab
	node    *testnet.Node
	dir     string // of the web server's files
	speaker *labprog.Program
	server  *labprog.Program
}

// newLab builds the nodes and starts what runs on them, the client last, which
// sends its requests to vip. If something fails later, or ends that should not,
// fail is called. What the programs log goes to log.
func newLab(f family, vip netip.Addr, nginx string, log io.Writer, fail func(error)) (_ *lab, err error) {
	nodes, err := labprog.New("l2vip-failover-", log, fail)
	if err != nil {
		return nil, err
	}
	l := &lab{
		Lab:    nodes,
		board:  newBoard(),
		family: f,
		names:  make(map[string]string),
		fronts: make(map[string]*front),
		nginx:  nginx,
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, l.Close())
		}
	}()
	if err := l.addWorker(); err != nil {
		return nil, err
	}
	for _, at := range fronts {
		if err := l.addFront(at); err != nil {
			return nil, err
		}
	}
	return l, l.addClient(vip)
}

// addNode adds a node with an address of the scenario's network.
func (l *lab) addNode(at place) (*testnet.Node, error) {
	node, err := l.AddNode(at.name, l.family.prefix(at.end))
	if err != nil {
		return nil, err
	}
	l.names[node.HardwareAddr.String()] = at.name
	return node, nil
}

// addWorker adds the node with the applications and a speaker that no
// advertisement selects.
func (l *lab) addWorker() error {
	node, err := l.addNode(worker)
	if err != nil {
		return err
	}
	for _, app := range applications {
		cmd, err := labprog.Role("app", l.family.flag(), "-name", app)
		if err != nil {
			return err
		}
		if _, err := l.Start(node, "app-"+app, cmd); err != nil {
			return err
		}
	}
	_, err = l.startSpeaker(node)
	return err
}

// addFront adds a node with a web server and a speaker that may announce.
func (l *lab) addFront(at place) error {
	node, err := l.addNode(at)
	if err != nil {
		return err
	}
	f := &front{lab: l, node: node, dir: filepath.Join(l.Dir, at.name)}
	l.fronts[at.name] = f
	if err := os.Mkdir(f.dir, 0o700); err != nil {
		return err
	}
	if err := f.startServer(); err != nil {
		return err
	}
	return f.startSpeaker()
}

// addClient adds the client, and listens at its port for who answers for vip.
func (l *lab) addClient(vip netip.Addr) error {
	node, err := l.addNode(user)
	if err != nil {
		return err
	}
	if err := l.watch(node, vip); err != nil {
		return err
	}
	cmd, err := labprog.Role("client", "-target", net.JoinHostPort(vip.String(), "80"))
	if err != nil {
		return err
	}
	cmd.Stdout = labprog.Decode(l.Fail, l.board.add)
	_, err = l.Start(node, "client", cmd)
	return err
}

// startSpeaker starts the speaker of a node. The board says how it stands for as
// long as it runs.
func (l *lab) startSpeaker(node *testnet.Node, args ...string) (*labprog.Program, error) {
	cmd, err := labprog.Role("speaker", append([]string{l.family.flag(), "-name", node.Name}, args...)...)
	if err != nil {
		return nil, err
	}
	cmd.Stdout = labprog.Decode(l.Fail, func(s standing) {
		l.board.Update(func() {
			l.board.speakers[node.Name] = s
			if s.Holds {
				l.board.answered[node.Name] = true
			}
		})
	})
	speaker, err := l.Start(node, "speaker", cmd)
	if err != nil {
		return nil, err
	}
	l.Go(func() {
		<-speaker.Done()
		l.board.Update(func() { delete(l.board.speakers, node.Name) })
	})
	return speaker, nil
}

// Close ends all programs and takes the nodes down.
func (l *lab) Close() error {
	var err error
	if l.wire != nil {
		err = l.wire.Close()
	}
	return errors.Join(err, l.Lab.Close())
}

func (f *front) pidFile() string { return filepath.Join(f.dir, "nginx.pid") }

func (f *front) startSpeaker() (err error) {
	f.speaker, err = f.lab.startSpeaker(f.node, "-role", "front", "-pidfile", f.pidFile())
	return err
}

// stopSpeaker tells the speaker to stop, and waits until it has.
func (f *front) stopSpeaker(ctx context.Context) error {
	if err := f.speaker.Terminate(); err != nil {
		return err
	}
	return f.lab.board.Wait(ctx, "the speaker stopped", func() bool {
		_, running := f.lab.board.speakers[f.node.Name]
		return !running
	})
}

func (f *front) startServer() error {
	cmd, err := f.serverCommand()
	if err != nil {
		return err
	}
	f.server, err = f.lab.Start(f.node, "web server", cmd)
	return err
}

func (f *front) serverCommand() (*exec.Cmd, error) {
	if f.lab.nginx == "" {
		return labprog.Role("proxy", f.lab.family.flag(), "-front", f.node.Name, "-pidfile", f.pidFile())
	}
	return nginxCommand(f.lab.nginx, f.lab.family, f.node.Name, f.dir)
}

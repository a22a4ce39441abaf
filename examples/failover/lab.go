package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"

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
	launcher

	board  *board
	family family
	net    *testnet.Lab
	names  map[string]string // the nodes by hardware address
	fronts map[string]*front
	wire   net.PacketConn
	nginx  string // its path; empty for the embedded proxy
	dir    string // of the web servers' files
}

// front is a node that can lead.
type front struct {
	lab     *lab
	node    *testnet.Node
	dir     string // of the web server's files
	speaker *program
	server  *program
}

// newLab builds the nodes and starts what runs on them, the client last, which
// sends its requests to vip. If something fails later, or ends that should not,
// fail is called. What the programs log goes to log.
func newLab(f family, vip netip.Addr, nginx string, log io.Writer, fail func(error)) (_ *lab, err error) {
	l := &lab{
		launcher: launcher{log: log, fail: fail},
		board:    newBoard(),
		family:   f,
		names:    make(map[string]string),
		fronts:   make(map[string]*front),
		nginx:    nginx,
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, l.close())
		}
	}()
	if l.net, err = testnet.NewLab(); err != nil {
		return nil, err
	}
	if l.dir, err = os.MkdirTemp("", "l2vip-failover-"); err != nil {
		return nil, err
	}
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
	node, err := l.net.AddNode(at.name, l.family.prefix(at.end))
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
		cmd, err := role("app", l.family.flag(), "-name", app)
		if err != nil {
			return err
		}
		if _, err := l.start(node, "app-"+app, cmd, nil, nil); err != nil {
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
	f := &front{lab: l, node: node, dir: filepath.Join(l.dir, at.name)}
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
	cmd, err := role("client", "-target", net.JoinHostPort(vip.String(), "80"))
	if err != nil {
		return err
	}
	_, err = l.start(node, "client", cmd, func(line []byte) {
		var r request
		if err := json.Unmarshal(line, &r); err != nil {
			l.fail(fmt.Errorf("the client says %q: %w", line, err))
			return
		}
		l.board.add(r)
	}, nil)
	return err
}

// startSpeaker starts the speaker of a node.
func (l *lab) startSpeaker(node *testnet.Node, args ...string) (*program, error) {
	cmd, err := role("speaker", append([]string{l.family.flag(), "-name", node.Name}, args...)...)
	if err != nil {
		return nil, err
	}
	return l.start(node, "speaker", cmd,
		func(line []byte) {
			var s standing
			if err := json.Unmarshal(line, &s); err != nil {
				l.fail(fmt.Errorf("the speaker of %s says %q: %w", node.Name, line, err))
				return
			}
			l.board.update(func() {
				l.board.speakers[node.Name] = s
				if s.Holds {
					l.board.answered[node.Name] = true
				}
			})
		},
		func() { l.board.update(func() { delete(l.board.speakers, node.Name) }) })
}

// close ends all programs and takes the nodes down.
func (l *lab) close() error {
	var err error
	if l.net != nil {
		err = l.net.Close()
	}
	if l.wire != nil {
		err = errors.Join(err, l.wire.Close())
	}
	l.running.Wait()
	if l.dir != "" {
		err = errors.Join(err, os.RemoveAll(l.dir))
	}
	return err
}

func (f *front) pidFile() string { return filepath.Join(f.dir, "nginx.pid") }

func (f *front) startSpeaker() (err error) {
	f.speaker, err = f.lab.startSpeaker(f.node, "-role", "front", "-pidfile", f.pidFile())
	return err
}

func (f *front) startServer() error {
	cmd, err := f.serverCommand()
	if err != nil {
		return err
	}
	f.server, err = f.lab.start(f.node, "web server", cmd, nil, nil)
	return err
}

func (f *front) serverCommand() (*exec.Cmd, error) {
	if f.lab.nginx == "" {
		return role("proxy", f.lab.family.flag(), "-front", f.node.Name, "-pidfile", f.pidFile())
	}
	return nginxCommand(f.lab.nginx, f.lab.family, f.node.Name, f.dir)
}

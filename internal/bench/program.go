package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"

	"github.com/l2vip/l2vip/internal/testnet"
)

// roles are the programs that run in the lab's nodes. Each is this one, started
// once more with the name of the role as its first argument.
var roles = map[string]func(args []string) error{
	"app":     runApp,
	"busy":    runBusy,
	"check":   runCheck,
	"load":    runLoad,
	"speaker": runSpeaker,
	"watch":   runWatch,
}

// playRole runs the role that the arguments ask for, and reports whether they
// ask for one.
func playRole(args []string) (status int, ok bool) {
	if len(args) < 2 || roles[args[1]] == nil {
		return 0, false
	}
	if err := roles[args[1]](args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1, true
	}
	return 0, true
}

// role is the command that runs a role.
func role(name string, args ...string) (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return exec.Command(self, append([]string{name}, args...)...), nil
}

// program is a process in a node of the lab, with all that it has started.
type program struct {
	cmd    *exec.Cmd
	done   chan struct{} // closed when it has ended
	ending atomic.Bool   // it is no wonder if it ends
}

// launcher starts programs, and learns when one ends that should not.
type launcher struct {
	log     io.Writer // gets what the programs say
	fail    func(error)
	running sync.WaitGroup
	closing atomic.Bool // all are about to be killed
}

// start starts a program in a node. What it says is told if it ends by itself.
func (l *launcher) start(node *testnet.Node, name string, cmd *exec.Cmd) (*program, error) {
	p := &program{cmd: cmd, done: make(chan struct{})}
	said := &tail{also: l.log}
	if cmd.Stderr == nil {
		cmd.Stderr = said
	} else {
		cmd.Stderr = io.MultiWriter(said, cmd.Stderr)
	}
	if err := node.Start(cmd); err != nil {
		return nil, fmt.Errorf("%s of %s: %w", name, node.Name, err)
	}
	l.running.Go(func() {
		err := cmd.Wait()
		close(p.done)
		if !p.ending.Load() && !l.closing.Load() {
			l.fail(fmt.Errorf("%s of %s has ended (%w)\n%s", name, node.Name, status(err), said))
		}
	})
	return p, nil
}

// status says how a program ended.
func status(err error) error {
	if err == nil {
		return errors.New("exit status 0")
	}
	return err
}

// lineWriter calls line with each line that is written to it.
type lineWriter struct {
	line func([]byte) error
	part []byte
}

func (w *lineWriter) Write(p []byte) (int, error) {
	w.part = append(w.part, p...)
	for {
		line, rest, ok := bytes.Cut(w.part, []byte("\n"))
		if !ok {
			return len(p), nil
		}
		if err := w.line(line); err != nil {
			return 0, fmt.Errorf("%q: %w", line, err)
		}
		w.part = rest
	}
}

// tail keeps the end of what is written to it, and hands everything on.
type tail struct {
	also io.Writer
	mu   sync.Mutex
	text []byte
}

const tailSize = 4 << 10

// Write never fails.
func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	_, _ = t.also.Write(p)
	t.text = append(t.text, p...)
	t.text = t.text[max(0, len(t.text)-tailSize):]
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.text)
}

// lockedWriter is a writer for many.
type lockedWriter struct {
	mu sync.Mutex
	to io.Writer
}

func (w *lockedWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.to.Write(p)
}

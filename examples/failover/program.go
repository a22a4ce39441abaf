package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/l2vip/l2vip/internal/testnet"
)

// roles are the programs that run in the lab's nodes. Each is this one, started
// once more with the name of the role as its first argument.
var roles = map[string]func(args []string) error{
	"app":     runApp,
	"client":  runClient,
	"proxy":   runProxy,
	"speaker": runSpeaker,
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

// program is a process in a node of the lab.
type program struct {
	cmd    *exec.Cmd
	done   chan struct{} // closed when it has ended
	ending atomic.Bool   // it was told to end
}

// launcher starts programs, and learns when one ends that should not.
type launcher struct {
	log     io.Writer // also gets what the programs say
	fail    func(error)
	running sync.WaitGroup
}

// start starts a program in a node, and calls line with each line of its
// output, if that is wanted, and ended when it has ended. What it says besides
// is told if it ends by itself.
func (l *launcher) start(node *testnet.Node, name string, cmd *exec.Cmd, line func([]byte), ended func()) (*program, error) {
	p := &program{cmd: cmd, done: make(chan struct{})}
	var out io.Reader = strings.NewReader("")
	if line != nil {
		pipe, err := cmd.StdoutPipe()
		if err != nil {
			return nil, err
		}
		out = pipe
	}
	said := &tail{also: l.log}
	cmd.Stderr = said
	if err := node.Start(cmd); err != nil {
		return nil, err
	}
	l.running.Go(func() {
		for lines := bufio.NewScanner(out); lines.Scan(); {
			line(lines.Bytes())
		}
		err := cmd.Wait()
		close(p.done)
		if ended != nil {
			ended()
		}
		if !p.ending.Load() {
			l.fail(fmt.Errorf("%s of %s has ended (%s)\n%s", name, node.Name, status(err), said))
		}
	})
	return p, nil
}

// status says how a program ended.
func status(err error) string {
	if err == nil {
		return "exit status 0"
	}
	return err.Error()
}

// kill kills the program, as kill -9 does, and waits until it is dead.
func (p *program) kill() {
	p.ending.Store(true)
	_ = p.cmd.Process.Kill() // an error says that it is dead already
	<-p.done
}

// stop asks the program to end, and waits until it has, or patience is over.
func (p *program) stop(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("told a program to stop, and waited %v", patience))
	defer cancel()
	p.ending.Store(true)
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-p.done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
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

package labprog

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"

	"github.com/l2vip/l2vip/internal/testnet"
)

// Lab is a lab with the programs that run in its nodes.
type Lab struct {
	*testnet.Lab

	// Dir is a directory for their files, which ends with the lab.
	Dir string

	log     io.Writer
	fail    func(error)
	running sync.WaitGroup
	closing atomic.Bool
}

// New makes a lab without nodes. The name of its directory begins with prefix.
// What the programs write to their standard error goes to log, from several
// goroutines; and fail is called, from any, when one ends that should not.
func New(prefix string, log io.Writer, fail func(error)) (*Lab, error) {
	lab, err := testnet.NewLab()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", prefix)
	if err != nil {
		return nil, errors.Join(err, lab.Close())
	}
	return &Lab{Lab: lab, Dir: dir, log: log, fail: fail}, nil
}

// Fail says that something went wrong behind everybody's back.
func (l *Lab) Fail(err error) { l.fail(err) }

// Go calls f in a goroutine that Close waits for.
func (l *Lab) Go(f func()) { l.running.Go(f) }

// Close kills all programs, takes the nodes down and removes the directory. The
// programs' ends fail nothing then.
func (l *Lab) Close() error {
	l.closing.Store(true)
	err := l.Lab.Close()
	l.running.Wait()
	return errors.Join(err, os.RemoveAll(l.Dir))
}

// Program is a process in a node, with all that it has started.
type Program struct {
	*exec.Cmd
	done   chan struct{}
	ending atomic.Bool // it is no wonder if it ends
}

// Start starts a program in a node. The name is what to call it when it ends and
// should not; that is told with the last of what it wrote to its standard error.
func (l *Lab) Start(node *testnet.Node, name string, cmd *exec.Cmd) (*Program, error) {
	p := &Program{Cmd: cmd, done: make(chan struct{})}
	said := &tail{also: l.log}
	if cmd.Stderr == nil {
		cmd.Stderr = said
	} else {
		cmd.Stderr = io.MultiWriter(said, cmd.Stderr)
	}
	if err := node.Start(cmd); err != nil {
		return nil, fmt.Errorf("%s of %s: %w", name, node.Name, err)
	}
	l.Go(func() {
		err := cmd.Wait()
		close(p.done)
		if err == nil {
			err = errors.New("exit status 0")
		}
		if !p.ending.Load() && !l.closing.Load() {
			l.fail(fmt.Errorf("%s of %s has ended (%w)\n%s", name, node.Name, err, said))
		}
	})
	return p, nil
}

// Done is closed when the program has ended, and all that it printed is known.
func (p *Program) Done() <-chan struct{} { return p.done }

// MayEnd says that from now on it is no failure if the program ends.
func (p *Program) MayEnd() { p.ending.Store(true) }

package main

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// What can be done to a program.
const (
	signalKill      = unix.SIGKILL
	signalFreeze    = unix.SIGSTOP
	signalThaw      = unix.SIGCONT
	signalTerminate = unix.SIGTERM
)

// signal does something to the program and to all that it has started, which are
// one process group. Asked to terminate, a program tells the others itself. It
// may end from then on.
func (p *program) signal(s unix.Signal) error {
	p.ending.Store(true)
	id := p.cmd.Process.Pid
	if s != signalTerminate {
		id = -id
	}
	err := unix.Kill(id, s)
	if errors.Is(err, unix.ESRCH) {
		err = nil // it has ended
	}
	return os.NewSyscallError("kill", err)
}

package labprog

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// Kill kills the program and all that it has started, as kill -9 does. It does
// not wait for their ends.
func (p *Program) Kill() error {
	p.MayEnd()
	return p.signal(-p.Process.Pid, unix.SIGKILL)
}

// Terminate asks the program to end. It tells what it has started itself.
func (p *Program) Terminate() error {
	p.MayEnd()
	return p.signal(p.Process.Pid, unix.SIGTERM)
}

// Freeze stops the program and all that it has started, until Thaw. They may end
// from then on: who waits for them loses patience.
func (p *Program) Freeze() error {
	p.MayEnd()
	return p.signal(-p.Process.Pid, unix.SIGSTOP)
}

// Thaw lets the program go on.
func (p *Program) Thaw() error { return p.signal(-p.Process.Pid, unix.SIGCONT) }

// signal sends a signal to the process, or to its process group by the negative
// number. A lab's programs are groups of their own.
func (p *Program) signal(id int, s unix.Signal) error {
	select {
	case <-p.done:
		return nil // the number may be another's by now
	default:
	}
	err := unix.Kill(id, s)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	return os.NewSyscallError("kill", err)
}

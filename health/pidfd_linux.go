package health

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// A pidfd holds on to one process: whatever becomes of its id, it is never
// confused with another.
type pidfd struct {
	pid  int
	file *os.File
	done chan struct{} // closed when the process has exited or watching failed
	err  error         // why watching failed; read it after done
}

// openPidfd finds the process with the given id and watches it until close. If
// no such process lives, the error wraps unix.ESRCH.
func openPidfd(pid int) (*pidfd, error) {
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil, fmt.Errorf("process %d: %w", pid, err)
	}
	if err != nil {
		return nil, fmt.Errorf("process %d: %w", pid, os.NewSyscallError("pidfd_open", err))
	}
	if hasExited(uintptr(fd)) {
		unix.Close(fd)
		return nil, fmt.Errorf("process %d: %w", pid, unix.ESRCH)
	}
	// Non-blocking, it is watched by Go's poller and not by a thread. The flag
	// of pidfd_open for this is younger than pidfd_open itself.
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("process %d: %w", pid, os.NewSyscallError("fcntl", err))
	}
	p := &pidfd{pid: pid, file: os.NewFile(uintptr(fd), "pidfd"), done: make(chan struct{})}
	go p.watch()
	return p, nil
}

// watch waits for the exit, or for close.
func (p *pidfd) watch() {
	defer close(p.done)
	raw, err := p.file.SyscallConn()
	if err == nil {
		err = raw.Read(hasExited)
	}
	p.err = err
}

// close ends watching and waits until it has ended.
func (p *pidfd) close() {
	p.file.Close()
	<-p.done
}

// hasExited says without waiting whether the process behind a pidfd has
// exited: then the pidfd is readable.
func hasExited(fd uintptr) bool {
	n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
	return err == nil && n > 0
}

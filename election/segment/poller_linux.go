package segment

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// parkFrom is the interval from which on waiting parks the goroutine.
const parkFrom = 20 * time.Millisecond

// poller waits until one of some descriptors has something to read, or for a time.
//
// It has two ways to do so. A thread that blocks in a system call wakes at once, by its
// own priority; but the Go runtime, which may need what the thread leaves unused, looks
// after it every 20 microseconds for 10 milliseconds, some ten times. A goroutine that
// is parked costs nothing of that. It is woken by way of other threads, which on a busy
// machine have to wait for their turn, so intervals must be long enough for that.
type poller struct {
	epoll int
	file  *os.File // of epoll; nil if waiting blocks the thread
	raw   syscall.RawConn
	ready [16]unix.EpollEvent
	known map[int]bool
}

func newPoller(park bool) (*poller, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll: %w", err)
	}
	p := &poller{epoll: epoll, known: make(map[int]bool)}
	if !park {
		return p, nil
	}
	if err := unix.SetNonblock(epoll, true); err != nil { // so that the runtime waits for it
		unix.Close(epoll)
		return nil, fmt.Errorf("epoll: %w", err)
	}
	p.file = os.NewFile(uintptr(epoll), "epoll")
	if p.raw, err = p.file.SyscallConn(); err != nil {
		p.close()
		return nil, fmt.Errorf("epoll: %w", err)
	}
	return p, nil
}

func (p *poller) close() {
	if p.file != nil {
		_ = p.file.Close()
		return
	}
	unix.Close(p.epoll)
}

// listen makes wait wait for these descriptors, and no others.
func (p *poller) listen(fds []int) error {
	var errs []error
	wanted := make(map[int]bool, len(fds))
	for _, fd := range fds {
		wanted[fd] = true
		// One that was closed and opened again has its number, and is not there.
		event := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}
		err := unix.EpollCtl(p.epoll, unix.EPOLL_CTL_MOD, fd, &event)
		if errors.Is(err, unix.ENOENT) {
			err = unix.EpollCtl(p.epoll, unix.EPOLL_CTL_ADD, fd, &event)
		}
		errs = append(errs, err)
	}
	for fd := range p.known {
		if !wanted[fd] {
			_ = unix.EpollCtl(p.epoll, unix.EPOLL_CTL_DEL, fd, nil) // it may be closed
		}
	}
	p.known = wanted
	return errors.Join(errs...)
}

// wait waits for no longer than d.
func (p *poller) wait(d time.Duration) error {
	if d <= 0 {
		return nil
	}
	if p.file == nil {
		return nap([]unix.PollFd{{Fd: int32(p.epoll), Events: unix.POLLIN}}, d)
	}
	if err := p.file.SetReadDeadline(time.Now().Add(d)); err != nil {
		return fmt.Errorf("wait: %w", err)
	}
	var failed error
	err := p.raw.Read(func(fd uintptr) bool {
		n, err := unix.EpollWait(int(fd), p.ready[:], 0)
		if err != nil && !errors.Is(err, unix.EINTR) {
			failed = err
		}
		return n > 0 || failed != nil
	})
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = nil
	}
	if err = errors.Join(err, failed); err != nil {
		return fmt.Errorf("wait: %w", err)
	}
	return nil
}

// nap blocks the thread until one of the descriptors has something to tell, or for d.
func nap(fds []unix.PollFd, d time.Duration) error {
	timeout := unix.NsecToTimespec(int64(d))
	if _, err := unix.Ppoll(fds, &timeout, nil); err != nil && !errors.Is(err, unix.EINTR) {
		return fmt.Errorf("poll: %w", err)
	}
	return nil
}

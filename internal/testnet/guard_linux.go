package testnet

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// guardEnv makes Main a guard.
const guardEnv = "L2VIP_TESTNET_GUARD"

// guardable tells that this program has called Main, so that it becomes a guard
// when it is executed once more.
var guardable atomic.Bool

// guard is a process that outlives this one just long enough to kill what lives
// in the lab's namespaces. The kernel's Pdeathsig reaches only the children of
// this process, not their descendants. It is handed the namespaces through a
// socket, and acts when the socket ends, which it does however this process
// ends. It holds them, so that no other gets the number of one meanwhile.
type guard struct {
	mu     sync.Mutex
	cmd    *exec.Cmd // nil: not needed so far
	socket *os.File
	known  map[*namespace]bool
	closed bool
}

// watch puts a namespace under guard.
func (g *guard) watch(ns *namespace) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return os.ErrClosed
	}
	if !guardable.Load() || g.known[ns] {
		return nil
	}
	if g.cmd == nil {
		if err := g.start(); err != nil {
			return fmt.Errorf("guard: %w", err)
		}
	}
	fd, err := dup(ns.net)
	if err != nil {
		return fmt.Errorf("guard: %w", err)
	}
	defer unix.Close(fd)
	if err := unix.Sendmsg(int(g.socket.Fd()), []byte{0}, unix.UnixRights(fd), nil, unix.MSG_NOSIGNAL); err != nil {
		return fmt.Errorf("guard: %w", os.NewSyscallError("sendmsg", err))
	}
	g.known[ns] = true
	return nil
}

func (g *guard) start() error {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socketpair", err)
	}
	near, far := os.NewFile(uintptr(pair[0]), "guard"), os.NewFile(uintptr(pair[1]), "guard")
	defer far.Close()
	cmd := &exec.Cmd{
		Path:       "/proc/self/exe",
		Args:       os.Args,
		Env:        append(os.Environ(), guardEnv+"=1"),
		ExtraFiles: []*os.File{far},
		// What is sent to the program's process group is not for the guard.
		SysProcAttr: &syscall.SysProcAttr{Setpgid: true},
	}
	// The calling thread may be inside a node, and a new one is not.
	onThread(func() { err = cmd.Start() })
	if err != nil {
		_ = near.Close()
		return err
	}
	g.cmd, g.socket, g.known = cmd, near, make(map[*namespace]bool)
	return nil
}

// close sends the guard home: there is nothing left to kill.
func (g *guard) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
	if g.cmd == nil {
		return
	}
	_ = g.cmd.Process.Kill()
	_ = g.cmd.Wait() // that it was killed is no news
	_ = g.socket.Close()
	g.cmd = nil
}

// runGuard is the guard's program.
func runGuard() int {
	signal.Ignore(syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT)
	const socket = 3 // the first of ExtraFiles
	status := 0
	for _, fd := range receiveAll(socket) {
		var stat unix.Stat_t
		err := unix.Fstat(fd, &stat)
		if err == nil {
			err = killAll(stat.Ino)
		}
		_ = unix.Close(fd)
		if err != nil {
			status = 1
		}
	}
	return status
}

// receiveAll returns the descriptors that come through a socket until it ends.
func receiveAll(socket int) (fds []int) {
	oob := make([]byte, unix.CmsgSpace(4))
	for {
		n, size, _, _, err := unix.Recvmsg(socket, make([]byte, 1), oob, unix.MSG_CMSG_CLOEXEC)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || n == 0 {
			return fds
		}
		messages, err := unix.ParseSocketControlMessage(oob[:size])
		if err != nil {
			continue
		}
		for i := range messages {
			if got, err := unix.ParseUnixRights(&messages[i]); err == nil {
				fds = append(fds, got...)
			}
		}
	}
}

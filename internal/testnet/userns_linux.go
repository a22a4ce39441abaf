package testnet

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// insideEnv tells a program that Main has already executed it once more.
const insideEnv = "L2VIP_TESTNET_INSIDE"

// refused is why Main got no user namespace.
var refused atomic.Pointer[error]

// tryOnce builds the smallest lab.
var tryOnce = sync.OnceValue(func() error {
	l, err := NewLab()
	if err != nil {
		return err
	}
	_, err = l.AddNode("probe", netip.MustParsePrefix("192.0.2.1/24"))
	return errors.Join(err, l.Close())
})

// explain says what to do about rights that are missing.
func explain(err error) error {
	if !errors.Is(err, os.ErrPermission) {
		return err
	}
	if why := refused.Load(); why != nil {
		return fmt.Errorf("needs root, or user namespaces for ordinary users, which are not allowed here (%w): %w", *why, err)
	}
	return fmt.Errorf("needs root, or a program that starts with testnet.Main: %w", err)
}

func runMain(run func() int) int {
	if os.Getenv(guardEnv) != "" {
		return runGuard()
	}
	guardable.Store(true)
	inside := os.Getenv(insideEnv) != ""
	_ = os.Unsetenv(insideEnv)
	if inside {
		report := os.NewFile(reportFD, "report")
		err := settleIn()
		if err != nil {
			_, _ = fmt.Fprint(report, err)
		}
		_ = report.Close()
		if err != nil {
			return 1
		}
		return run()
	}
	if privileged() {
		return run()
	}
	status, err := runInside()
	if err != nil {
		refused.Store(&err)
		return run()
	}
	return status
}

// reportFD is where the inner process says why it can't work: the first of
// ExtraFiles.
const reportFD = 3

// settleIn makes the new network namespace usable. It comes first of all: the
// net package looks once, for ever, whether there is IPv6 on lo. It fails where
// a system makes user namespaces, but without rights in them.
func settleIn() error {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer h.Close()
	return loopbackUp(h)
}

// privileged tells whether this process may make namespaces and configure them.
func privileged() bool {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return false
	}
	const needed = 1<<unix.CAP_NET_ADMIN | 1<<unix.CAP_SYS_ADMIN
	return data[0].Effective&needed == needed
}

// passedOn are the signals that the outer process hands to the inner one.
var passedOn = []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2}

// runInside executes this program once more in namespaces of its own and
// returns its exit status. An error means that it could not work there.
func runInside() (int, error) {
	// Pdeathsig follows the thread that forks: it stays until the end.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()

	signals := make(chan os.Signal, 16)
	signal.Notify(signals, passedOn...)
	defer signal.Stop(signals)

	report, write, err := os.Pipe()
	if err != nil {
		return 0, err
	}
	defer report.Close()
	cmd := &exec.Cmd{
		Path:       "/proc/self/exe",
		Args:       os.Args,
		Env:        append(os.Environ(), insideEnv+"=1"),
		Stdin:      os.Stdin,
		Stdout:     os.Stdout,
		Stderr:     os.Stderr,
		ExtraFiles: []*os.File{write},
		SysProcAttr: &syscall.SysProcAttr{
			Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
			UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
			Pdeathsig:   syscall.SIGKILL,
			// A group of its own, so that an interrupt from the terminal
			// comes once, through here.
			Setpgid: true,
		},
	}
	err = cmd.Start()
	_ = write.Close()
	if err != nil {
		return 0, fmt.Errorf("new user namespace: %w", err)
	}
	if why, _ := io.ReadAll(report); len(why) > 0 {
		_ = cmd.Wait() // its status is the report
		return 0, fmt.Errorf("new user namespace has no rights: %s", why)
	}
	done := make(chan struct{})
	var relay sync.WaitGroup
	relay.Go(func() {
		for {
			select {
			case s := <-signals:
				_ = cmd.Process.Signal(s)
			case <-done:
				return
			}
		}
	})
	err = cmd.Wait()
	close(done)
	relay.Wait()
	if cmd.ProcessState == nil { // it has run, and nobody knows how it ended
		fmt.Fprintln(os.Stderr, "testnet:", err)
		return 1, nil
	}
	if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal()), nil
	}
	return cmd.ProcessState.ExitCode(), nil
}

func available() error { return tryOnce() }

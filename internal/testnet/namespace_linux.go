package testnet

import (
	"errors"
	"fmt"
	"os"
	"sync"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// namespace is a network namespace without a name, and a host name. A thread
// of its own lives in it until it is closed: the parent of every process that
// is started inside, because the kernel's Pdeathsig follows the thread that
// forked.
type namespace struct {
	id     uint64   // the inode that tells it from others
	net    *os.File // /proc/thread-self/ns/net
	uts    *os.File
	handle *netlink.Handle

	work chan func()
	stop chan struct{}
	done chan struct{} // the thread has left
	once sync.Once
}

// newNamespace makes a namespace with lo up.
func newNamespace(hostname string) (*namespace, error) {
	ns := &namespace{work: make(chan func()), stop: make(chan struct{}), done: make(chan struct{})}
	ready := make(chan error)
	go func() {
		onThread(func() {
			if err := ns.enterNew(hostname); err != nil {
				ready <- err
				return
			}
			ready <- nil
			for {
				select {
				case fn := <-ns.work:
					fn()
				case <-ns.stop:
					return
				}
			}
		})
		close(ns.done)
	}()
	if err := <-ready; err != nil {
		<-ns.done
		ns.release()
		return nil, err
	}
	return ns, nil
}

// enterNew moves the calling thread into a new namespace, and opens it.
func (ns *namespace) enterNew(hostname string) error {
	if err := unix.Unshare(unix.CLONE_NEWNET | unix.CLONE_NEWUTS); err != nil {
		return fmt.Errorf("new network namespace: %w", os.NewSyscallError("unshare", err))
	}
	if err := unix.Sethostname([]byte(hostname)); err != nil {
		return os.NewSyscallError("sethostname", err)
	}
	var err error
	if ns.net, err = os.Open("/proc/thread-self/ns/net"); err != nil {
		return err
	}
	if ns.uts, err = os.Open("/proc/thread-self/ns/uts"); err != nil {
		return err
	}
	var stat unix.Stat_t
	if err := unix.Fstat(int(ns.net.Fd()), &stat); err != nil {
		return os.NewSyscallError("fstat", err)
	}
	ns.id = stat.Ino
	if ns.handle, err = netlink.NewHandle(unix.NETLINK_ROUTE); err != nil {
		return fmt.Errorf("netlink: %w", err)
	}
	return loopbackUp(ns.handle)
}

func loopbackUp(h *netlink.Handle) error {
	lo, err := h.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("lo: %w", err)
	}
	if err := h.LinkSetUp(lo); err != nil {
		return fmt.Errorf("lo up: %w", err)
	}
	return nil
}

// run calls fn on the namespace's thread, one call after the other: it must not
// block. After close it returns an error.
func (ns *namespace) run(fn func() error) error {
	result := make(chan error, 1)
	select {
	case <-ns.done:
		return os.ErrClosed
	case ns.work <- func() { result <- fn() }:
		return <-result
	}
}

// do calls fn in the namespace on a new thread.
func (ns *namespace) do(fn func() error) (err error) {
	// Duplicates, so that a close in the meantime can't pull them away.
	netFD, err := dup(ns.net)
	if err != nil {
		return err
	}
	defer unix.Close(netFD)
	utsFD, err := dup(ns.uts)
	if err != nil {
		return err
	}
	defer unix.Close(utsFD)
	onThread(func() {
		if err = unix.Setns(netFD, unix.CLONE_NEWNET); err != nil {
			err = os.NewSyscallError("setns", err)
			return
		}
		if err = unix.Setns(utsFD, unix.CLONE_NEWUTS); err != nil {
			err = os.NewSyscallError("setns", err)
			return
		}
		err = fn()
	})
	return err
}

func dup(f *os.File) (int, error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return -1, err
	}
	fd := -1
	cerr := raw.Control(func(p uintptr) {
		fd, err = unix.FcntlInt(p, unix.F_DUPFD_CLOEXEC, 0)
	})
	if err := errors.Join(cerr, os.NewSyscallError("dup", err)); err != nil {
		return -1, err
	}
	return fd, nil
}

// close kills what lives in the namespace and lets go of it.
func (ns *namespace) close() error {
	var err error
	ns.once.Do(func() {
		err = killAll(ns.id)
		close(ns.stop) // what was started since the kill dies with the thread
		<-ns.done
		ns.release()
	})
	return err
}

func (ns *namespace) release() {
	if ns.handle != nil {
		ns.handle.Close()
	}
	if ns.uts != nil {
		_ = ns.uts.Close()
	}
	if ns.net != nil {
		_ = ns.net.Close()
	}
}

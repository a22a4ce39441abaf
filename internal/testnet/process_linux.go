package testnet

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// start starts a command on the namespace's thread.
func (ns *namespace) start(cmd *exec.Cmd) error {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	cmd.SysProcAttr.Setpgid = true
	cmd.SysProcAttr.Pgid = 0
	return ns.run(cmd.Start)
}

// killAll kills every other process that lives in a network namespace, and
// returns when they are dead. It looks again until it finds none, so one that
// forks meanwhile doesn't get away.
func killAll(id uint64) error {
	for {
		pids, err := inhabitants(id)
		if err != nil || len(pids) == 0 {
			return err
		}
		for _, pid := range pids {
			err = errors.Join(err, kill(pid, id))
		}
		if err != nil {
			return err
		}
	}
}

// inhabitants lists the processes in a network namespace, without this one.
func inhabitants(id uint64) ([]int, error) {
	proc, err := os.Open("/proc")
	if err != nil {
		return nil, err
	}
	defer proc.Close()
	names, err := proc.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err == nil && pid != os.Getpid() && livesIn(pid, id) {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

// livesIn tells whether a process is alive and in a network namespace. One
// that it may not look into is not.
func livesIn(pid int, id uint64) bool {
	target, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", pid))
	return err == nil && target == fmt.Sprintf("net:[%d]", id)
}

// kill kills a process in a network namespace and waits until it is dead.
func kill(pid int, id uint64) error {
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return os.NewSyscallError("pidfd_open", err)
	}
	defer unix.Close(fd)
	if !livesIn(pid, id) { // what has the number now is somebody else
		return nil
	}
	err = unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return os.NewSyscallError("pidfd_send_signal", err)
	}
	// A killed process dies, however long the machine takes.
	for {
		_, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, -1)
		if !errors.Is(err, unix.EINTR) {
			return os.NewSyscallError("poll", err)
		}
	}
}

package health

import (
	"errors"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"
)

// runGroup runs cmd in a process group of its own and leaves none of it alive.
func runGroup(cmd *exec.Cmd) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	// When the context ends, cmd kills the leader, which ends this wait too.
	// The leader is not reaped yet: until then nobody else can get its id,
	// so the signal reaches its group and no other.
	for errors.Is(unix.Waitid(unix.P_PID, cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil), unix.EINTR) {
	}
	_ = unix.Kill(-cmd.Process.Pid, unix.SIGKILL) // refused only by what runs as another user
	return cmd.Wait()
}

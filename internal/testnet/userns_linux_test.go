package testnet_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/l2vip/l2vip/internal/testnet"
)

// nobody is the user that tests become when they run as root.
const nobody = 65534

func signals() int {
	return testnet.Main(func() int {
		got := make(chan os.Signal, 10)
		signal.Notify(got, syscall.SIGTERM, syscall.SIGINT)
		fmt.Println(os.Getpid(), os.Getuid(), testnet.Available() == nil)
		for s := range got {
			if s == syscall.SIGTERM {
				return 7
			}
			fmt.Println(s)
		}
		return 1
	})
}

// ordinary returns this binary in a role, to be run by an ordinary user.
func ordinary(t *testing.T, role string) *exec.Cmd {
	t.Helper()
	cmd := self(role)
	if os.Getuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	}
	return cmd
}

func TestOrdinaryUser(t *testing.T) {
	testnet.Require(t)
	start := func() (cmd *exec.Cmd, out *bufio.Reader, inner int) {
		cmd = ordinary(t, "signals")
		pipe, err := cmd.StdoutPipe()
		require.NoError(t, err)
		if err := cmd.Start(); err != nil {
			t.Skipf("can't become an ordinary user: %v", err)
		}
		out = bufio.NewReader(pipe)
		var uid int
		var lab bool
		_, err = fmt.Fscanln(out, &inner, &uid, &lab)
		require.NoError(t, err)
		if !lab {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
			t.Skip("no user namespaces for ordinary users here")
		}
		require.Zero(t, uid)
		require.NotEqual(t, cmd.Process.Pid, inner)
		return cmd, out, inner
	}
	t.Run("signals and status", func(t *testing.T) {
		cmd, out, _ := start()
		require.NoError(t, cmd.Process.Signal(syscall.SIGINT))
		line, err := out.ReadString('\n')
		require.NoError(t, err)
		require.Equal(t, "interrupt\n", line)
		require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
		require.Error(t, cmd.Wait())
		require.Equal(t, 7, cmd.ProcessState.ExitCode())
	})
	t.Run("outer killed", func(t *testing.T) {
		cmd, _, inner := start()
		died := watch(t, inner)
		require.NoError(t, cmd.Process.Kill())
		died()
		require.Error(t, cmd.Wait())
	})
	t.Run("inner killed", func(t *testing.T) {
		cmd, _, inner := start()
		require.NoError(t, syscall.Kill(inner, syscall.SIGKILL))
		require.Error(t, cmd.Wait())
		require.Equal(t, 128+9, cmd.ProcessState.ExitCode())
	})
}

package testnet_test

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
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
	users, err := os.ReadFile("/proc/self/uid_map")
	require.NoError(t, err)
	if fields := strings.Fields(string(users)); os.Getuid() == 0 && len(fields) == 3 && fields[2] == "1" {
		t.Skip("is in a user namespace of an ordinary user already, where there are no others")
	}
	start := func(t *testing.T) (cmd *exec.Cmd, out *bufio.Reader, inner int) {
		t.Helper()
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
		cmd, out, _ := start(t)
		require.NoError(t, cmd.Process.Signal(syscall.SIGINT))
		line, err := out.ReadString('\n')
		require.NoError(t, err)
		require.Equal(t, "interrupt\n", line)
		require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
		require.Error(t, cmd.Wait())
		require.Equal(t, 7, cmd.ProcessState.ExitCode())
	})
	t.Run("outer killed", func(t *testing.T) {
		cmd, _, inner := start(t)
		died := watch(t, inner)
		require.NoError(t, cmd.Process.Kill())
		died()
		require.Error(t, cmd.Wait())
	})
	t.Run("inner killed", func(t *testing.T) {
		cmd, _, inner := start(t)
		require.NoError(t, syscall.Kill(inner, syscall.SIGKILL))
		require.Error(t, cmd.Wait())
		require.Equal(t, 128+9, cmd.ProcessState.ExitCode())
	})
}

// refusal is a program for an ordinary user, in a user namespace that forbids
// further ones.
func refusal() int {
	if err := os.WriteFile("/proc/sys/user/max_user_namespaces", []byte("0"), 0); err != nil {
		fmt.Println(err)
		return 1
	}
	cmd := self("reason")
	cmd.Stdout = os.Stdout
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	if err := cmd.Run(); err != nil {
		fmt.Println(err)
		return 1
	}
	return 0
}

// reason tells why there is no lab.
func reason() int {
	return testnet.Main(func() int {
		err := testnet.Available()
		fmt.Println(errors.Is(err, os.ErrPermission), err)
		return 0
	})
}

func TestUserNamespacesNotAllowed(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root, to become an ordinary user")
	}
	all := []syscall.SysProcIDMap{{ContainerID: 0, HostID: 0, Size: 1 << 16}}
	cmd := self("refusal")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:                 syscall.CLONE_NEWUSER,
		UidMappings:                all,
		GidMappings:                all,
		GidMappingsEnableSetgroups: true,
	}
	out, err := cmd.Output()
	if errors.Is(err, os.ErrPermission) {
		t.Skipf("no user namespace with several users here: %v", err)
	}
	require.NoError(t, err, "%s", out)
	require.Contains(t, string(out), "true ")
	require.Contains(t, string(out), "user namespaces for ordinary users, which are not allowed here")
	t.Logf("%s", out)
}

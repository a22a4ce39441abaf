package main

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/l2vip/l2vip/internal/testnet"
)

// programEnv makes the test binary the program itself.
const programEnv = "ANNOUNCE_TEST_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(programEnv) != "" {
		main()
		return
	}
	os.Exit(testnet.Main(m.Run))
}

// program returns this program with arguments.
func program(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(self, args...)
	cmd.Env = append(os.Environ(), programEnv+"=1")
	return cmd
}

// The kernel of another machine resolves the address, and connects to it.
func TestAnnounce(t *testing.T) {
	testnet.Require(t)
	lab, err := testnet.NewLab()
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, lab.Close()) })
	server, err := lab.AddNode("server", netip.MustParsePrefix("192.168.122.10/24"))
	require.NoError(t, err)
	client, err := lab.AddNode("client", netip.MustParsePrefix("192.168.122.50/24"))
	require.NoError(t, err)
	listener, err := server.Listen(t.Context(), "tcp", "0.0.0.0:80")
	require.NoError(t, err)
	defer listener.Close()

	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err = client.DialContext(ctx, "tcp", "192.168.122.100:80")
	require.Error(t, err, "nobody announces it yet")

	var said bytes.Buffer
	cmd := program(t, "-i", "eth0", "192.168.122.100", "192.168.122.101")
	cmd.Stderr = &said
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, server.Start(cmd))
	for _, addr := range []string{"192.168.122.100", "192.168.122.101"} {
		require.Eventually(t, func() bool {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			conn, err := client.DialContext(ctx, "tcp", net.JoinHostPort(addr, "80"))
			return err == nil && conn.Close() == nil
		}, 10*time.Second, 10*time.Millisecond)
	}
	require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
	text, err := io.ReadAll(out)
	require.NoError(t, err)
	require.NoError(t, cmd.Wait())
	require.Empty(t, said.String())
	require.Contains(t, string(text), "192.168.122.100: answered on [eth0]\n")
	require.Contains(t, string(text), "192.168.122.101: answered on [eth0]\n")
}

func TestErrors(t *testing.T) {
	for name, tc := range map[string]struct {
		args []string
		want string
	}{
		"nothing":      {nil, "needs an interface"},
		"no address":   {[]string{"-i", "lo"}, "at least one address"},
		"no interface": {[]string{"-i", "nowhere", "192.168.122.100"}, "interface nowhere: "},
		"bad address":  {[]string{"-i", "lo", "192.168.122"}, `"192.168.122"`},
		"IPv6":         {[]string{"-i", "lo", "2001:db8::1"}, "2001:db8::1"},
	} {
		t.Run(name, func(t *testing.T) {
			out, err := program(t, tc.args...).CombinedOutput()
			require.Error(t, err)
			require.Contains(t, string(out), tc.want)
		})
	}
}

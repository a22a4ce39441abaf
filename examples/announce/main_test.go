package main

import (
	"bufio"
	"bytes"
	"context"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/l2vip/l2vip/announce"
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

// program returns this program with arguments. It is killed when the test takes
// too long.
func program(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, self, args...)
	cmd.Env = append(os.Environ(), programEnv+"=1")
	return cmd
}

// running is the program in a node of a lab.
type running struct {
	cmd   *exec.Cmd
	lines *bufio.Scanner
	wrong bytes.Buffer
}

// start starts the program in a node.
func start(t *testing.T, node *testnet.Node, args ...string) *running {
	t.Helper()
	r := &running{cmd: program(t, args...)}
	r.cmd.Stderr = &r.wrong
	out, err := r.cmd.StdoutPipe()
	require.NoError(t, err)
	r.lines = bufio.NewScanner(out)
	require.NoError(t, node.Start(r.cmd))
	return r
}

// says waits until the program has said all these lines, in whatever order.
func (r *running) says(t *testing.T, lines ...string) {
	t.Helper()
	for len(lines) > 0 {
		require.True(t, r.lines.Scan(), "it ended and never said %q", lines)
		lines = slices.DeleteFunc(lines, func(line string) bool { return line == r.lines.Text() })
	}
}

// stop ends the program, which finds nothing wrong.
func (r *running) stop(t *testing.T) {
	t.Helper()
	require.NoError(t, r.cmd.Process.Signal(syscall.SIGTERM))
	for r.lines.Scan() {
	}
	require.NoError(t, r.cmd.Wait())
	require.Empty(t, r.wrong.String())
}

// The addresses, and those of machines on the same network.
const (
	vip4, vip6       = "192.168.122.100", "2001:db8:122::100"
	server4, server6 = "192.168.122.10/24", "2001:db8:122::10/64"
	client4, client6 = "192.168.122.50/24", "2001:db8:122::50/64"
)

// newLab returns a server that listens on port 80, and a client.
func newLab(t *testing.T) (server, client *testnet.Node) {
	t.Helper()
	testnet.Require(t)
	lab, err := testnet.NewLab()
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, lab.Close()) })
	server, err = lab.AddNode("server", netip.MustParsePrefix(server4), netip.MustParsePrefix(server6))
	require.NoError(t, err)
	client, err = lab.AddNode("client", netip.MustParsePrefix(client4), netip.MustParsePrefix(client6))
	require.NoError(t, err)
	listener, err := server.Listen(t.Context(), "tcp", ":80")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, listener.Close()) })
	return server, client
}

// connect connects to an address within a time.
func connect(ctx context.Context, from *testnet.Node, addr string, within time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	conn, err := from.DialContext(ctx, "tcp", net.JoinHostPort(addr, "80"))
	if err != nil {
		return err
	}
	return conn.Close()
}

// The kernel of another machine resolves the addresses, and connects to them.
func TestAnnounce(t *testing.T) {
	server, client := newLab(t)
	for _, addr := range []string{vip4, vip6} {
		require.Error(t, connect(t.Context(), client, addr, 100*time.Millisecond), "nobody announces it yet")
	}
	r := start(t, server, "-i", "eth*", vip4, vip6, "192.168.122.101")
	r.says(t,
		"eth0: in use at "+server.HardwareAddr.String(),
		"192.168.122.100: answered on [eth0]", "192.168.122.101: answered on [eth0]",
		"2001:db8:122::100: answered on [eth0]",
	)
	for _, addr := range []string{vip4, vip6, "192.168.122.101"} {
		require.NoError(t, connect(t.Context(), client, addr, 10*time.Second))
	}
	r.stop(t)
}

// Who is no kernel finds the IPv6 address as well.
func TestNdisc6(t *testing.T) {
	server, client := newLab(t)
	path, err := exec.LookPath("ndisc6")
	if err != nil {
		if os.Getenv("L2VIP_WIRE") == "require" {
			t.Fatal("needs ndisc6")
		}
		t.Skip("needs ndisc6")
	}
	r := start(t, server, vip6)
	r.says(t, vip6+": answered on [eth0]")
	var out strings.Builder
	cmd := exec.Command(path, "-1", "-w", "5000", vip6, "eth0")
	cmd.Stdout, cmd.Stderr = &out, &out
	require.NoError(t, client.Start(cmd))
	require.NoError(t, cmd.Wait(), &out)
	require.Contains(t, strings.ToLower(out.String()), server.HardwareAddr.String())
	r.stop(t)
}

// Two that answer for the same addresses, as they must not, tell of each other.
func TestRivals(t *testing.T) {
	a, b := newLab(t)
	ra := start(t, a, vip4, vip6)
	ra.says(t, vip4+": answered on [eth0]", vip6+": answered on [eth0]")
	rb := start(t, b, vip4, vip6)
	for r, rival := range map[*running]*testnet.Node{ra: b, rb: a} {
		says := ": answered on [eth0], but " + rival.HardwareAddr.String() + " claims it too"
		r.says(t, vip4+says, vip6+says)
	}
	ra.stop(t)
	rb.stop(t)
}

// What is wrong with an interface is said, and when it is well again.
func TestLinks(t *testing.T) {
	server, client := newLab(t)
	r := start(t, server, "-i", "eth*", "-i", "lo", "-i", "nowhere", vip4, vip6)
	r.says(t,
		"eth0: in use at "+server.HardwareAddr.String(), "lo: no Ethernet", "nowhere: no such interface",
		vip4+": answered on [eth0]", vip6+": answered on [eth0]",
	)
	require.NoError(t, server.Unplug())
	const why = ": link down (eth0: no carrier, lo: no Ethernet, nowhere: no such interface)"
	r.says(t, "eth0: no carrier", vip4+why, vip6+why)
	require.NoError(t, server.Plug())
	r.says(t,
		"eth0: in use at "+server.HardwareAddr.String(),
		vip4+": answered on [eth0]", vip6+": answered on [eth0]",
	)
	require.NoError(t, connect(t.Context(), client, vip6, 10*time.Second))
	require.NoError(t, server.Block())
	r.says(t, "eth0: nobody else is heard, so this host may be cut off")
	require.NoError(t, server.Unblock())
	require.NoError(t, connect(t.Context(), client, vip6, 10*time.Second))
	r.says(t, "eth0: in use at "+server.HardwareAddr.String())
	r.stop(t)
}

func TestDescribe(t *testing.T) {
	require.Equal(t, "not bound (no room)", describe(announce.Address{
		Links: []string{"eth0"}, Problem: announce.NotBound, Detail: "no room",
	}))
}

func TestErrors(t *testing.T) {
	for name, tc := range map[string]struct {
		args []string
		want string
	}{
		"nothing":     {nil, "at least one address"},
		"no address":  {[]string{"-i", "lo"}, "at least one address"},
		"bad address": {[]string{"-i", "lo", "192.168.122"}, `"192.168.122"`},
		"bad pattern": {[]string{"-i", "*0", "192.168.122.100"}, `"*0": a * stands at the end only`},
		"link-local":  {[]string{"-i", "lo", "fe80::1"}, "fe80::1 belongs to one interface"},
	} {
		t.Run(name, func(t *testing.T) {
			out, err := program(t, tc.args...).CombinedOutput()
			require.Error(t, err)
			require.Contains(t, string(out), tc.want)
		})
	}
}

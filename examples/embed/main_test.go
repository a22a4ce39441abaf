package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
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
const programEnv = "EMBED_TEST_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(programEnv) != "" {
		main()
		return
	}
	os.Exit(testnet.Main(m.Run))
}

// One of two machines carries the address, whether the interface is named or not; told
// to stop, it hands over to the other. Meanwhile requests are served, but for one that is under way as the
// address moves.
func TestTwoNodes(t *testing.T) {
	testnet.Require(t)
	lab, err := testnet.NewLab()
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, lab.Close()) })
	client := addNode(t, lab, "client", "192.168.122.50")
	self, err := os.Executable()
	require.NoError(t, err)
	programs := make(map[string]*exec.Cmd)
	for i, more := range [][]string{{"-interface", "eth0"}, nil} {
		name := fmt.Sprintf("node-%d", i)
		node := addNode(t, lab, name, fmt.Sprintf("192.168.122.1%d", i))
		cmd := exec.Command(self, append([]string{"-address", "192.168.122.100"}, more...)...)
		cmd.Env = append(os.Environ(), programEnv+"=1")
		cmd.Stderr = os.Stderr
		require.NoError(t, node.Start(cmd))
		programs[name] = cmd
	}

	var leader string
	require.Eventually(t, func() bool {
		leader, err = get(t.Context(), client)
		return err == nil
	}, 20*time.Second, 10*time.Millisecond)
	require.Contains(t, programs, leader)

	require.NoError(t, programs[leader].Process.Signal(syscall.SIGTERM))
	stopped := make(chan error, 1)
	go func() { stopped <- programs[leader].Wait() }()
	failed := 0
	for running := true; running; {
		select {
		case err := <-stopped:
			require.NoError(t, err)
			running = false
		default:
			if _, err := get(t.Context(), client); err != nil {
				t.Log(err)
				failed++
			}
		}
	}
	require.LessOrEqual(t, failed, 1)
	successor, err := get(t.Context(), client)
	require.NoError(t, err)
	require.NotEqual(t, leader, successor)
}

func addNode(t *testing.T, lab *testnet.Lab, name, addr string) *testnet.Node {
	t.Helper()
	node, err := lab.AddNode(name, netip.PrefixFrom(netip.MustParseAddr(addr), 24))
	require.NoError(t, err)
	return node
}

// get asks the address, on a connection of its own, who carries it.
func get(ctx context.Context, client *testnet.Node) (string, error) {
	transport := &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			return client.DialContext(ctx, network, address)
		},
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://192.168.122.100:8080/", nil)
	if err != nil {
		return "", err
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return "", err
	}
	body, err := io.ReadAll(resp.Body)
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		return "", err
	}
	var name string
	_, err = fmt.Sscanf(string(body), "hello from %s\n", &name)
	return name, err
}

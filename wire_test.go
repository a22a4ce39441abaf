package l2vip_test

import (
	"context"
	"net/netip"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/l2vip/l2vip"
	"github.com/l2vip/l2vip/announce"
	"github.com/l2vip/l2vip/election/gossip"
	"github.com/l2vip/l2vip/internal/testnet"
	"log/slog"
)

func TestMain(m *testing.M) { os.Exit(testnet.Main(m.Run)) }

// inside is an announcer that runs in a node of a lab.
type inside struct {
	*announce.Announcer
	node *testnet.Node
}

func (a inside) Run(ctx context.Context, report func(announce.Facts)) error {
	return a.node.Do(func() error { return a.Announcer.Run(ctx, report) })
}

func TestWireQuick(t *testing.T) {
	testnet.Require(t)
	lab, err := testnet.NewLab()
	require.NoError(t, err)
	defer lab.Close()
	vip := netip.MustParseAddr("192.168.122.100")
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	client, err := lab.AddNode("client", netip.MustParsePrefix("192.168.122.50/24"))
	require.NoError(t, err)
	type n struct {
		node *testnet.Node
		r    *l2vip.Runner
		cancel func()
		done chan error
	}
	var nodes []*n
	for i, name := range []string{"front-0", "front-1", "front-2"} {
		node, err := lab.AddNode(name, netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 168, 122, byte(10 + i)}), 24))
		require.NoError(t, err)
		g, err := gossip.New(gossip.Config{Peers: []string{"192.168.122.10", "192.168.122.11"}, Network: node, Logger: log.With("self", name)})
		require.NoError(t, err)
		a, err := announce.New(announce.Config{Logger: log.With("self", name)})
		require.NoError(t, err)
		r, err := l2vip.New(l2vip.Config{Name: name, Interfaces: []string{"eth0"}, Membership: g, Announcer: inside{a, node}, Logger: log.With("self", name),
			Services: []l2vip.Service{{Addresses: []netip.Addr{vip}}}})
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		x := &n{node, r, cancel, make(chan error, 1)}
		go func() { x.done <- r.Run(ctx) }()
		nodes = append(nodes, x)
	}
	for _, x := range nodes {
		<-x.r.Ready()
	}
	time.Sleep(1500 * time.Millisecond)
	for _, x := range nodes {
		t.Logf("%s\n%+v", x.r.Status().Explain(vip), x.r.Status())
	}
	cmd := exec.Command("ip", "neigh", "show")
	c, err := client.DialContext(t.Context(), "udp", "192.168.122.100:9")
	require.NoError(t, err)
	c.Write([]byte("x"))
	time.Sleep(50*time.Millisecond)
	cmd.Stdout = os.Stderr
	require.NoError(t, client.Start(cmd))
	cmd.Wait()
	for _, x := range nodes {
		if x.r.Status().Addresses[0].Holds {
			t.Log("unplug", x.node.Name)
			require.NoError(t, x.node.Unplug())
			time.Sleep(2 * time.Second)
			t.Log("plug")
			x.node.Plug()
			time.Sleep(2 * time.Second)
			break
		}
	}
	for _, x := range nodes {
		t.Logf("%s", x.r.Status().Explain(vip))
	}
	for _, x := range nodes {
		x.cancel()
		require.NoError(t, <-x.done)
	}
}

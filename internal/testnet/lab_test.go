package testnet_test

import (
	"context"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/l2vip/l2vip/internal/testnet"
)

func TestMain(m *testing.M) { os.Exit(testnet.Main(m.Run)) }

func newLab(t *testing.T) *testnet.Lab {
	t.Helper()
	testnet.Require(t)
	lab, err := testnet.NewLab()
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, lab.Close()) })
	return lab
}

func addNode(t *testing.T, lab *testnet.Lab, name string, prefixes ...string) *testnet.Node {
	t.Helper()
	parsed := make([]netip.Prefix, 0, len(prefixes))
	for _, p := range prefixes {
		parsed = append(parsed, netip.MustParsePrefix(p))
	}
	start := time.Now()
	n, err := lab.AddNode(name, parsed...)
	require.NoError(t, err)
	t.Logf("%s up in %v", name, time.Since(start))
	return n
}

func TestDatagramBetweenNodes(t *testing.T) {
	lab := newLab(t)
	for _, c := range []struct{ a, b string }{{"192.0.2.1", "192.0.2.2"}, {"2001:db8::1", "2001:db8::2"}} {
		t.Run(c.a, func(t *testing.T) {
			bits := "/24"
			if netip.MustParseAddr(c.a).Is6() {
				bits = "/64"
			}
			a := addNode(t, lab, "a"+c.a, c.a+bits)
			b := addNode(t, lab, "b"+c.b, c.b+bits)
			pa, err := a.ListenPacket(context.Background(), "udp", net.JoinHostPort(c.a, "0"))
			require.NoError(t, err)
			defer pa.Close()
			pb, err := b.ListenPacket(context.Background(), "udp", net.JoinHostPort(c.b, "0"))
			require.NoError(t, err)
			defer pb.Close()
			_, err = pa.WriteTo([]byte("hello"), pb.LocalAddr())
			require.NoError(t, err)
			require.NoError(t, pb.SetReadDeadline(time.Now().Add(5*time.Second)))
			buf := make([]byte, 100)
			n, from, err := pb.ReadFrom(buf)
			require.NoError(t, err)
			require.Equal(t, "hello", string(buf[:n]))
			require.Equal(t, pa.LocalAddr().String(), from.String())
		})
	}
}

package testnet_test

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/l2vip/l2vip/internal/testnet"
)

// soon bounds what happens at once unless it is broken.
const soon = 10 * time.Second

func newLab(t *testing.T) *testnet.Lab {
	t.Helper()
	testnet.Require(t)
	lab, err := testnet.NewLab()
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, lab.Close()) })
	return lab
}

func addNode(t *testing.T, lab *testnet.Lab, name string, prefixes ...string) *testnet.Node {
	t.Helper()
	parsed := make([]netip.Prefix, 0, len(prefixes))
	for _, p := range prefixes {
		parsed = append(parsed, netip.MustParsePrefix(p))
	}
	n, err := lab.AddNode(name, parsed...)
	require.NoError(t, err)
	return n
}

// pair returns two nodes that have both families.
func pair(t *testing.T) (a, b *testnet.Node) {
	t.Helper()
	lab := newLab(t)
	return addNode(t, lab, "a", "192.0.2.1/24", "2001:db8::1/64"), addNode(t, lab, "b", "192.0.2.2/24", "2001:db8::2/64")
}

func nodePacket(t *testing.T, n *testnet.Node, addr netip.Addr) net.PacketConn {
	t.Helper()
	c, err := n.ListenPacket(t.Context(), "udp", netip.AddrPortFrom(addr, 0).String())
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// passes tells whether a datagram gets from one socket to the other within the
// time.
func passes(t *testing.T, from, to net.PacketConn, within time.Duration) bool {
	t.Helper()
	mark := []byte(time.Now().String())
	_, err := from.WriteTo(mark, to.LocalAddr())
	require.NoError(t, err)
	require.NoError(t, to.SetReadDeadline(time.Now().Add(within)))
	buf := make([]byte, 1500)
	for {
		n, _, err := to.ReadFrom(buf)
		if err != nil {
			require.ErrorIs(t, err, os.ErrDeadlineExceeded)
			return false
		}
		if string(buf[:n]) == string(mark) {
			return true
		}
	}
}

func TestNodesTalk(t *testing.T) {
	a, b := pair(t)
	require.Equal(t, "a", a.Name)
	require.Equal(t, "eth0", a.Interface)
	require.Equal(t, "02:00:00:00:00:01", a.HardwareAddr.String())
	require.Len(t, a.Addrs, 2)
	for i, addr := range b.Addrs {
		t.Run(addr.String(), func(t *testing.T) {
			pa, pb := nodePacket(t, a, a.Addrs[i]), nodePacket(t, b, addr)
			require.True(t, passes(t, pa, pb, soon))
			require.True(t, passes(t, pb, pa, soon))

			l, err := b.Listen(t.Context(), "tcp", netip.AddrPortFrom(addr, 0).String())
			require.NoError(t, err)
			defer l.Close()
			near, err := a.DialContext(t.Context(), "tcp", l.Addr().String())
			require.NoError(t, err)
			defer near.Close()
			far, err := l.Accept()
			require.NoError(t, err)
			_, err = far.Write([]byte("welcome"))
			require.NoError(t, err)
			require.NoError(t, far.Close())
			got, err := io.ReadAll(near)
			require.NoError(t, err)
			require.Equal(t, "welcome", string(got))
		})
	}
}

func TestLabsAreSeparate(t *testing.T) {
	a, _ := pair(t)
	_, b := pair(t)
	pa, pb := nodePacket(t, a, a.Addrs[0]), nodePacket(t, b, b.Addrs[0])
	_, err := pa.WriteTo([]byte("x"), pb.LocalAddr())
	require.NoError(t, err)
	require.False(t, passes(t, pa, pb, 20*time.Millisecond))
}

func TestManyNodesComeUpFast(t *testing.T) {
	lab := newLab(t)
	start := time.Now()
	for _, name := range []string{"front-0", "front-1", "front-2", "worker-0", "a-client-with-a-long-name"} {
		addNode(t, lab, name, "192.0.2.1/24")
	}
	t.Logf("five nodes in %v", time.Since(start))
	_, err := lab.AddNode("front-0")
	require.ErrorIs(t, err, os.ErrExist)
	require.NoError(t, lab.Close())
	require.NoError(t, lab.Close())
	_, err = lab.AddNode("front-3")
	require.ErrorIs(t, err, os.ErrClosed)
}

func TestRequireSkipsOrFails(t *testing.T) {
	var tb recorder
	testnet.Require(&tb)
	switch {
	case testnet.Available() == nil:
		require.Empty(t, tb.did)
	case os.Getenv("L2VIP_WIRE") == "require":
		require.Equal(t, "fatal", tb.did)
	default:
		require.Equal(t, "skip", tb.did)
		_, err := testnet.NewLab()
		require.Error(t, err)
		require.True(t, errors.Is(err, os.ErrPermission) || errors.Is(err, errors.ErrUnsupported), "%v", err)
	}
}

type recorder struct{ did string }

func (*recorder) Helper()        {}
func (r *recorder) Skip(...any)  { r.did = "skip" }
func (r *recorder) Fatal(...any) { r.did = "fatal" }

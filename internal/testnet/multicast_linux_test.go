package testnet_test

import (
	"bytes"
	"net"
	"net/netip"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/l2vip/l2vip/internal/testnet"
)

var allNodes = netip.IPv6LinkLocalAllNodes()

// multicaster sends to groups from a node.
type multicaster struct {
	node *testnet.Node
	conn net.PacketConn
}

func newMulticaster(t *testing.T, n *testnet.Node) multicaster {
	t.Helper()
	return multicaster{n, nodePacket(t, n, n.LinkLocal.WithZone(strconv.Itoa(n.Index)))}
}

// say sends a datagram to a group, and returns what tells it from others.
func (m multicaster) say(t *testing.T, group netip.Addr) (mark []byte) {
	t.Helper()
	mark = []byte(time.Now().String())
	to := netip.AddrPortFrom(group.WithZone(strconv.Itoa(m.node.Index)), 9)
	_, err := m.conn.WriteTo(mark, net.UDPAddrFromAddrPort(to))
	require.NoError(t, err)
	return mark
}

// ear is what arrives at a node's interface. It overflows when nobody reads.
type ear struct{ net.PacketConn }

func openEar(t *testing.T, n *testnet.Node) ear {
	t.Helper()
	c, err := n.Frames()
	require.NoError(t, err)
	return ear{c}
}

// hears reads until a mark has come, and tells whether another one has come
// before it.
func (e ear) hears(t *testing.T, mark, before []byte) (earlier bool) {
	t.Helper()
	require.NoError(t, e.SetReadDeadline(time.Now().Add(soon)))
	buf := make([]byte, 2000)
	for {
		n, _, err := e.ReadFrom(buf)
		require.NoError(t, err, "%s has not arrived", mark)
		if bytes.HasSuffix(buf[:n], mark) {
			return earlier
		}
		earlier = earlier || before != nil && bytes.HasSuffix(buf[:n], before)
	}
}

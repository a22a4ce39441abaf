package gossip

import (
	"bytes"
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/l2vip/l2vip/election"
)

func TestEndpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, 0)
		var first netip.AddrPort
		n := s.stranger(0, func(n *node) {
			require.Zero(t, n.Endpoint())
			n.watch = func([]election.Offer) { first = n.Endpoint() }
		})
		synctest.Wait()
		require.Equal(t, simEndpoint(0), first, "known when update is called")
		end(n)
	})
}

func TestDerive(t *testing.T) {
	made := func(cfg Config) *Gossip {
		g, err := New(cfg)
		require.NoError(t, err)
		return g
	}
	require.Nil(t, made(Config{}).Derive("heartbeat"))
	require.Equal(t, "l2vip", made(Config{}).Cluster())
	require.Equal(t, "stable", made(Config{Cluster: "stable"}).Cluster())

	key := bytes.Repeat([]byte("k"), 16)
	g := made(Config{Key: key})
	require.Len(t, g.Derive("heartbeat"), 32)
	require.NotEqual(t, g.Derive("heartbeat"), g.Derive("other"))
	require.NotEqual(t, g.Derive("heartbeat"), made(Config{Key: key, Cluster: "other"}).Derive("heartbeat"))
	// Part of the protocol: they must never change.
	require.Equal(t, "82588f906cc1c597", fmt.Sprintf("%x", g.Derive("heartbeat")[:8]))
	g = made(Config{Passphrase: "correct horse battery staple"})
	require.Equal(t, "885e71d713e3d0ce", fmt.Sprintf("%x", g.Derive("heartbeat")[:8]))
}

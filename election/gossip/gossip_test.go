package gossip

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/l2vip/l2vip/election"
)

func TestSmoke(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	peers := []string{"127.77.0.1", "127.77.0.2", "127.77.0.3"}
	done := make(chan error, 3)
	ups := make(chan []election.Offer, 1000)
	for i, p := range peers {
		g, err := New(Config{Peers: peers, Address: netip.MustParseAddr(p)})
		require.NoError(t, err)
		g.Publish(election.Offer{Revision: 1, Config: uint64(i)})
		go func() {
			done <- g.Run(ctx, p, func(o []election.Offer) {
				if i == 0 {
					ups <- o
				}
			})
		}()
	}
	time.Sleep(time.Second)
	cancel()
	for range 3 {
		require.NoError(t, <-done)
	}
	close(ups)
	for o := range ups {
		t.Log(o)
	}
}

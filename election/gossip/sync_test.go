package gossip

import (
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestSyncJoinsMembersThatAreThereAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, 2)
		nodes := []*node{s.node(0)}
		s.Host(simAddr(1)) // is up, and refuses
		nodes[0].learned <- simEndpoint(2)
		s.Host(simAddr(2))
		for i := 1; i <= 2; i++ {
			time.Sleep(10 * time.Second)
			nodes = append(nodes, s.stranger(i))
			synctest.Wait() // long before the next attempt
			require.NoError(t, nodes[0].Sync(t.Context()))
			require.True(t, nodes[0].saw(fmt.Sprintf("node-%d", i), 1)())
		}
		end(nodes...)
	})
}

func TestSyncAfterAPartition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, 4)
		nodes := s.cluster(4)
		s.Partition([]netip.Addr{simAddr(0), simAddr(1)})
		time.Sleep(2 * memory)
		for _, n := range nodes {
			offers, _ := n.latest()
			require.Len(t, offers, 1)
		}
		s.Heal()
		require.NoError(t, nodes[0].Sync(t.Context()))
		require.True(t, nodes[0].saw("node-2", 1)())
		require.True(t, nodes[0].saw("node-3", 1)())
		end(nodes...)
	})
}

// A peer that is simply down costs Sync no more than a probe's timeout, and never
// its success.
func TestSyncDoesNotWaitForTheDead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, 12) // most do not even have a host
		nodes := s.cluster(2)
		for range 10 {
			began := time.Now()
			require.NoError(t, nodes[0].Sync(t.Context()))
			require.LessOrEqual(t, time.Since(began), nodes[0].cfg.probeTimeout())
		}

		nodes[1].leave(t)
		within(t, time.Second, nodes[0].misses("node-1"))
		began := time.Now()
		require.NoError(t, nodes[0].Sync(t.Context()), "no member is there")
		require.LessOrEqual(t, time.Since(began), nodes[0].cfg.probeTimeout())
		end(nodes[0])
	})
}

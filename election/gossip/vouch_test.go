package gossip

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// Members that beat are asked once a second by each, and a death is noticed as soon as
// ever once the beats have stopped.
func TestMembersThatBeatAreProbedRarely(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, 3)
		var beats atomic.Bool
		tap, nodes := s.tapped([]func(*node){func(n *node) { n.local.Beats = func(string) bool { return beats.Load() } }})
		during := func(d time.Duration) int {
			count := func() int { d, _ := tap.from(simAddr(1)); return len(d) }
			before := count()
			time.Sleep(d)
			return count() - before
		}
		time.Sleep(time.Second)
		often := during(10 * time.Second)
		beats.Store(true)
		time.Sleep(time.Second)
		rarely := during(10 * time.Second)
		t.Logf("%d datagrams in 10 s from a member that does not beat, %d from one that does", often, rarely)
		require.Greater(t, often, 80)
		require.Less(t, rarely, 30, "a probe and an answer a second")
		undisturbed(t, nodes, 2)

		s.Host(simAddr(2)).PowerOff()
		<-nodes[2].done
		time.Sleep(40 * time.Millisecond)
		beats.Store(false)
		for _, n := range nodes[:2] {
			within(t, 800*time.Millisecond, n.misses("node-2"))
		}

		// Where only the port is gone, it is noticed, too.
		beats.Store(true)
		s.Host(simAddr(1)).PowerOff()
		<-nodes[1].done
		within(t, 3*time.Second, nodes[0].misses("node-1"))
		end(nodes[0])
	})
}

func TestVouching(t *testing.T) {
	ping := []byte("\x00\x85\xa4Node\xa1n\xa5SeqNo\xce\x00\x00\x00\x07\xaaSourceAddr\xa4\x0a\x00\x00\x01\xaaSourceNode\xa1m\xaaSourcePort\xcd\x1f\x0a")
	v := vouching{beats: func(name string) bool { return name == "n" }}
	now := time.Now()
	require.Nil(t, v.answer(ping, "n", now), "the first one goes out")
	require.Equal(t, mlAckMsg, string(v.answer(ping, "n", now)))
	require.Equal(t, mlAckMsg, string(v.answer(append([]byte("\x0c1234"), ping...), "n", now)))
	require.Nil(t, v.answer(ping, "other", now), "it does not beat")
	require.Nil(t, v.answer([]byte(mlAckMsg), "n", now))
	require.Nil(t, v.answer(append([]byte{mlCompound, 1, 0, byte(len(ping))}, ping...), "n", now), "a suspect is asked itself")
	require.Nil(t, v.answer(ping[:5], "n", now))
	require.Nil(t, v.answer(ping, "n", now.Add(vouchPause)))
	now = now.Add(vouchPause)
	require.NotNil(t, v.answer(ping, "n", now))
	v.relays([]byte(mlAckMsg), now)
	require.NotNil(t, v.answer(ping, "n", now))
	v.relays([]byte{mlIndirect}, now)
	require.Nil(t, v.answer(ping, "n", now), "it may be another member's question")
	require.Nil(t, new(vouching).answer(ping, "n", now))
}

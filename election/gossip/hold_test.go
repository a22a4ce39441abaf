package gossip

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// beating is who beats.
type beating struct {
	mu      sync.Mutex
	names   map[string]bool
	changed chan struct{}
}

func (b *beating) read() (map[string]bool, <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.names, b.changed
}

func (b *beating) set(names ...string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.names = make(map[string]bool)
	for _, name := range names {
		b.names[name] = true
	}
	close(b.changed)
	b.changed = make(chan struct{})
}

// Members that beat are asked rarely, and a death is noticed as soon as
// ever once the beats have stopped.
func TestMembersThatBeatAreProbedRarely(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, 3)
		beats := &beating{changed: make(chan struct{})}
		tap, nodes := s.tapped([]func(*node){func(n *node) { n.local.Beats = beats.read }})
		during := func(d time.Duration) int {
			count := func() int { d, _ := tap.from(simAddr(1)); return len(d) }
			before := count()
			time.Sleep(d)
			return count() - before
		}
		time.Sleep(time.Second)
		often := during(10 * time.Second)
		beats.set("node-0", "node-1", "node-2")
		time.Sleep(time.Second)
		rarely := during(10 * time.Second)
		t.Logf("%d datagrams in 10 s from a member that does not beat, %d from one that does", often, rarely)
		require.Greater(t, often, 80)
		require.Less(t, rarely, 30, "a probe and an answer now and then")
		undisturbed(t, nodes, 2)

		s.Host(simAddr(2)).PowerOff()
		<-nodes[2].done
		time.Sleep(40 * time.Millisecond)
		beats.set()
		for _, n := range nodes[:2] {
			within(t, 800*time.Millisecond, n.misses("node-2"))
		}

		// Where only the port is gone, it is noticed, too.
		beats.set("node-0", "node-1", "node-2")
		s.Host(simAddr(1)).PowerOff()
		<-nodes[1].done
		within(t, 3*beatingProbe, nodes[0].misses("node-1"))
		end(nodes[0])
	})
}

func TestHolding(t *testing.T) {
	ping := []byte("\x00\x85\xa4Node\xa1n\xa5SeqNo\xce\x00\x00\x00\x07\xaaSourceAddr\xa4\x0a\x00\x00\x01\xaaSourceNode\xa1m\xaaSourcePort\xcd\x1f\x0a")
	synctest.Test(t, func(t *testing.T) {
		changed, done := make(chan struct{}), make(chan struct{})
		h := holder{
			beats:  func() (map[string]bool, <-chan struct{}) { return map[string]bool{"n": true}, changed },
			joined: make(chan struct{}),
		}
		beating := []location{{name: "n"}}
		holds := func(b []byte, name string, members []location) (time.Duration, bool) {
			began := time.Now()
			held := h.holds(b, name, members, done)
			return time.Since(began), held
		}
		expect := func(b []byte, name string, members []location, pause time.Duration, held bool, why string) {
			took, got := holds(b, name, members)
			require.Equal(t, held, got, why)
			require.Equal(t, pause, took, why)
		}
		expect(ping, "n", beating, 0, false, "the first one goes out")
		expect(ping, "n", beating, beatingProbe, true, "the next one is for the one after it")
		expect(ping, "n", beating, 0, false, "which is due")
		expect(append([]byte("\x0c1234"), ping...), "n", append(beating, location{name: "other"}), 0, true, "another member is to be probed")
		expect(ping, "other", beating, 0, false, "it does not beat")
		expect([]byte(mlAckMsg), "n", beating, 0, false, "an answer")
		expect(append([]byte{mlCompound, 1, 0, byte(len(ping))}, ping...), "n", beating, 0, false, "a suspect is asked")
		h.relays([]byte(mlAckMsg), time.Now())
		time.AfterFunc(10*time.Millisecond, h.release)
		expect(ping, "n", beating, 10*time.Millisecond, true, "a member joins")
		time.AfterFunc(10*time.Millisecond, func() { close(changed) })
		expect(ping, "n", beating, 10*time.Millisecond, true, "others beat")
		h.relays([]byte{mlIndirect}, time.Now())
		expect(ping, "n", beating, 0, false, "it may be another member's question")
		close(done)
		time.Sleep(relayPause)
		expect(ping, "n", beating, 0, true, "the end")
		require.False(t, new(holder).holds(ping, "n", nil, done))
	})
}

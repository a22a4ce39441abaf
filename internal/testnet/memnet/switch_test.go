package memnet_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/l2vip/l2vip/internal/testnet/memnet"
)

var (
	broadcast = [6]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	group     = [6]byte{0x03, 0, 0, 0, 0, 1}
)

// frameOf returns a frame that carries a text.
func frameOf(to, from [6]byte, text string) []byte {
	return append(slices.Concat(to[:], from[:], []byte{0x88, 0xb5}), text...)
}

// node is a station with a process that has a port and reads from it.
type node struct {
	*memnet.Station
	*memnet.Process
	*memnet.Port
	t    *testing.T
	mu   sync.Mutex
	read [][]byte
}

// plug returns a node with an address of each family, the nth on the switch.
func plug(t *testing.T, s *memnet.Switch, n byte) *node {
	return newNode(t, s.Station(fmt.Sprint("node-", n), v4(n), v6(n)))
}

func newNode(t *testing.T, st *memnet.Station) *node {
	t.Helper()
	nd := &node{t: t, Station: st, Process: st.Start()}
	nd.Port = nd.open(st.Link(2).Index())
	return nd
}

// open opens a port of which what arrives is kept.
func (n *node) open(link int) *memnet.Port {
	n.t.Helper()
	p, err := n.Process.Open(link)
	require.NoError(n.t, err)
	n.t.Cleanup(func() { _ = p.Close() })
	go func() {
		b := make([]byte, 2000)
		for {
			size, err := p.Read(b)
			if err != nil {
				return
			}
			n.mu.Lock()
			n.read = append(n.read, slices.Clone(b[:size]))
			n.mu.Unlock()
		}
	}()
	return p
}

func (n *node) hw() [6]byte { return n.Link(2).HardwareAddr() }

// send sends a text to all stations.
func (n *node) send(text string) { n.sendTo(broadcast, text) }

func (n *node) sendTo(to [6]byte, text string) {
	n.t.Helper()
	_, err := n.Write(frameOf(to, n.hw(), text))
	require.NoError(n.t, err)
}

// frames returns what has been read since it was last called, once all has arrived
// that is on its way.
func (n *node) frames() [][]byte {
	time.Sleep(time.Second)
	synctest.Wait()
	n.mu.Lock()
	defer n.mu.Unlock()
	read := n.read
	n.read = nil
	return read
}

// texts returns the texts that were read.
func (n *node) texts() string {
	var texts []string
	for _, frame := range n.frames() {
		texts = append(texts, string(frame[14:]))
	}
	return strings.Join(texts, " ")
}

func v4(n byte) netip.Addr { return netip.AddrFrom4([4]byte{192, 0, 2, n}) }

func v6(n byte) netip.Addr {
	return netip.AddrFrom16([16]byte{0: 0x20, 1: 0x01, 2: 0x0d, 3: 0xb8, 15: n})
}

// bubble runs a test with a switch.
func bubble(t *testing.T, c memnet.SwitchConfig, f func(t *testing.T, s *memnet.Switch)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { f(t, memnet.NewSwitch(c)) })
}

func TestFrameIsForWhomItSays(t *testing.T) {
	bubble(t, memnet.SwitchConfig{}, func(t *testing.T, s *memnet.Switch) {
		a, b, c := plug(t, s, 1), plug(t, s, 2), plug(t, s, 3)
		a.send("all")
		a.sendTo(group, "group")
		a.sendTo(b.hw(), "b")
		a.sendTo(a.hw(), "self")
		require.Empty(t, a.texts())
		require.Equal(t, "all group b", b.texts())
		require.Equal(t, "all group", c.texts())
	})
}

func TestFrameTakesTheLatency(t *testing.T) {
	for _, tc := range []struct{ latency, takes time.Duration }{{0, 50 * time.Microsecond}, {-1, 0}, {time.Millisecond, time.Millisecond}} {
		bubble(t, memnet.SwitchConfig{Latency: tc.latency}, func(t *testing.T, s *memnet.Switch) {
			a, p := plug(t, s, 1), s.Station("b").Start()
			port, err := p.Open(2)
			require.NoError(t, err)
			start := time.Now()
			a.send("hello")
			size, err := port.Read(make([]byte, 16)) // the rest is lost
			require.NoError(t, err)
			require.Equal(t, 16, size)
			require.Equal(t, tc.takes, time.Since(start))
		})
	}
}

func TestPortQueueIsBounded(t *testing.T) {
	bubble(t, memnet.SwitchConfig{}, func(t *testing.T, s *memnet.Switch) {
		a, b := plug(t, s, 1), plug(t, s, 2)
		b.Stop()
		for i := range 600 {
			a.send(fmt.Sprint(i))
		}
		time.Sleep(time.Second)
		b.Continue()
		frames := b.frames()
		require.Len(t, frames, 512)
		require.Equal(t, "0", string(frames[0][14:]))
		require.Equal(t, "511", string(frames[511][14:]), "the newest are dropped")
	})
}

func TestFrameLossIsTheSeeds(t *testing.T) {
	run := func(seed uint64) (texts string) {
		bubble(t, memnet.SwitchConfig{Loss: 0.3, Seed: seed}, func(t *testing.T, s *memnet.Switch) {
			a, b := plug(t, s, 1), plug(t, s, 2)
			for i := range 100 {
				a.send(fmt.Sprint(i))
			}
			texts = b.texts()
			s.SetLoss(0)
			a.send("none")
			require.Equal(t, "none", b.texts())
			s.SetLoss(1)
			a.send("all")
			require.Empty(t, b.texts())
		})
		return texts
	}
	first := run(1)
	require.Equal(t, first, run(1))
	require.NotEqual(t, first, run(2))
	require.InDelta(t, 70, strings.Count(first, " "), 15)
}

func TestDuplicatesAndJitter(t *testing.T) {
	bubble(t, memnet.SwitchConfig{}, func(t *testing.T, s *memnet.Switch) {
		a, b := plug(t, s, 1), plug(t, s, 2)
		s.SetDuplicates(1)
		a.send("twice")
		require.Equal(t, "twice twice", b.texts())
		s.SetDuplicates(0)

		s.SetJitter(time.Millisecond)
		var sent []string
		for i := range 20 {
			sent = append(sent, fmt.Sprint(i))
			a.send(sent[i])
		}
		got := strings.Fields(b.texts())
		require.ElementsMatch(t, sent, got)
		require.NotEqual(t, sent, got, "some overtake others")
	})
}

func TestFaultsOfTheWire(t *testing.T) {
	type set = func(s *memnet.Switch, a, b *node, on bool)
	for name, tc := range map[string]struct {
		set
		aToB, bToA bool
	}{
		"side":    {func(_ *memnet.Switch, a, _ *node, on bool) { a.Link(2).SetSide(map[bool]int{true: 1}[on]) }, false, false},
		"deaf":    {func(_ *memnet.Switch, a, _ *node, on bool) { a.Link(2).SetDeaf(on) }, true, false},
		"mute":    {func(_ *memnet.Switch, a, _ *node, on bool) { a.Link(2).SetMute(on) }, false, true},
		"cut":     {func(s *memnet.Switch, a, b *node, on bool) { s.SetCut(a.Station, b.Station, on) }, false, true},
		"no cut":  {func(s *memnet.Switch, a, _ *node, on bool) { s.SetCut(a.Station, a.Station, on) }, true, true},
		"no side": {func(_ *memnet.Switch, a, b *node, _ bool) { a.Link(2).SetSide(1); b.Link(2).SetSide(1) }, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, memnet.SwitchConfig{}, func(t *testing.T, s *memnet.Switch) {
				a, b := plug(t, s, 1), plug(t, s, 2)
				exchange := func() (aToB, bToA bool) {
					a.frames() // of the kernels' probes
					b.frames()
					a.send("a")
					b.send("b")
					return b.texts() == "a", a.texts() == "b"
				}
				a.send("on its way")
				tc.set(s, a, b, true)
				require.Equal(t, "on its way", b.texts())
				aToB, bToA := exchange()
				require.Equal(t, []bool{tc.aToB, tc.bToA}, []bool{aToB, bToA})
				require.Equal(t, tc.aToB && tc.bToA, asks(t, b, v4(1)), "the kernel is no better off")
				require.Equal(t, tc.aToB && tc.bToA, asks(t, b, v6(1)))
				tc.set(s, a, b, false)
				aToB, bToA = exchange()
				require.True(t, aToB && bToA)
				require.True(t, asks(t, b, v4(1)))
			})
		})
	}
}

func TestLinkDown(t *testing.T) {
	bubble(t, memnet.SwitchConfig{}, func(t *testing.T, s *memnet.Switch) {
		a, b := plug(t, s, 1), plug(t, s, 2)
		a.Link(2).SetDown(true)
		_, err := a.Write(frameOf(broadcast, a.hw(), "a"))
		require.ErrorIs(t, err, syscall.ENETDOWN)
		b.send("b")
		require.Empty(t, a.texts())
		require.False(t, asks(t, b, v4(1)))
		a.Link(2).SetDown(false)
		b.send("b")
		require.Equal(t, "b", a.texts())
		require.True(t, asks(t, b, v4(1)))
	})
}

func TestTwoSwitches(t *testing.T) {
	bubble(t, memnet.SwitchConfig{}, func(t *testing.T, s *memnet.Switch) {
		second := s.Another(memnet.SwitchConfig{})
		a, b, c := plug(t, s, 1), plug(t, s, 2), plug(t, second, 3)
		require.Equal(t, 3, a.Plug(second, v4(4)).Index())
		other := a.open(3)
		a.send("first")
		_, err := other.Write(frameOf(broadcast, a.Link(3).HardwareAddr(), "second"))
		require.NoError(t, err)
		require.Equal(t, "first", b.texts())
		require.Equal(t, "second", c.texts())
		require.False(t, asks(t, c, v4(1)), "the kernel answers for the addresses of the link")
		require.True(t, asks(t, c, v4(4)))

		a.Link(2).SetMute(true)
		require.True(t, asks(t, c, v4(4)), "the links fail each by itself")
		a.PowerOff()
		require.False(t, asks(t, c, v4(4)))
		require.Nil(t, a.Link(1))
		require.Nil(t, a.Link(4))
		require.Panics(t, func() { a.Plug(memnet.NewSwitch(memnet.SwitchConfig{})) })
	})
}

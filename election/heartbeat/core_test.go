package heartbeat

import (
	"container/heap"
	"encoding/binary"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// segment is a network of cores on a made-up clock: frames take a while, may be
// lost, and hosts may be cut off, frozen or starved.
type segment struct {
	t      testing.TB
	random *rand.Rand
	now    time.Duration
	queue  events
	order  int
	hosts  []*host
	delay  func() time.Duration
	lost   func(from, to *host) bool
}

// host is a machine: a kernel, and a process with a core.
type host struct {
	*segment
	name    string
	hw      hardwareAddr
	addr    netip.Addr
	core    *core
	count   counters
	next    time.Duration // when the core wants to be called
	inbox   []func(now time.Duration)
	plain   bool // a station that only has a kernel: the gateway
	cut     bool // neither sends nor receives
	deaf    bool // sends only
	off     bool // without power
	starved time.Duration
	deaths  map[string]int  // how often a member died, as this one saw it
	dead    map[string]bool // those that are
}

func newSegment(t testing.TB, seed uint64) *segment {
	s := &segment{t: t, random: rand.New(rand.NewPCG(seed, 1)), now: time.Second}
	s.delay = func() time.Duration { return 20*time.Microsecond + time.Duration(s.random.IntN(100))*time.Microsecond }
	s.lost = func(*host, *host) bool { return false }
	return s
}

func (s *segment) plug(name string) *host {
	n := byte(len(s.hosts) + 1)
	h := &host{
		segment: s, name: name, hw: hardwareAddr{2, 0, 0, 0, 0, n}, addr: netip.AddrFrom4([4]byte{192, 0, 2, n}),
		deaths: make(map[string]int), dead: make(map[string]bool),
	}
	s.hosts = append(s.hosts, h)
	return h
}

func (s *segment) station(name string) *host {
	h := s.plug(name)
	h.plain = true
	return h
}

func (s *segment) member(name string, c Config) *host {
	h := s.plug(name)
	h.start(c)
	return h
}

func (h *host) start(c Config) {
	require.NoError(h.t, c.settle())
	c.Logger = slog.New(slog.DiscardHandler)
	var err error
	h.core, err = newCore(c, h.name, uint64(h.now)+uint64(h.hw[5]), h, h.random.Uint64, &h.count)
	require.NoError(h.t, err)
	h.hold(false)
}

func (h *host) hold(holds bool) {
	h.core.set(h.now, []Link{{Index: 1, HardwareAddr: h.hw, Addr: h.addr}}, holds, "")
	h.turn(h.now)
}

// turn is what the process does when it runs.
func (h *host) turn(now time.Duration) {
	if h.core == nil || h.off {
		return
	}
	if now < h.starved {
		h.at(h.starved, func() { h.turn(h.now) })
		return
	}
	for _, f := range h.inbox {
		f(now)
	}
	h.inbox = h.inbox[:0]
	h.next = h.core.advance(now)
	if h.core.changed {
		h.core.changed = false
		for _, p := range h.core.picture() {
			if p.Dead && !h.dead[p.Node] {
				h.deaths[p.Node]++
			}
			h.dead[p.Node] = p.Dead
		}
	}
	next := h.next
	h.at(max(next, now+time.Microsecond), func() {
		if h.next == next {
			h.turn(h.now)
		}
	})
}

func (s *segment) at(when time.Duration, f func()) {
	s.order++
	heap.Push(&s.queue, event{when, s.order, f})
}

func (s *segment) run(d time.Duration) {
	end := s.now + d
	for len(s.queue) > 0 && s.queue[0].when <= end {
		e := heap.Pop(&s.queue).(event)
		s.now = e.when
		e.f()
	}
	s.now = end
}

// deliver lets f happen at every host that the frame reaches.
func (h *host) deliver(to hardwareAddr, f func(*host)) {
	if h.cut || h.off {
		return
	}
	for _, other := range h.hosts {
		if other == h || other.off || other.cut || other.deaf || to[0]&1 == 0 && other.hw != to || h.lost(h, other) {
			continue
		}
		h.at(h.now+h.delay(), func() {
			if !other.off && !other.cut && !other.deaf {
				f(other)
			}
		})
	}
}

// arrive puts something into the process's socket.
func (h *host) arrive(f func(now time.Duration)) {
	if h.core == nil {
		return
	}
	h.inbox = append(h.inbox, f)
	h.turn(h.now)
}

func (h *host) send(_ int, to hardwareAddr, payload []byte) {
	payload = slices.Clone(payload)
	h.deliver(to, func(other *host) {
		other.arrive(func(now time.Duration) { other.core.receive(now, 1, h.hw, payload) })
	})
}

// ask is answered by the kernel of the host that has the address.
func (h *host) ask(_ int, to hardwareAddr, addr netip.Addr) {
	h.deliver(to, func(other *host) {
		if other.addr == addr {
			other.deliver(h.hw, func(h *host) {
				h.arrive(func(now time.Duration) { h.core.sign(now, 1, other.hw) })
			})
		}
	})
}

func (h *host) provoke(int) {
	for _, other := range h.hosts {
		if other.plain {
			h.ask(1, other.hw, other.addr)
		}
	}
}

type event struct {
	when  time.Duration
	order int
	f     func()
}

type events []event

func (q events) Len() int { return len(q) }
func (q events) Less(i, j int) bool {
	return q[i].when < q[j].when || q[i].when == q[j].when && q[i].order < q[j].order
}
func (q events) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *events) Push(x any)   { *q = append(*q, x.(event)) }
func (q *events) Pop() any {
	last := (*q)[len(*q)-1]
	*q = (*q)[:len(*q)-1]
	return last
}

// members returns n members that know each other, of which the first holds, and a
// gateway.
func members(t testing.TB, seed uint64, n int, c Config) (*segment, []*host) {
	s := newSegment(t, seed)
	var all []*host
	for i := range n {
		all = append(all, s.member(fmt.Sprint("node-", i), c))
	}
	s.station("gateway")
	all[0].hold(true)
	s.run(time.Second)
	for _, h := range all {
		require.Len(t, h.core.picture(), n-1)
	}
	return s, all
}

func TestAHolderThatIsCutOffIsDead(t *testing.T) {
	for n := 2; n <= 5; n++ {
		s, all := members(t, 1, n, Config{})
		require.Less(t, Config{}.Detection(), 15*time.Millisecond)
		all[0].cut = true
		s.run(Config{}.Detection() + 2*time.Millisecond)
		for _, h := range all[1:] {
			require.Equal(t, 1, h.deaths["node-0"], "%d members: %s", n, h.name)
		}
		s.run(time.Minute / 2)
		require.Empty(t, all[0].deaths, "it has heard nobody, and accuses nobody")

		// It returns, and is alive again; nobody accuses anybody.
		all[0].cut = false
		s.run(time.Second)
		for _, h := range all[1:] {
			require.Equal(t, 1, h.deaths["node-0"])
			require.False(t, h.core.picture()[0].Dead)
		}
	}
}

func TestAFollowerThatIsCutOffAccusesNobody(t *testing.T) {
	for n := 2; n <= 4; n++ {
		s, all := members(t, 2, n, Config{})
		all[1].cut = true
		s.run(5 * time.Second)
		require.True(t, all[1].core.picture()[0].Silent)
		require.False(t, all[1].core.picture()[0].Stalled, "who is cut off knows nothing of anybody")
		all[1].cut = false
		s.run(time.Second)
		all[1].deaf = true // only its receiver is broken
		s.run(5 * time.Second)
		for _, h := range all {
			require.Empty(t, h.deaths, h.name)
		}
		require.NotZero(t, all[1].count.vetoed.Load())
	}
}

func TestAProcessThatDoesNotRunIsNotDead(t *testing.T) {
	s, all := members(t, 3, 3, Config{})
	for range 20 {
		all[0].starved = s.now + 300*time.Millisecond // its kernel answers
		s.run(301 * time.Millisecond)
		require.Greater(t, all[0].core.interval(), DefaultInterval, "it announces a wider interval")
		s.run(time.Second)
		require.Equal(t, DefaultInterval, all[0].core.interval(), "for a while")
		require.False(t, all[1].core.picture()[0].Stalled, "it is heard again")
	}
	all[1].starved = s.now + time.Second // and a receiver that was late accuses nobody
	s.run(2 * time.Second)
	for _, h := range all {
		require.Empty(t, h.deaths, h.name)
	}
	require.NotZero(t, all[1].count.excused.Load())
}

func TestAProcessThatDoesNotRunAndDiesIsDead(t *testing.T) {
	s, all := members(t, 4, 3, Config{})
	all[0].starved = s.now + time.Hour
	s.run(time.Second)
	require.True(t, all[1].core.picture()[0].Stalled, "its kernel answers")
	all[0].off = true
	s.run(time.Second)
	require.Equal(t, 1, all[1].deaths["node-0"])
}

func TestSeveralThatDieTogether(t *testing.T) {
	s, all := members(t, 5, 5, Config{})
	all[1].hold(true)
	s.run(time.Second)
	all[0].off, all[1].off, all[2].off = true, true, true
	s.run(100 * time.Millisecond)
	for _, h := range all[3:] {
		require.Equal(t, map[string]int{"node-0": 1, "node-1": 1}, h.deaths)
	}
}

func TestTwoMembersAndNobodyElse(t *testing.T) {
	s := newSegment(t, 6)
	a, b := s.member("a", Config{}), s.member("b", Config{})
	a.hold(true)
	s.run(time.Second)
	a.off = true
	s.run(time.Second)
	require.Empty(t, b.deaths, "b may be cut off itself: only the membership can tell")
}

// 2% of the frames at the holder's port are lost: nobody is accused.
func TestLossAccusesNobody(t *testing.T) {
	const seeds, long = 4, 20 * time.Second
	for seed := range seeds {
		for n := 2; n <= 3; n++ {
			s, all := members(t, uint64(seed), n, Config{})
			s.lost = func(from, to *host) bool { return (from == all[0] || to == all[0]) && s.random.IntN(100) < 2 }
			s.run(long)
			for _, h := range all {
				require.Empty(t, h.deaths, "seed %d, %d members: %s", seed, n, h.name)
			}
		}
	}
}

func TestARestartedMemberIsANewOne(t *testing.T) {
	s, all := members(t, 7, 3, Config{})
	all[0].start(Config{})
	s.run(time.Second)
	require.Empty(t, all[1].deaths)
	require.False(t, all[1].core.peers["node-0"].holds)
	all[0].hold(true)
	s.run(time.Second)
	require.True(t, all[1].core.peers["node-0"].holds)
	require.Empty(t, all[1].deaths)
}

func TestAMemberThatLeavesIsNotMissed(t *testing.T) {
	s, all := members(t, 8, 3, Config{})
	all[0].core.leave()
	all[0].off = true
	s.run(time.Second)
	for _, h := range all[1:] {
		require.Empty(t, h.deaths)
	}
}

var key = []byte("a key of the cluster")

// Whoever records the frames of a member can't keep it alive, nor bring it back,
// nor use them against others that have just started.
func TestReplayedAndForgedFramesChangeNothing(t *testing.T) {
	c := Config{Key: key}
	s, all := members(t, 9, 3, c)
	spy := s.plug("spy")
	var recorded [][]byte
	spy.core, _ = newCore(Config{Cluster: "spy", Logger: slog.New(slog.DiscardHandler)}, "spy", 1, spy, s.random.Uint64, &spy.count)
	listen := true
	record := all[0].core.out
	all[0].core.out = tap{record, func(b []byte) {
		if listen {
			recorded = append(recorded, slices.Clone(b))
		}
	}}
	s.run(100 * time.Millisecond)
	listen = false
	require.NotEmpty(t, recorded)
	all[0].off = true
	for range 200 {
		for _, b := range recorded {
			spy.send(1, group, b)
		}
		s.run(time.Millisecond)
	}
	for _, h := range all[1:] {
		require.Equal(t, 1, h.deaths["node-0"], "replays don't keep it alive")
		require.NotZero(t, h.count.replayed.Load())
		require.True(t, h.core.peers["node-0"].state == dead, "nor bring it back")
	}
	fresh := s.member("node-9", c)
	for range 50 {
		for _, b := range recorded {
			spy.send(1, group, b)
		}
		s.run(time.Millisecond)
	}
	require.Nil(t, fresh.core.peers["node-0"], "it can't prove that it is alive now")
	require.NotZero(t, fresh.count.unproven.Load())

	// Without the key nothing can be made.
	foreign, err := newCodec(&Config{Cluster: DefaultCluster, Key: []byte("another key, as long")})
	require.NoError(t, err)
	open, err := newCodec(&Config{Cluster: DefaultCluster})
	require.NoError(t, err)
	other, err := newCodec(&Config{Cluster: "other", Key: key})
	require.NoError(t, err)
	before := all[1].core.picture()
	for _, k := range []*codec{foreign, open, other} {
		spy.send(1, group, k.append(nil, &frame{sender: "node-2", instance: 1 << 61, sequence: 1 << 60, kind: kindLeave}))
		spy.send(1, group, k.append(nil, &frame{sender: "node-7", instance: 1, sequence: 1, kind: kindBeat, interval: time.Millisecond, holds: true}))
	}
	for _, b := range [][]byte{nil, {1}, []byte(magic), binary.BigEndian.AppendUint16(append([]byte(magic), major), 600)} {
		spy.send(1, group, b)
	}
	s.run(10 * time.Millisecond)
	require.Equal(t, before, all[1].core.picture())
	require.NotZero(t, all[1].count.forged.Load())
	require.NotZero(t, all[1].count.malformed.Load())
	require.NotZero(t, all[1].count.foreign.Load()+all[1].count.forged.Load())
}

// tap is an output that shows what is sent.
type tap struct {
	output
	show func([]byte)
}

func (t tap) send(link int, to hardwareAddr, payload []byte) {
	t.show(payload)
	t.output.send(link, to, payload)
}

// However many names somebody makes up, memory is bounded, and those that were
// known stay.
func TestManyNames(t *testing.T) {
	s, all := members(t, 10, 3, Config{})
	spy := s.station("spy")
	k, err := newCodec(&Config{Cluster: DefaultCluster})
	require.NoError(t, err)
	for i := range 5000 {
		spy.send(1, group, k.append(nil, &frame{sender: fmt.Sprint("made-up-", i), instance: 1, sequence: 1, kind: kindBeat, interval: time.Second, holds: true}))
		s.run(100 * time.Microsecond)
	}
	require.LessOrEqual(t, len(all[1].core.suitors), maxPeers)
	require.Len(t, all[1].core.picture(), 2)
	require.NotZero(t, all[1].count.unknown.Load())
	require.Empty(t, all[1].deaths)
}

package heartbeat

import (
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
	ended   bool // the process has
	lease   time.Duration
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
	h.core.set(h.now, State{
		Links: []Link{{Index: 1, HardwareAddr: h.hw, Addr: h.addr}}, Holds: holds,
		Membership: netip.AddrPortFrom(h.addr, 7946).String(), Lease: h.lease,
	})
	h.turn(h.now)
}

// turn is what the process does when it runs.
func (h *host) turn(now time.Duration) {
	if h.core == nil || h.off || h.ended {
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
	s.queue.push(event{when, s.order, f})
}

func (s *segment) run(d time.Duration) {
	end := s.now + d
	for len(s.queue) > 0 && s.queue[0].when <= end {
		e := s.queue.pop()
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

// knock is answered by the kernel of a host whose process has ended.
func (h *host) knock(membership string) {
	for _, other := range h.hosts {
		if at := netip.AddrPortFrom(other.addr, 7946).String(); at == membership {
			h.deliver(other.hw, func(other *host) {
				if other.ended {
					other.deliver(h.hw, func(h *host) { h.arrive(func(time.Duration) { h.core.refused(at) }) })
				}
			})
		}
	}
}

func (h *host) provoke(int) {
	for _, other := range h.hosts {
		if other.plain {
			h.ask(1, other.hw, other.addr)
		}
	}
}

// event is something that happens, after all that was to happen before or was
// planned before for the same time.
type event struct {
	when  time.Duration
	order int
	f     func()
}

func (e *event) before(other *event) bool {
	return e.when < other.when || e.when == other.when && e.order < other.order
}

// events is a heap, the next event first. That of container/heap allocates for
// each event, and there are a hundred million.
type events []event

func (q *events) push(e event) {
	*q = append(*q, e)
	all := *q
	for i := len(all) - 1; i > 0 && all[i].before(&all[(i-1)/2]); i = (i - 1) / 2 {
		all[i], all[(i-1)/2] = all[(i-1)/2], all[i]
	}
}

func (q *events) pop() event {
	all := *q
	first, last := all[0], len(all)-1
	all[0], all[last] = all[last], event{}
	all = all[:last]
	*q = all
	for i := 0; ; {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < last; child++ {
			if all[child].before(&all[least]) {
				least = child
			}
		}
		if least == i {
			return first
		}
		all[i], all[least] = all[least], all[i]
		i = least
	}
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

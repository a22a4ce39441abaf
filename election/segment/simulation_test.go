package segment

import (
	"crypto/sha256"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/l2vip/l2vip/election"
)

// simulation is a network of cores on a made-up clock: frames take a while, may be
// lost, and hosts may be cut off, frozen or starved. What has one index is one
// segment.
type simulation struct {
	t      testing.TB
	random *rand.Rand
	now    time.Duration
	queue  events
	order  int
	hosts  []*host
	delay  func() time.Duration
	lost   func(from, to *host) bool
	key    []byte
}

// host is a machine: a kernel, and a process with a core.
type host struct {
	*simulation
	name     string
	node     string // the member's name, if that is another
	number   byte
	v6       bool
	links    []int
	core     *core
	instance uint64
	count    counters
	next     time.Duration // when the core wants to be called
	inbox    []func(now time.Duration)
	arrivals map[arrivalKey]time.Duration // frames of one station stay in order
	captures map[int]bool
	plain    bool // a station that only has a kernel: the gateway
	cut      bool // neither sends nor receives
	cutOn    int  // the same on one link
	deaf     bool // sends only
	mute     bool // receives only
	off      bool // without power
	ended    bool // the process has
	starved  time.Duration
	said     *statement
	state    State
	tap      func(link int, to hardwareAddr, payload []byte)
	keys     *election.Keys
	reports  int
	last     Report
	given    map[string]int // how often a member was given up: none of its rows was alive, though one was
	lived    map[string]bool
}

type arrivalKey struct {
	from *host
	link int
}

func newSimulation(t testing.TB, seed uint64) *simulation {
	s := &simulation{t: t, random: rand.New(rand.NewPCG(seed, 1)), now: time.Second}
	s.delay = func() time.Duration { return 20*time.Microsecond + time.Duration(s.random.IntN(100))*time.Microsecond }
	s.lost = func(*host, *host) bool { return false }
	return s
}

func (s *simulation) plug(name string, links ...int) *host {
	if len(links) == 0 {
		links = []int{1}
	}
	h := &host{
		simulation: s, name: name, node: name, number: byte(len(s.hosts) + 1), links: links,
		arrivals: make(map[arrivalKey]time.Duration), captures: make(map[int]bool),
		given: make(map[string]int), lived: make(map[string]bool),
	}
	s.hosts = append(s.hosts, h)
	return h
}

func (s *simulation) station(name string, links ...int) *host {
	h := s.plug(name, links...)
	h.plain = true
	return h
}

func (s *simulation) member(name string, c Config, links ...int) *host {
	h := s.plug(name, links...)
	h.start(c)
	return h
}

func (h *host) hw(link int) hardwareAddr { return hardwareAddr{2, 0, 0, 0, byte(link), h.number} }

func (h *host) addr(link int) netip.Addr {
	if h.v6 {
		return netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, 13: byte(link), 15: h.number})
	}
	return netip.AddrFrom4([4]byte{192, 0, byte(link), h.number})
}

func (h *host) local() *election.Local {
	if h.keys == nil && h.key != nil {
		h.keys = keysOf(h.key)
	}
	return &election.Local{Name: h.node, Instance: h.instance, Cluster: "l2vip", Keys: func(string) *election.Keys { return h.keys }}
}

func (h *host) start(c Config) {
	require.NoError(h.t, c.settle())
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	h.instance = uint64(h.now) + uint64(h.number)
	var err error
	h.core, err = newCore(c, h.local(), h, h.random.Uint64, &h.count)
	h.core.port = testPort
	require.NoError(h.t, err)
	h.said = new(statement)
	var links []Link
	for _, l := range h.links {
		links = append(links, Link{Index: l, HardwareAddr: h.hw(l), Addr: h.addr(l)})
	}
	h.state = State{Links: links, Membership: "203.0.113.1:7946", Lease: h.state.Lease}
	h.set()
}

// set gives the core the state.
func (h *host) set() {
	h.said = prepare(h.state, h.said)
	h.core.set(h.now, h.said, h.state.Links)
	h.turn(h.now)
}

// offer makes a new revision of the host's offer, with so many addresses, all held or
// none.
func (h *host) offer(addresses int, holds bool) {
	o := election.Offer{Node: h.node, Instance: h.instance, Revision: h.state.Offer.Revision + 1}
	addr := netip.MustParseAddr("10.0.0.0")
	for range addresses {
		addr = addr.Next()
		o.Entries = append(o.Entries, election.Entry{Addr: addr, Service: "service-" + addr.String(), Holds: holds, Term: o.Revision})
	}
	h.state.Offer = o
	h.set()
}

func (h *host) hold(holds bool) { h.offer(1, holds) }

// turn is what the process does when it runs.
func (h *host) turn(now time.Duration) {
	if h.core == nil || h.off || h.ended {
		return
	}
	if now < h.starved {
		h.at(h.starved, func() { h.turn(h.now) })
		return
	}
	for i := 0; i < len(h.inbox); i++ {
		h.inbox[i](now)
	}
	h.inbox = h.inbox[:0]
	h.next = h.core.advance(now, true)
	if h.core.changed {
		h.core.changed = false
		h.reports++
		h.last = h.core.report()
		for _, p := range h.last.Peers {
			alive := slices.ContainsFunc(p.Rows, func(r Row) bool { return r.State == Up || r.State == Suspect || r.State == Stalled })
			if !alive && h.lived[p.Node] {
				h.given[p.Node]++
			}
			h.lived[p.Node] = alive
		}
	}
	next := h.next
	h.at(max(next, now+time.Microsecond), func() {
		if h.next == next {
			h.turn(h.now)
		}
	})
}

func (s *simulation) at(when time.Duration, f func()) {
	s.order++
	s.queue.push(event{when, s.order, f})
}

func (s *simulation) run(d time.Duration) {
	end := s.now + d
	for len(s.queue) > 0 && s.queue[0].when <= end {
		e := s.queue.pop()
		s.now = e.when
		e.f()
	}
	s.now = end
}

func (h *host) sends(link int) bool { return !h.cut && !h.off && !h.mute && h.cutOn != link }
func (h *host) hears(link int) bool { return !h.cut && !h.off && !h.deaf && h.cutOn != link }

// deliver lets f happen at every host that the frame reaches.
func (h *host) deliver(link int, to hardwareAddr, f func(*host)) {
	if !h.sends(link) {
		return
	}
	for _, other := range h.hosts {
		if other == h || !slices.Contains(other.links, link) || !other.hears(link) || to[0]&1 == 0 && other.hw(link) != to || h.lost(h, other) {
			continue
		}
		key := arrivalKey{h, link}
		when := max(h.now+h.delay(), other.arrivals[key])
		other.arrivals[key] = when
		h.at(when, func() {
			if other.hears(link) {
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

func (h *host) send(link int, to hardwareAddr, payload []byte, _ bool) bool {
	payload = slices.Clone(payload)
	if h.tap != nil {
		h.tap(link, to, payload)
	}
	h.inject(link, h.hw(link), to, payload)
	return true
}

// inject sends a frame, from whatever station.
func (h *host) inject(link int, from, to hardwareAddr, payload []byte) {
	h.deliver(link, to, func(other *host) {
		other.arrive(func(now time.Duration) { other.core.receive(now, link, route{from, to}, payload) })
	})
}

func (h *host) capture(link int, on bool) { h.captures[link] = on }

// probe is answered by the kernel of the host that has the address.
func (h *host) probe(link int, to hardwareAddr, addr netip.Addr) {
	h.deliver(link, to, func(other *host) {
		if other.addr(link) == addr {
			other.deliver(link, h.hw(link), func(h *host) {
				h.arrive(func(now time.Duration) {
					if h.captures[link] {
						h.core.station(now, link, other.hw(link))
					}
				})
			})
		}
	})
}

// probePort is answered by the kernel of a host whose process has ended.
func (h *host) probePort(at netip.AddrPort) {
	for _, other := range h.hosts {
		if link := other.links[0]; at == netip.AddrPortFrom(other.addr(link), testPort) {
			h.deliver(link, other.hw(link), func(other *host) {
				if other.ended {
					other.deliver(link, h.hw(link), func(h *host) { h.arrive(func(time.Duration) { h.core.portClosed(at) }) })
				}
			})
		}
	}
}

func (h *host) provoke(link int) {
	for _, other := range h.hosts {
		if other.plain {
			h.probe(link, other.hw(link), other.addr(link))
		}
	}
}

func (h *host) decode(data []byte, done func(*election.Offer, error)) {
	h.at(h.now+time.Millisecond, func() { h.arrive(func(time.Duration) { done(decodeOffer(data)) }) })
}

// peer returns what the host knows of another.
func (h *host) peer(name string) Peer {
	for _, p := range h.core.report().Peers {
		if p.Node == name {
			return p
		}
	}
	return Peer{}
}

// row returns what the host knows of another on a link.
func (h *host) row(name string, link int) Row {
	for _, r := range h.peer(name).Rows {
		if r.Link == link {
			return r
		}
	}
	require.FailNow(h.t, "no row", "%s does not know %s on link %d", h.name, name, link)
	return Row{}
}

// linkReport returns what the host knows of a link.
func (h *host) linkReport(link int) LinkReport {
	for _, l := range h.core.report().Links {
		if l.Index == link {
			return l
		}
	}
	require.FailNow(h.t, "no link", "%s has no link %d", h.name, link)
	return LinkReport{}
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
func members(t testing.TB, seed uint64, n int, c Config, links ...int) (*simulation, []*host) {
	s := newSimulation(t, seed)
	all := s.addMembers(n, c, links...)
	s.station("gateway", links...)
	all[0].hold(true)
	s.run(time.Second)
	for _, h := range all {
		require.Len(t, h.core.report().Peers, n-1)
	}
	return s, all
}

func (s *simulation) addMembers(n int, c Config, links ...int) []*host {
	var all []*host
	for i := range n {
		all = append(all, s.member(fmt.Sprint("node-", i), c, links...))
	}
	return all
}

// testPort is the port that is open while a process runs.
const testPort = 50000

// keysOf returns the keys that follow from the secrets.
func keysOf(secrets ...[]byte) *election.Keys {
	var all [][election.KeySize]byte
	for _, secret := range secrets {
		all = append(all, sha256.Sum256(secret))
	}
	return election.NewKeys(all...)
}

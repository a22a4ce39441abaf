package announce

import (
	"fmt"
	"net/netip"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mdlayher/arp"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"github.com/l2vip/l2vip/internal/neighbor"
)

// The filter of NDP lets through all that parseNDP takes, and no other IPv6. What
// it says first, of VLANs and of packet types, is shown on the wire: bpf.VM has no
// extensions but the length.
func TestFilterAgreesWithParseNDP(t *testing.T) {
	raw, err := neighbor.Filter(unix.ETH_P_IPV6)
	require.NoError(t, err)
	program, ok := bpf.Disassemble(raw)
	require.True(t, ok)
	first := slices.IndexFunc(program, func(ins bpf.Instruction) bool { _, ok := ins.(bpf.LoadAbsolute); return ok })
	vm, err := bpf.NewVM(program[first:])
	require.NoError(t, err)
	rapid.Check(t, func(t *rapid.T) {
		b := drawNDP(t)
		n, err := vm.Run(b)
		require.NoError(t, err)
		var m message
		why, ok := parse(b, &m)
		if ok {
			require.GreaterOrEqual(t, n, len(b))
		}
		if n > 0 && b[offIPv6]>>4 == 6 {
			require.NotEqual(t, DropForeign, why)
		}
	})
}

// newTestPort returns a port without a socket that answers for n addresses, and
// watches over more.
func newTestPort(tb testing.TB, n int) (p *port, addrs []netip.Addr) {
	tb.Helper()
	a, err := New(Config{})
	require.NoError(tb, err)
	var own atomic.Pointer[map[hardwareAddr]bool]
	own.Store(&map[hardwareAddr]bool{{2, 0, 0, 0, 0, 1}: true})
	p = &port{
		link: link{name: "eth0", hw: hardwareAddr{2, 0, 0, 0, 0, 1}}, owner: a, own: &own,
		seen: make(map[netip.Addr]sighting), sighted: make(chan struct{}, 1), hearing: new(hearing),
	}
	var assignments []Assignment
	for addr := netip.MustParseAddr("10.0.0.1"); len(addrs) < n; addr = addr.Next() {
		addrs = append(addrs, addr)
		assignments = append(assignments, Assignment{Addr: addr, Interfaces: []string{"eth0"}, Mode: Answer})
	}
	p.fill(assignments, Loopback)
	return p, addrs
}

func requestFor(tb require.TestingT, addr netip.Addr) []byte {
	b, err := neighbor.ARP(arp.OperationRequest, hardwareAddr{2, 0, 0, 0, 0, 9}, netip.MustParseAddr("192.0.2.1"), hardwareAddr{}, addr)
	require.NoError(tb, err)
	return b
}

func TestHandleAllocatesNothing(t *testing.T) {
	p, addrs := newTestPort(t, 1000)
	p.owner.Renew(time.Hour)
	out := make([]byte, replyLen)
	m := new(message)
	claim, err := announcement(addrs[7], hardwareAddr{2, 0, 0, 0, 0, 8}, false)
	require.NoError(t, err)
	for name, in := range map[string][]byte{
		"request": requestFor(t, addrs[500]), "another": requestFor(t, netip.MustParseAddr("10.9.9.9")),
		"malformed": make([]byte, 60), "claim": claim[0],
	} {
		require.Zero(t, testing.AllocsPerRun(1000, func() { p.handle(in, m, out) }), name)
	}
	require.NotZero(t, p.owner.counter.requests.Load())
}

// However many stations claim addresses, however often: one is kept for each.
func TestSightingsAreBounded(t *testing.T) {
	p, addrs := newTestPort(t, 2)
	out, m := make([]byte, replyLen), new(message)
	for i := range 10000 {
		for _, addr := range append(slices.Clone(addrs), netip.MustParseAddr("10.9.9.9")) {
			frames, err := announcement(addr, hardwareAddr{2, 1, 0, 0, byte(i >> 8), byte(i)}, false)
			require.NoError(t, err)
			for _, b := range frames {
				require.Nil(t, p.handle(b, m, out))
			}
		}
	}
	require.Len(t, p.seen, 2)
	require.EqualValues(t, 40000, p.owner.counter.sightings.Load())
	require.EqualValues(t, 20000, p.owner.counter.dropped[DropOther].Load())
	got := make(map[netip.Addr]sighting)
	p.takeSeen(func(addr netip.Addr, s sighting) { got[addr] = s })
	require.Equal(t, sighting{hardwareAddr{2, 1, 0, 0, 9999 >> 8, 9999 & 0xff}, 20000}, got[addrs[0]])
	require.Empty(t, p.seen)

	// What is assigned no more is forgotten.
	frames, err := announcement(addrs[0], hardwareAddr{2, 1}, false)
	require.NoError(t, err)
	p.handle(frames[0], m, out)
	p.fill(nil, Loopback)
	require.Empty(t, p.seen)
}

// Interfaces and addresses may both be many.
func TestUsedAgreesWithCarries(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := &engine{}
		draw := rapid.Custom(func(t *rapid.T) netip.Addr {
			return netip.AddrFrom4([4]byte{10, 0, rapid.ByteRange(0, 3).Draw(t, "b"), rapid.Byte().Draw(t, "a")})
		})
		name := rapid.SampledFrom([]string{"a", "b", "c", "d", "e"})
		for i := range rapid.IntRange(0, 6).Draw(t, "links") {
			l := link{name: string(rune('a' + i)), index: i + 1, problem: rapid.SampledFrom([]string{"", "down"}).Draw(t, "problem")}
			for range rapid.IntRange(0, 2).Draw(t, "prefixes") {
				l.prefixes = append(l.prefixes, netip.PrefixFrom(draw.Draw(t, "prefix"), rapid.IntRange(8, 31).Draw(t, "bits")))
			}
			e.links = append(e.links, l)
		}
		var assignments []Assignment
		for range rapid.IntRange(0, 5).Draw(t, "assignments") {
			assignments = append(assignments, Assignment{Addr: draw.Draw(t, "addr"), Interfaces: rapid.SliceOfN(name, 0, 2).Draw(t, "interfaces")})
		}
		slices.SortFunc(assignments, func(x, y Assignment) int { return x.Addr.Compare(y.Addr) })
		used := e.used(assignments)
		for i := range e.links {
			l := &e.links[i]
			want := l.problem == "" && slices.ContainsFunc(assignments, func(a Assignment) bool { return l.belongs(&a) })
			_, got := used[berth{l.index, false}]
			require.Equal(t, want, got, "%+v %+v", l, assignments)
		}
	})
}

// BenchmarkReply is what a responder does for one request, without the system
// calls: find the address, check the lease, build the reply.
func BenchmarkReply(b *testing.B) {
	for _, n := range []int{1, 1000, 10000} {
		for _, lease := range []bool{false, true} {
			b.Run(fmt.Sprintf("addresses=%d/lease=%t", n, lease), func(b *testing.B) {
				p, addrs := newTestPort(b, n)
				if lease {
					p.owner.Renew(time.Hour)
				}
				var frames [][]byte
				for i := range 64 {
					frames = append(frames, requestFor(b, addrs[i*977%n]))
				}
				out, m := make([]byte, replyLen), new(message)
				b.ReportAllocs()
				for i := 0; b.Loop(); i++ {
					p.mu.Lock()
					if p.handle(frames[i%64], m, out) == nil {
						b.Fatal("no reply")
					}
					p.mu.Unlock()
				}
			})
		}
	}
}

// BenchmarkForeign is what a responder does for a request for somebody else.
func BenchmarkForeign(b *testing.B) {
	p, _ := newTestPort(b, 10000)
	in, out, m := requestFor(b, netip.MustParseAddr("10.200.0.1")), make([]byte, replyLen), new(message)
	b.ReportAllocs()
	for b.Loop() {
		p.mu.Lock()
		p.handle(in, m, out)
		p.mu.Unlock()
	}
}

// BenchmarkFacts is what a change costs with many addresses and interfaces.
func BenchmarkFacts(b *testing.B) {
	e := newTestEngine(b, 10000, 1000)
	b.ReportAllocs()
	for b.Loop() {
		f := e.facts()
		if len(f.Addresses) != 10000 || !f.equal(e.reported) {
			b.Fatal("other facts")
		}
	}
}

// BenchmarkSet is what a new list of many addresses costs before it returns.
func BenchmarkSet(b *testing.B) {
	e := newTestEngine(b, 10000, 1)
	b.ReportAllocs()
	for b.Loop() {
		if err := e.Set(e.assigned); err != nil {
			b.Fatal(err)
		}
	}
}

func newTestEngine(tb testing.TB, addresses, interfaces int) *engine {
	tb.Helper()
	p, addrs := newTestPort(tb, addresses)
	e := &engine{
		Announcer: p.owner, claims: make(map[netip.Addr]*claim), started: time.Now(), hearings: make(map[int]*hearing),
		binder: &binder{mode: None},
	}
	for i := range interfaces {
		e.links = append(e.links, link{name: fmt.Sprint("eth", i), index: i + 1})
	}
	e.ports = []*port{p}
	for _, addr := range addrs {
		e.assigned = append(e.assigned, Assignment{Addr: addr, Interfaces: []string{"eth0"}, Mode: Answer})
	}
	e.claim(e.assigned)
	facts := e.facts()
	e.reported = &facts
	return e
}

// However often it is asked again, the first frame of every address is due
// before the second of any.
func TestFirstsComeBeforeRepeats(t *testing.T) {
	e := newTestEngine(t, 100, 1)
	for range 50 { // these have been announced, and their repeats are overdue
		c := e.queue[0]
		c.sent = 1
		e.schedule(c, e.started.Add(time.Nanosecond))
	}
	again := slices.Clone(e.assigned)
	for i := range again[:10] {
		again[i].Claim++
	}
	e.claim(again)
	repeats := false
	for e.queue.Len() > 0 {
		c := e.queue[0]
		repeats = repeats || c.sent > 0
		require.Equal(t, repeats, c.sent > 0, "a first one after a repeat")
		e.unschedule(c)
	}
	require.True(t, repeats)
}

// What fails is logged once, and tried again after pauses that grow.
func TestTroubleBacksOff(t *testing.T) {
	e := newTestEngine(t, 1, 1)
	e.warned = make(map[string]bool)
	var pauses []time.Duration
	for range 8 {
		e.trouble("cannot", fmt.Errorf("no"))
		e.trouble("cannot", fmt.Errorf("neither"))
		pauses = append(pauses, e.backoff)
		e.retryAt = time.Now() // it has passed
	}
	require.Equal(t, retryFirst, pauses[0])
	require.Equal(t, 2*retryFirst, pauses[1])
	require.Equal(t, retryMost, pauses[7])
	require.Len(t, e.warned, 2)
	e.troubled = false
	require.NoError(t, e.bind())
	require.True(t, e.retryAt.IsZero())
	require.Zero(t, e.backoff)
	require.Empty(t, e.warned)
}

package gossip

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/l2vip/l2vip/election"
	"github.com/l2vip/l2vip/internal/testnet/memnet"
)

// ways are clusters with a secret and without one.
var ways = map[string][]func(*node){"open": nil, "keyed": {keyed("k")}}

// eachWay runs a test in a bubble, in a cluster with a secret and in one without.
func eachWay(t *testing.T, test func(t *testing.T, s *sim, options []func(*node))) {
	for name, options := range ways {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { test(t, newSim(t, 3), options) })
		})
	}
}

// tap is a host on which all that comes is recorded.
type tap struct {
	*memnet.Host
	mu        sync.Mutex
	datagrams []heard
	streams   []*recorded
}

// heard is a datagram that came from a host.
type heard struct {
	from netip.Addr
	data []byte
}

func (n *tap) ListenPacket(ctx context.Context, network, address string) (net.PacketConn, error) {
	c, err := n.Host.ListenPacket(ctx, network, address)
	return &tapPacket{c, n}, err
}

func (n *tap) Listen(ctx context.Context, network, address string) (net.Listener, error) {
	l, err := n.Host.Listen(ctx, network, address)
	return &tapListener{l, n}, err
}

func (n *tap) from(addr netip.Addr) (datagrams, streams [][]byte) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, d := range n.datagrams {
		if d.from == addr {
			datagrams = append(datagrams, d.data)
		}
	}
	for _, s := range n.streams {
		s.mu.Lock()
		if addrPort(s.RemoteAddr()).Addr() == addr {
			streams = append(streams, bytes.Clone(s.data))
		}
		s.mu.Unlock()
	}
	return datagrams, streams
}

type tapPacket struct {
	net.PacketConn
	tap *tap
}

func (c *tapPacket) ReadFrom(b []byte) (int, net.Addr, error) {
	n, from, err := c.PacketConn.ReadFrom(b)
	if err == nil {
		c.tap.mu.Lock()
		defer c.tap.mu.Unlock()
		c.tap.datagrams = append(c.tap.datagrams, heard{addrPort(from).Addr(), bytes.Clone(b[:n])})
	}
	return n, from, err
}

type tapListener struct {
	net.Listener
	tap *tap
}

func (l *tapListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	r := &recorded{Conn: c}
	l.tap.mu.Lock()
	defer l.tap.mu.Unlock()
	l.tap.streams = append(l.tap.streams, r)
	return r, nil
}

type recorded struct {
	net.Conn
	mu   sync.Mutex
	data []byte
}

func (r *recorded) Read(b []byte) (int, error) {
	n, err := r.Conn.Read(b)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.data = append(r.data, b[:n]...)
	return n, err
}

// tapped starts three nodes that know each other; what comes to the first is recorded.
func (s *sim) tapped(options []func(*node)) (*tap, []*node) {
	s.t.Helper()
	t := &tap{Host: s.Host(simAddr(0))}
	nodes := []*node{start(s.t, "node-0", Config{Peers: s.peers, Network: t}, slices.Concat([]func(*node){offering(offer(1))}, options)...)}
	for i := 1; i < 3; i++ {
		nodes = append(nodes, s.node(i, options...))
	}
	within(s.t, 10*time.Second, complete(nodes, 1))
	return t, nodes
}

// attacker is a host that is no member.
type attacker struct {
	t    *testing.T
	host *memnet.Host
	net.PacketConn
}

func (s *sim) attacker(i int) *attacker {
	c, err := s.Host(simAddr(i)).ListenPacket(s.t.Context(), "udp", ":0")
	require.NoError(s.t, err)
	return &attacker{s.t, s.Host(simAddr(i)), c}
}

// sends sends a datagram to the member at host i.
func (a *attacker) sends(i int, b []byte) {
	_, err := a.WriteTo(b, net.UDPAddrFromAddrPort(simEndpoint(i)))
	require.NoError(a.t, err)
}

// plays sends what is given on a stream to the member at host i.
func (a *attacker) plays(i int, b []byte) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	c, err := a.host.DialContext(ctx, "tcp", simEndpoint(i).String())
	if err != nil {
		return // too many at once
	}
	_ = c.SetDeadline(time.Now().Add(time.Second))
	_, _ = c.Write(b)
	_, _ = c.Read(make([]byte, 1000))
	_ = c.Close()
}

// undisturbed requires that the nodes see each other, have never lost one another, and
// still hear what is new.
func undisturbed(t *testing.T, nodes []*node, revision uint64) {
	t.Helper()
	for _, n := range nodes {
		require.Zero(t, n.Stats().Leaves)
		require.Equal(t, len(nodes)-1, n.Stats().Members)
		n.Publish(offer(revision))
	}
	within(t, 100*time.Millisecond, complete(nodes, revision))
}

// What was recorded comes again, cut at each length, with each byte changed, and sent to
// others than it was meant for.
func TestRecordedDatagramsAreOfNoUse(t *testing.T) {
	eachWay(t, func(t *testing.T, s *sim, options []func(*node)) {
		tap, nodes := s.tapped(options)
		time.Sleep(time.Second)
		datagrams, streams := tap.from(simAddr(1))
		require.NotEmpty(t, datagrams)
		require.NotEmpty(t, streams)
		a := s.attacker(66)
		kinds := make(map[byte]bool)
		for _, d := range datagrams {
			for i := range nodes { // replayed, reflected, misdirected
				a.sends(i, d)
			}
			if kind := d[5]; !kinds[kind] {
				kinds[kind] = true
				for at := range d {
					a.sends(0, d[:at])
					for _, bit := range []byte{1, 0x80} {
						changed := bytes.Clone(d)
						changed[at] ^= bit
						a.sends(0, changed)
						time.Sleep(100 * time.Microsecond)
					}
				}
			}
			time.Sleep(time.Millisecond)
		}
		for _, b := range streams {
			for i := range nodes {
				a.plays(i, b)
			}
			for at := 0; at < len(b); at += 7 {
				a.plays(0, b[:at])
			}
		}
		stats := nodes[0].Stats()
		require.NotZero(t, stats.Dropped.Replayed)
		require.NotZero(t, stats.Dropped.Forged)
		require.NotZero(t, nodes[1].Stats().Dropped.Misdirected)
		require.NotZero(t, nodes[2].Stats().Dropped.Misdirected)
		require.EqualValues(t, 2, stats.Joins)
		undisturbed(t, nodes, 2)
		_ = a.Close()
		end(nodes...)
	})
}

// Whatever was recorded of a member hides its death from nobody, and brings nothing back.
func TestRecordedMemberStaysDead(t *testing.T) {
	eachWay(t, func(t *testing.T, s *sim, options []func(*node)) {
		tap, nodes := s.tapped(options)
		nodes[2].Publish(offer(2))
		time.Sleep(5 * time.Second)
		datagrams, streams := tap.from(simAddr(2))
		a := s.attacker(66)
		began := time.Now()
		s.Host(simAddr(2)).PowerOff()
		<-nodes[2].done
		seen := func() bool {
			_, first := nodes[0].sees("node-2")
			_, second := nodes[1].sees("node-2")
			return first || second
		}
		for i := 0; time.Since(began) < 40*time.Second; i++ {
			a.sends(i%2, datagrams[i%len(datagrams)])
			if i%100 == 0 {
				go a.plays(i%2, streams[i/100%len(streams)])
			}
			time.Sleep(2 * time.Millisecond)
			if time.Since(began) > 900*time.Millisecond {
				require.False(t, seen(), "after %v", time.Since(began))
			}
		}
		for _, n := range nodes[:2] {
			require.EqualValues(t, 1, n.Stats().Leaves)
		}
		require.Equal(t, 1, nodes[0].Stats().Members)
		time.Sleep(2 * time.Second)
		_ = a.Close()
		end(nodes[:2]...)
	})
}

// Even what knows the name of a member, and without a secret all that a member knows,
// ends nothing with a datagram in the name of another.
func TestStrangerInAMembersName(t *testing.T) {
	eachWay(t, func(t *testing.T, s *sim, options []func(*node)) {
		_, nodes := s.tapped(options)
		r := newRing(defaultCluster, nil)
		a := s.attacker(66)
		for _, instance := range []uint64{
			nodes[1].engine.instance, nodes[1].engine.instance + 1, uint64(time.Now().Add(ahead - time.Second).UnixNano()), 1 << 62, 1<<64 - 1,
		} {
			l, _ := pair(nil)
			l.self, l.instance = "node-1", instance
			for _, m := range []message{
				{kind: kindLeave},
				{kind: kindOffer, records: []record{{"node-1", version{instance, 1 << 61}, []byte{}}}},
				{kind: kindOffer, records: []record{offerRecord("node-1", version{instance, 1 << 61}, 66)}},
			} {
				for i := range nodes {
					a.sends(i, l.datagram(r, kindEngine, fmt.Sprintf("node-%d", i), simEndpoint(i), m.append(nil)))
				}
			}
			time.Sleep(20 * time.Millisecond)
		}
		require.NoError(t, a.SetReadDeadline(time.Now().Add(time.Second)))
		_, _, err := a.ReadFrom(make([]byte, 2000))
		require.Error(t, err, "the challenge went to the member")
		for i := range uint64(10) {
			undisturbed(t, nodes, 2+i)
		}
		require.Zero(t, nodes[0].Stats().Restarts)
		_ = a.Close()
		end(nodes...)
	})
}

// A flood of names that answer every challenge costs bounded memory, and no member.
func TestFloodOfNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, 3)
		_, nodes := s.tapped(nil)
		r := newRing(defaultCluster, nil)
		a := s.attacker(66)
		answered := 0
		for i := range 10_000 {
			l, _ := pair(nil)
			l.self = fmt.Sprintf("stranger-%d", i)
			a.sends(0, l.datagram(r, kindEngine, "node-0", simEndpoint(0), (&message{kind: kindRequest}).append(nil)))
			require.NoError(t, a.SetReadDeadline(time.Now().Add(time.Millisecond)))
			b := make([]byte, 2000)
			if n, _, err := a.ReadFrom(b); err == nil {
				answered++
				for _, again := range l.answer(r, b[:n]) {
					a.sends(0, again)
				}
			}
		}
		took := 10 * time.Second
		require.NotZero(t, answered)
		require.LessOrEqual(t, answered, challengesPerSecond*int(took/time.Second+2))
		require.LessOrEqual(t, len(nodes[0].engine.trans.links.names), maxLinks)
		require.LessOrEqual(t, len(nodes[0].addresses()), maxLearned)
		undisturbed(t, nodes, 2)
		_ = a.Close()
		end(nodes...)
	})
}

// memoryAfter runs f and returns by how much the memory of the process has grown, at the
// most that was seen.
func memoryAfter(f func()) (grown uint64) {
	runtime.GC()
	var before, now runtime.MemStats
	runtime.ReadMemStats(&before)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			runtime.ReadMemStats(&now)
			if now.HeapInuse+now.StackInuse > before.HeapInuse+before.StackInuse {
				grown = max(grown, now.HeapInuse+now.StackInuse-before.HeapInuse-before.StackInuse)
			}
			select {
			case <-stop:
				return
			case <-time.After(5 * time.Millisecond):
			}
		}
	}()
	f()
	close(stop)
	<-stopped
	return grown
}

// realWay runs a test on the real network, in a cluster with a secret and without one.
func realWay(t *testing.T, test func(t *testing.T, nodes []*node, target string)) {
	for name, options := range ways {
		t.Run(name, func(t *testing.T) {
			addrs := loopback(t, 2)
			nodes := realCluster(t, addrs, options...)
			within(t, patience, complete(nodes, 1))
			test(t, nodes, netip.AddrPortFrom(addrs[0], defaultPort).String())
			for _, n := range nodes {
				n.Publish(offer(2))
			}
			within(t, patience, complete(nodes, 2))
			end(nodes...)
		})
	}
}

// A thousand streams that say nothing, or little, are ended, and cost little.
func TestFloodOfStreams(t *testing.T) {
	realWay(t, func(t *testing.T, nodes []*node, target string) {
		var conns []net.Conn
		grown := memoryAfter(func() {
			for i := range 1000 {
				conn, err := net.Dial("tcp", target)
				require.NoError(t, err)
				conns = append(conns, conn)
				switch i % 4 {
				case 1: // a length that is none, and much behind it
					_, _ = conn.Write(bytes.Repeat([]byte{0xff}, 64<<10))
				case 2: // the beginning of a hello
					_, _ = conn.Write([]byte{1, 0, 'l', '2'})
				case 3:
					_, _ = conn.Write([]byte("GET / HTTP/1.1\r\n\r\n"))
				}
			}
		})
		t.Logf("%d KiB more", grown>>10)
		require.Less(t, grown, uint64(32<<20))
		require.NotZero(t, nodes[0].Stats().Dropped.Overloaded+nodes[0].Stats().Dropped.Slow)
		require.NotZero(t, nodes[0].Stats().Dropped.Foreign)
		for _, conn := range conns { // each is ended by the engine, long before the test is
			_ = conn.SetReadDeadline(time.Now().Add(patience))
			_, err := conn.Read(make([]byte, 1))
			require.Error(t, err)
			require.NotErrorIs(t, err, os.ErrDeadlineExceeded)
			_ = conn.Close()
		}
	})
}

// liar is an engine that says hello as it should, and then what it likes.
func liar(t *testing.T, name string, keys *election.Keys) *engine {
	e := quietEngine(t)
	e.self, e.trans.links.self = name, name
	e.trans.current.Store(newRing(defaultCluster, keys))
	e.trans.keys = func() *election.Keys { return keys }
	return e
}

// says opens a stream to a member.
func (e *engine) opens(t *testing.T, target string) *stream {
	conn, err := net.Dial("tcp", target)
	require.NoError(t, err)
	c, err := e.trans.dial(conn, "", netip.MustParseAddrPort(target))
	require.NoError(t, err)
	c.budget, c.drop, c.closed = &e.trans.received, e.drop, func(*stream) {}
	return c
}

// A member that lies, as any host can without a secret, costs bounded memory.
func TestMemberThatLies(t *testing.T) {
	realWay(t, func(t *testing.T, nodes []*node, target string) {
		keys := nodes[0].local.KeysFor("")
		e := liar(t, "liar", keys)
		count := func(f func(Dropped) uint64) uint64 { return f(nodes[0].Stats().Dropped) }
		malformed := func(d Dropped) uint64 { return d.Malformed }
		header := func(nodes, state string) []byte {
			return []byte("\x06\x83\xa4Join\xc3\xa5Nodes" + nodes + "\xacUserStateLen" + state)
		}
		for name, message := range map[string][]byte{
			"a million nodes":    header("\xd2\x00\x0f\x42\x40", "\x00"),
			"20 MiB":             header("\x00", "\xd2\x01\x40\x00\x00"),
			"compressed":         []byte("\x09\x82\xa4Algo\x00\xa3Buf\xa1x"),
			"encrypted":          []byte("\x0a\x01\x40\x00\x00\x01"),
			"a user's of 20 MiB": []byte("\x08\x81\xaaUserMsgLen\xd2\x01\x40\x00\x00"),
			"deeply nested":      append([]byte("\x00\x81\xa1x"), bytes.Repeat([]byte{0x91}, 1<<20)...),
			"another's state":    append(header("\x00", "\x0c"), (&message{kind: kindState, sender: "x", instance: 1}).append(nil)...),
		} {
			before := count(malformed)
			c := e.opens(t, target)
			require.NoError(t, c.send(kindMemberlist, message))
			within(t, patience, func() bool { return count(malformed) > before }, name)
			_ = c.Conn.Close()
		}

		// Many streams at once, each with a message that never ends.
		grown := memoryAfter(func() {
			var conns []*stream
			for range 2 * maxStreamsOfName {
				conns = append(conns, e.opens(t, target))
			}
			var sending sync.WaitGroup
			for _, c := range conns {
				sending.Go(func() {
					frame := make([]byte, maxFrame)
					for range maxMessage/maxFrame + 2 {
						b := []byte{kindEngine, maxFrame >> 16, maxFrame >> 8 & 255, maxFrame & 255}
						b = c.out.Seal(b, nonce(c.sent), frame, b)
						c.sent++
						if _, err := c.Conn.Write(b); err != nil {
							return
						}
					}
				})
			}
			sending.Wait()
			for _, c := range conns {
				_ = c.Conn.Close()
			}
		})
		t.Logf("%d MiB more for endless messages", grown>>20)
		require.Less(t, grown, uint64(5*maxReceived))
		require.NotZero(t, count(func(d Dropped) uint64 { return d.Overloaded }))
		within(t, patience, func() bool { return nodes[0].engine.trans.received.Load() == 0 })

		// A stream that goes on slowly ends.
		c := e.opens(t, target)
		slow := count(func(d Dropped) uint64 { return d.Slow })
		within(t, patience, func() bool {
			_, _ = c.Conn.Write([]byte{kindEngine})
			return count(func(d Dropped) uint64 { return d.Slow + d.TooLarge }) > slow
		})
		_ = c.Conn.Close()
	})
}

// A member that offers too much is named and counted, and costs little.
func TestHugeOffers(t *testing.T) {
	e := quietEngine(t)
	entries := func(n int) []byte {
		o := largeOffer(1, n)
		o.Node = "other"
		data, _ := o.AppendBinary(nil)
		return data
	}
	million, over := entries(1_000_000), entries(election.MaxEntries+1)
	grown := memoryAfter(func() {
		for i, data := range [][]byte{million, million[:maxOffer], over} {
			e.told("other", 1, kindOffer, record{"other", version{1, uint64(i + 1)}, data})
			require.EqualValues(t, i+1, e.count.dropped[dropMalformed].Load())
		}
	})
	t.Logf("%d MiB more", grown>>20)
	require.Less(t, grown, uint64(256<<20))
	require.Zero(t, e.has("other"))
	e.told("other", 1, kindOffer, record{"other", version{1, 9}, entries(election.MaxEntries)})
	require.EqualValues(t, 1, e.has("other"))
}

// The secrets of a cluster under load are rotated in three steps, each in any order of the
// members; no member is missing at any moment, and nothing that is new is late.
func TestRotation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, 3)
		orders := [][]int{{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}}
		rotating := make([]*rotation, 3)
		var nodes []*node
		for i := range rotating {
			rotating[i] = &rotation{keys: keysOf("0")}
			nodes = append(nodes, s.node(i, rotating[i].option, watching(rotating[i].watch)))
		}
		within(t, 10*time.Second, complete(nodes, 1))
		for _, r := range rotating {
			r.set(nil, true)
		}
		revision := uint64(1)
		live := func(d time.Duration) {
			for end := time.Now().Add(d); time.Now().Before(end); {
				revision++
				for _, n := range nodes {
					n.Publish(offer(revision))
				}
				time.Sleep(20 * time.Millisecond)
			}
			within(t, 200*time.Millisecond, complete(nodes, revision))
		}
		secret := 0
		for _, first := range orders {
			for _, second := range orders {
				old, next := fmt.Sprint(secret), fmt.Sprint(secret+1)
				secret++
				steps := [][]string{{old, next}, {next, old}, {next}}
				for i, order := range [][]int{first, second, first} {
					for _, n := range order {
						rotating[n].set(keysOf(steps[i]...), true)
						live(40 * time.Millisecond)
					}
				}
			}
		}
		// One is an hour late; the others answer it with what it knows.
		old, next := fmt.Sprint(secret), fmt.Sprint(secret+1)
		for _, step := range [][]string{{old, next}, {next, old}} {
			for _, r := range rotating[:2] {
				r.set(keysOf(step...), true)
			}
			live(100 * time.Millisecond)
		}
		live(time.Minute)
		late := s.node(3, (&rotation{keys: keysOf(old)}).option, offering(offer(1)))
		within(t, 100*time.Millisecond, func() bool { o, _ := late.latest(); return len(o) == 3 })
		for _, n := range nodes {
			within(t, 100*time.Millisecond, n.saw("node-3", 1))
		}
		time.Sleep(10 * time.Second)
		require.Zero(t, late.Stats().Leaves)
		late.leave(t)
		within(t, 100*time.Millisecond, nodes[0].misses("node-3"))
		rotating[2].set(keysOf(next, old), true)
		live(100 * time.Millisecond)
		for _, r := range rotating {
			r.set(keysOf(next), true)
			live(100 * time.Millisecond)
		}
		for i, r := range rotating {
			require.Zero(t, r.missed, "of node %d", i)
			require.EqualValues(t, 1, nodes[i].Stats().Leaves, "the late one")
		}
		end(nodes...)
	})
}

// rotation is what a node's secrets are, and whether it has ever missed another.
type rotation struct {
	mu     sync.Mutex
	keys   *election.Keys
	strict bool
	missed int
}

func (r *rotation) option(n *node) {
	n.local.Keys = func(string) *election.Keys {
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.keys
	}
}

func (r *rotation) set(keys *election.Keys, strict bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if keys != nil {
		r.keys = keys
	}
	r.strict = strict
}

func (r *rotation) watch(m election.Membership) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.strict && len(m.Offers) < 2 {
		r.missed++
	}
}

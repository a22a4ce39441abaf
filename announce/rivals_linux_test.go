package announce_test

import (
	"math/rand/v2"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mdlayher/arp"
	"github.com/mdlayher/ethernet"
	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"

	"github.com/l2vip/l2vip/announce"
	"github.com/l2vip/l2vip/internal/testnet"
)

// A host that is given the address says nothing by itself. It is found by asking,
// again and again, with probes from which nobody learns anything.
func TestSilentRivalIsFound(t *testing.T) {
	t.Parallel()
	eachFamily(t, func(t *testing.T, b *bench, f family) {
		s := start(t, b.node, announce.Config{RivalProbe: 50 * time.Millisecond, Refresh: time.Hour}, answering(f.vip)...)
		s.ready(t, 1)
		require.True(t, b.client.nextQuestion(t, b.node.HardwareAddr, f.vip).from.IsUnspecified())
		require.Nil(t, about(s.await(t, func(announce.Facts) bool { return true }), f.vip).Rival)
		rival := b.addNode(t, "rival")
		f.give(t, rival, f.other)
		f.give(t, rival, f.vip)
		facts := s.await(t, func(got announce.Facts) bool { return about(got, f.vip).Rival != nil })
		require.Equal(t, rival.HardwareAddr, about(facts, f.vip).Rival)
		first := about(facts, f.vip).Sightings
		require.NotZero(t, first)
		s.await(t, func(got announce.Facts) bool { return about(got, f.vip).Sightings > first })

		require.NoError(t, s.Set(assigned(announce.Standby, f.vip)))
		facts = s.await(t, func(got announce.Facts) bool { return about(got, f.vip).Mode == announce.Standby })
		require.Nil(t, about(facts, f.vip).Rival)
		var before uint64
		for _, got := range s.reports() {
			require.GreaterOrEqual(t, about(got, f.vip).Sightings, before)
			before = about(got, f.vip).Sightings
		}
		require.GreaterOrEqual(t, s.Stats().Sightings, before)
	})
}

// The kernel of another station learns nothing from probes: neither what it knows
// of the address changes, nor does it hear of who asks.
func TestProbesChangeNoNeighborTable(t *testing.T) {
	eachFamily(t, func(t *testing.T, b *bench, f family) {
		hw := b.client.node.HardwareAddr
		f.setEntry(t, b.client.node, f.vip, []byte{2, 0xbb, 0, 0, 0, 1})
		s := start(t, b.node, announce.Config{}, assigned(announce.Probe, f.vip)...)
		s.await(t, func(got announce.Facts) bool { return about(got, f.vip).Probe == announce.Clear })
		for range 3 {
			q := b.client.nextQuestion(t, b.node.HardwareAddr, f.vip)
			require.True(t, q.from.IsUnspecified())
			require.NotZero(t, q.dst[0]&1, "to everybody, or a group")
		}
		require.Equal(t, netlink.NUD_STALE, f.entry(t, b.client.node, f.vip).State)
		require.Equal(t, "02:bb:00:00:00:01", f.entry(t, b.client.node, f.vip).HardwareAddr.String())
		for _, addr := range []netip.Addr{f.speaker, netip.IPv4Unspecified(), netip.IPv6Unspecified()} {
			require.Empty(t, f.entry(t, b.client.node, addr))
		}
		// Its own question the kernel may answer; then both know each other.
		talk(t, b.node, f.client, func() bool {
			return f.entry(t, b.node, f.client).HardwareAddr.String() == hw.String()
		}, "the kernels talk")
		require.Equal(t, "02:bb:00:00:00:01", f.entry(t, b.client.node, f.vip).HardwareAddr.String())
	})
}

// On the wire, too, a defense is one announcement, in its usual form.
func TestDefenseOnTheWire(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	s := start(t, b.node, announce.Config{Refresh: time.Hour, RivalProbe: time.Hour}, answering(vip, marker)...)
	eventually(t, func() bool { return s.Stats().Announced == 2*2*6 }, "the first ones and their repeats")
	b.client.heardUntilMarker(t)
	defended := answering(vip, marker)
	defended[0].Defense = 7
	require.NoError(t, s.Set(defended))
	request := b.client.next(t, func(h heard) bool { return h.isGratuitous(vip) }, nil)
	require.Equal(t, arp.OperationRequest, request.Operation)
	require.Equal(t, ethernet.Broadcast, request.dst)
	reply := b.client.next(t, func(h heard) bool { return h.isGratuitous(vip) }, nil)
	require.Equal(t, arp.OperationReply, reply.Operation)
	require.NoError(t, s.Set(defended))
	require.Empty(t, b.client.heardUntilMarker(t))
	require.EqualValues(t, 2*2*6+2, s.Stats().Announced)
}

// arping of another host that has our address: its unsolicited requests and
// replies are claims.
func TestArpingClaimsTheAddress(t *testing.T) {
	t.Parallel()
	path := tool(t, "arping")
	b := newBench(t)
	s := start(t, b.node, announce.Config{RivalProbe: time.Hour, Refresh: time.Hour}, answering(vip)...)
	s.ready(t, 1)
	rival := b.addNode(t, "rival", "192.168.122.11/24", "192.168.122.100/24")
	for i, form := range []string{"-U", "-A"} {
		claim := answering(vip)
		claim[0].Claim = uint64(10 + i)
		require.NoError(t, s.Set(claim))
		s.await(t, func(f announce.Facts) bool { return about(f, vip).Claim == claim[0].Claim })
		require.Equal(t, uint64(i), s.Stats().Sightings)
		var out strings.Builder
		cmd := exec.Command(path, form, "-I", "eth0", "-c", "1", "-w", "20", vip.String())
		cmd.Stdout, cmd.Stderr = &out, &out
		require.NoError(t, rival.Start(cmd))
		require.NoError(t, cmd.Wait(), out.String())
		f := s.await(t, func(f announce.Facts) bool { return about(f, vip).Rival != nil })
		require.Equal(t, rival.HardwareAddr.String(), rivalOf(f, vip))
		require.EqualValues(t, i+1, about(f, vip).Sightings)
	}
}

// When another speaker takes over, the entry of a client that knows the address
// goes to the new hardware address.
func TestTakeoverMovesTheKernelsEntry(t *testing.T) {
	eachFamily(t, func(t *testing.T, b *bench, f family) {
		second := b.addNode(t, "second")
		f.give(t, second, f.other)
		speakers := map[*testnet.Node]*speaker{
			b.node: start(t, b.node, announce.Config{}, assigned(announce.Standby, f.vip)...),
			second: start(t, second, announce.Config{}, assigned(announce.Standby, f.vip)...),
		}
		knows := func(node *testnet.Node) func() bool {
			return func() bool {
				return f.entry(t, b.client.node, f.vip).HardwareAddr.String() == node.HardwareAddr.String()
			}
		}
		holds := func(node *testnet.Node) {
			for n, s := range speakers {
				if n != node {
					require.NoError(t, s.Set(assigned(announce.Standby, f.vip)))
				}
			}
			require.NoError(t, speakers[node].Set(answering(f.vip)))
		}
		holds(b.node)
		talk(t, b.client.node, f.vip, knows(b.node), "the first speaker is found")
		for _, node := range []*testnet.Node{second, b.node, second} {
			holds(node)
			eventually(t, knows(node), "the entry follows, though the client asks nobody")
		}
	})
}

// A kernel that doubts what it knows of the address asks the station alone. It is
// answered, and doubts no longer. That no interface has the address is no matter.
func TestKernelsUnicastProbes(t *testing.T) {
	for _, bind := range []announce.Bind{announce.Loopback, announce.None} {
		t.Run(bind.String(), func(t *testing.T) {
			eachFamily(t, func(t *testing.T, b *bench, f family) {
				s := start(t, b.node, announce.Config{Bind: bind, Refresh: time.Hour, RivalProbe: time.Hour}, answering(f.vip)...)
				eventually(t, func() bool { return s.Stats().Announced > 0 }, "the announcement")
				f.tune(t, b.client.node, "delay_first_probe_time", "0")
				f.tune(t, b.client.node, "mcast_solicit", "0") // it asks nobody else
				reachable := func() bool {
					n := f.entry(t, b.client.node, f.vip)
					require.NotEqual(t, netlink.NUD_FAILED, n.State)
					return n.State == netlink.NUD_REACHABLE
				}
				for range 3 {
					f.setEntry(t, b.client.node, f.vip, b.node.HardwareAddr)
					talk(t, b.client.node, f.vip, reachable, "the entry is confirmed")
					require.Equal(t, b.node.HardwareAddr, f.entry(t, b.client.node, f.vip).HardwareAddr)
					q := b.client.nextQuestion(t, b.client.node.HardwareAddr, f.vip)
					require.Equal(t, b.node.HardwareAddr, q.dst)
				}
			})
		})
	}
}

// Two announcers on one host, on two interfaces in the same segment: neither takes
// the other for a rival, nor hears anybody.
func TestOwnFramesMeanNothing(t *testing.T) {
	eachFamily(t, func(t *testing.T, b *bench, f family) {
		_, err := b.node.AddInterface("eth1", netip.PrefixFrom(f.other, f.bits))
		require.NoError(t, err)
		c := announce.Config{Bind: announce.None, RivalProbe: 20 * time.Millisecond, Refresh: time.Hour}
		on := func(name string, mode announce.Mode) announce.Assignment {
			return announce.Assignment{Addr: f.vip, Interfaces: []string{name}, Mode: mode, Claim: 1}
		}
		first := start(t, b.node, c, on("eth0", announce.Answer))
		first.ready(t, 1)
		eventually(t, func() bool { return first.Stats().Announced > 0 }, "the announcement")
		second := start(t, b.node, c, on("eth1", announce.Probe))
		second.await(t, func(got announce.Facts) bool { return about(got, f.vip).Probe == announce.Clear })
		require.NoError(t, second.Set([]announce.Assignment{on("eth1", announce.Answer)}))
		for _, s := range []*speaker{first, second} {
			eventually(t, func() bool { return s.Stats().Replies >= 20 && s.Stats().Announced > 2 }, "they answer each other")
			f := s.await(t, func(got announce.Facts) bool { return got.Links[0].Silent })
			require.Nil(t, f.Addresses[0].Rival)
			require.Zero(t, s.Stats().Sightings)
		}
		rival := b.addNode(t, "rival")
		f.give(t, rival, f.vip)
		for _, s := range []*speaker{first, second} {
			got := s.await(t, func(got announce.Facts) bool { return about(got, f.vip).Rival != nil && !got.Links[0].Silent })
			require.Equal(t, rival.HardwareAddr.String(), rivalOf(got, f.vip))
		}
	})
}

// What is dropped is counted once, by its reason.
func TestDropsAreCounted(t *testing.T) {
	b := newBench(t)
	s := start(t, b.node, announce.Config{RivalProbe: time.Hour, Refresh: time.Hour}, append(answering(vip, marker),
		announce.Assignment{Addr: vip2, Interfaces: []string{"eth0"}, Mode: announce.Standby})...)
	s.ready(t, 3)
	for name, c := range map[string]struct {
		why    announce.Drop
		change func(q *question)
	}{
		"another hardware type":        {announce.DropForeign, func(q *question) { q.htype = 6 }},
		"another protocol type":        {announce.DropForeign, func(q *question) { q.ptype = 0x86dd }},
		"another hardware length":      {announce.DropForeign, func(q *question) { q.hlen = 8 }},
		"another protocol length":      {announce.DropForeign, func(q *question) { q.plen = 16 }},
		"operation 0":                  {announce.DropOperation, func(q *question) { q.op = 0 }},
		"a reverse request":            {announce.DropOperation, func(q *question) { q.op = 3 }},
		"an operation of two bytes":    {announce.DropOperation, func(q *question) { q.op = 0x0101 }},
		"a group sender":               {announce.DropSender, func(q *question) { q.senderHW = []byte{3, 0, 0, 0, 0, 1} }},
		"a broadcast sender":           {announce.DropSender, func(q *question) { q.senderHW = ethernet.Broadcast }},
		"a zero sender":                {announce.DropSender, func(q *question) { q.senderHW = make([]byte, 6) }},
		"a multicast sender address":   {announce.DropSender, func(q *question) { q.senderIP = netip.MustParseAddr("224.0.0.1") }},
		"the broadcast sender address": {announce.DropSender, func(q *question) { q.senderIP = netip.MustParseAddr("255.255.255.255") }},
		"cut in the target address":    {announce.DropShort, func(q *question) { q.length = 41 }},
		"cut in the hardware address":  {announce.DropShort, func(q *question) { q.length = 25 }},
		"nothing but a header":         {announce.DropShort, func(q *question) { q.length = 14 }},
		"another address":              {announce.DropOther, func(q *question) { q.targetIP = netip.MustParseAddr("192.168.122.77") }},
		"standby":                      {announce.DropOther, func(q *question) { q.targetIP = vip2 }},
		"a reply":                      {announce.DropOther, func(q *question) { q.op = 2 }},
	} {
		t.Run(name, func(t *testing.T) {
			before := s.Stats()
			q := b.client.request(vip)
			c.change(&q)
			b.client.send(t, q)
			eventually(t, func() bool { return s.Stats().Dropped[c.why] > before.Dropped[c.why] }, "it is counted")
			b.client.heardUntilMarker(t)
			after := s.Stats()
			before.Dropped[c.why]++
			if c.why != announce.DropOther { // what kernels ask each other is other, too
				before.Dropped[announce.DropOther] = after.Dropped[announce.DropOther]
			}
			require.Equal(t, before.Dropped, after.Dropped)
			require.Equal(t, before.Requests+2, after.Requests)
			require.Equal(t, before.Replies+2, after.Replies)
			require.Zero(t, after.Sightings)
		})
	}

	// Without the lease.
	before := s.Stats()
	s.Renew(-time.Second)
	b.client.send(t, b.client.request(vip))
	eventually(t, func() bool { return s.Stats().Dropped[announce.DropLease] == 1 }, "a request without the lease")
	require.Equal(t, before.Replies, s.Stats().Replies)
}

// Claims of many addresses by ever new stations: others are answered, and reports
// stay few.
func TestFloodOfClaims(t *testing.T) {
	const n = 200
	b := newBench(t)
	began := time.Now()
	ours := []netip.Addr{marker}
	for a := netip.MustParseAddr("192.168.123.1"); len(ours) < n; a = a.Next() {
		ours = append(ours, a)
	}
	s := start(t, b.node, announce.Config{Bind: announce.None}, answering(ours...)...)
	s.ready(t, n)
	other := newStation(t, b.addNode(t, "other", "192.168.122.51/24"))
	q := other.request(vip)
	q.dst = b.node.HardwareAddr
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
			}
			addr := ours[1+rand.IntN(n-1)]
			q.senderIP, q.targetIP = addr, addr
			q.op = uint16(1 + rand.IntN(2))
			q.senderHW = []byte{2, 0xcc, byte(rand.Uint32()), byte(rand.Uint32()), byte(rand.Uint32()), byte(rand.Uint32())}
			_, _ = other.conn.WriteTo(q.frame(), packetAddr(q.dst))
		}
	})
	stop := sync.OnceFunc(func() { close(done); wg.Wait() })
	defer stop()
	for range 20 { // as clients do it asks again if there was no room
		ask := b.client.request(marker)
		eventually(t, func() bool {
			b.client.send(t, ask)
			_, err := b.client.read(time.Now().Add(100*time.Millisecond), func(h heard) bool { return h.isReply(ask) }, nil)
			return err == nil
		}, "an answer")
	}
	s.await(t, func(f announce.Facts) bool {
		return !slices.ContainsFunc(f.Addresses, func(a announce.Address) bool { return a.Addr != marker && a.Rival == nil })
	})
	eventually(t, func() bool { return s.Stats().Sightings >= 20000 }, "a flood")
	require.NoError(t, s.Set(answering(marker)))
	s.await(t, func(f announce.Facts) bool { return len(f.Addresses) == 1 })
	require.NoError(t, s.stop())
	// Every 20 milliseconds at most, and what else there was to report.
	require.LessOrEqual(t, len(s.reports()), 20+int(time.Since(began)/(20*time.Millisecond)))
}

package announce_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mdlayher/arp"
	"github.com/mdlayher/ethernet"
	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"

	"github.com/l2vip/l2vip/announce"
)

// The kernel's own ARP client finds the address, and its traffic is accepted.
func TestKernelClientReachesTheAddress(t *testing.T) {
	b := newBench(t)
	s := start(t, b.node, announce.Config{}, answering(vip)...)
	s.ready(t, 1)
	server, err := b.node.ListenPacket(t.Context(), "udp", netip.AddrPortFrom(vip, 7).String())
	require.NoError(t, err)
	defer server.Close()
	client, err := b.client.node.DialContext(t.Context(), "udp", netip.AddrPortFrom(vip, 7).String())
	require.NoError(t, err)
	defer client.Close()

	_, err = client.Write([]byte("here?"))
	require.NoError(t, err)
	buf := make([]byte, 16)
	require.NoError(t, server.SetReadDeadline(time.Now().Add(patience)))
	n, from, err := server.ReadFrom(buf)
	require.NoError(t, err)
	require.Equal(t, "here?", string(buf[:n]))
	_, err = server.WriteTo([]byte("here"), from)
	require.NoError(t, err)
	require.NoError(t, client.SetReadDeadline(time.Now().Add(patience)))
	_, err = client.Read(buf)
	require.NoError(t, err)
	require.Equal(t, b.node.HardwareAddr, neighbour(t, b, vip))
}

// neighbour returns what the client's kernel knows of an address.
func neighbour(t *testing.T, b *bench, addr netip.Addr) (hw net.HardwareAddr) {
	t.Helper()
	within(t, b.client.node, func() error {
		list, err := netlink.NeighList(b.client.node.Index, netlink.FAMILY_V4)
		for _, n := range list {
			if n.IP.Equal(addr.AsSlice()) {
				hw = n.HardwareAddr
			}
		}
		return err
	})
	return hw
}

// A gratuitous announcement alone makes the kernel's neighbour table follow.
func TestAnnouncementMovesAnEntry(t *testing.T) {
	b := newBench(t)
	onLink(t, b.client.node, "eth0", func(l netlink.Link) error {
		return netlink.NeighSet(&netlink.Neigh{
			LinkIndex: l.Attrs().Index, IP: vip.AsSlice(), State: netlink.NUD_STALE,
			HardwareAddr: net.HardwareAddr{2, 0xbb, 0, 0, 0, 1},
		})
	})
	start(t, b.node, announce.Config{}, answering(vip)...)
	eventually(t, func() bool { return neighbour(t, b, vip).String() == b.node.HardwareAddr.String() }, "the entry follows")
}

func TestArping(t *testing.T) {
	t.Parallel()
	path := tool(t, "arping")
	b := newBench(t)
	s := start(t, b.node, announce.Config{}, answering(vip)...)
	s.ready(t, 1)
	run := func(args ...string) (string, error) {
		var out strings.Builder
		cmd := exec.Command(path, append([]string{"-I", "eth0", "-w", "20"}, args...)...)
		cmd.Stdout, cmd.Stderr = &out, &out
		require.NoError(t, b.client.node.Start(cmd))
		err := cmd.Wait()
		return out.String(), err
	}

	// The first is broadcast; what follows is unicast to the address learned.
	out, err := run("-c", "3", vip.String())
	require.NoError(t, err, out)
	require.Equal(t, 3, strings.Count(strings.ToUpper(out), strings.ToUpper(b.node.HardwareAddr.String())), out)
	require.Contains(t, out, "Received 3 response(s)")

	// Duplicate address detection finds the address in use.
	out, err = run("-D", "-c", "2", vip.String())
	require.Error(t, err, out)
	var exit *exec.ExitError
	require.ErrorAs(t, err, &exit, out)
	require.Equal(t, 1, exit.ExitCode(), out)

	// Nobody answers for another address.
	out, err = run("-D", "-c", "1", "-w", "1", vip2.String())
	require.NoError(t, err, out)
}

func TestAnswersOnce(t *testing.T) {
	b := newBench(t)
	s := start(t, b.node, announce.Config{}, answering(vip, marker)...)
	s.ready(t, 2)
	for name, change := range map[string]func(q *question){
		"broadcast":               func(*question) {},
		"unicast":                 func(q *question) { q.dst = b.node.HardwareAddr },
		"probe":                   func(q *question) { q.senderIP = netip.IPv4Unspecified() },
		"target hardware address": func(q *question) { q.targetHW = b.node.HardwareAddr },
		"any target hardware":     func(q *question) { q.targetHW = ethernet.Broadcast },
		"sender off the subnet":   func(q *question) { q.senderIP = netip.MustParseAddr("10.9.8.7") },
		"sender of another frame": func(q *question) { q.src = net.HardwareAddr{2, 0xaa, 0, 0, 0, 1} },
		"priority tag":            func(q *question) { q.vlan = &ethernet.VLAN{Priority: 5} },
	} {
		t.Run(name, func(t *testing.T) {
			q := b.client.request(vip)
			change(&q)
			b.client.send(t, q)
			got := b.client.next(t, func(h heard) bool { return h.isReply(q) }, nil)
			require.Equal(t, b.node.HardwareAddr, got.SenderHardwareAddr)
			require.Equal(t, b.node.HardwareAddr, got.src)
			require.Equal(t, q.senderHW, got.TargetHardwareAddr)
			for _, h := range b.client.heardUntilMarker(t) {
				require.False(t, h.isReply(q), "a second reply")
			}
		})
	}
	stats := s.Stats()
	require.Equal(t, stats.Requests, stats.Replies)
	require.Zero(t, stats.Dropped[announce.DropLease])
	require.Zero(t, stats.SendErrors)
}

func TestNeverAnswers(t *testing.T) {
	b := newBench(t)
	s := start(t, b.node, announce.Config{}, append(answering(vip, marker),
		announce.Assignment{Addr: vip2, Interfaces: []string{"eth0"}, Mode: announce.Standby},
		announce.Assignment{Addr: vip2.Next(), Interfaces: []string{"eth0"}, Mode: announce.Probe},
		announce.Assignment{Addr: vip2.Next().Next(), Interfaces: []string{"eth1"}, Mode: announce.Answer},
	)...)
	s.await(t, func(f announce.Facts) bool { return about(f, vip2.Next()).Probe == announce.Clear })
	for name, change := range map[string]func(q *question){
		"another address":              func(q *question) { q.targetIP = vip.Prev().Prev().Prev() },
		"standby":                      func(q *question) { q.targetIP = vip2 },
		"probing":                      func(q *question) { q.targetIP = vip2.Next() },
		"on another interface":         func(q *question) { q.targetIP = vip2.Next().Next() },
		"to another station":           func(q *question) { q.dst = net.HardwareAddr{2, 0xaa, 0, 0, 0, 9} },
		"a reply":                      func(q *question) { q.op = 2 },
		"a reverse request":            func(q *question) { q.op = 3 },
		"operation 0":                  func(q *question) { q.op = 0 },
		"another hardware type":        func(q *question) { q.htype = 6 },
		"another protocol type":        func(q *question) { q.ptype = 0x86dd },
		"another hardware length":      func(q *question) { q.hlen = 8 },
		"another protocol length":      func(q *question) { q.plen = 16 },
		"another EtherType":            func(q *question) { q.etherType = 0x8035 },
		"a group sender":               func(q *question) { q.senderHW = net.HardwareAddr{3, 0, 0, 0, 0, 1} },
		"a broadcast sender":           func(q *question) { q.senderHW = ethernet.Broadcast },
		"a zero sender":                func(q *question) { q.senderHW = make(net.HardwareAddr, 6) },
		"a VLAN":                       func(q *question) { q.vlan = &ethernet.VLAN{ID: 7} },
		"a VLAN, unicast":              func(q *question) { q.vlan, q.dst = &ethernet.VLAN{ID: 4094, Priority: 3}, b.node.HardwareAddr },
		"cut in the target address":    func(q *question) { q.length = 41 },
		"cut in the hardware address":  func(q *question) { q.length = 25 },
		"nothing but a header":         func(q *question) { q.length = 14 },
		"gratuitous":                   func(q *question) { q.senderIP = vip },
		"gratuitous, target filled in": func(q *question) { q.senderIP, q.targetHW = vip, ethernet.Broadcast },
	} {
		t.Run(name, func(t *testing.T) {
			q := b.client.request(vip)
			change(&q)
			b.client.send(t, q)
			for _, h := range b.client.heardUntilMarker(t) {
				require.False(t, h.Operation == arp.OperationReply && h.TargetIP == q.senderIP && !h.isGratuitous(vip), "%+v", h)
				require.NotEqual(t, vip2, h.SenderIP)
				require.NotEqual(t, vip2.Next(), h.SenderIP)
			}
		})
	}
	b.client.ask(t, vip) // it is well
}

// The fields of RFC 5227 section 3: a request with the address as sender and
// target, broadcast; then the same as a reply. Then the repeats.
func TestAnnouncesAtOnceInBothForms(t *testing.T) {
	b := newBench(t)
	start(t, b.node, announce.Config{}, answering(vip)...)
	var before time.Time
	for repeat := range 4 {
		request := b.client.next(t, func(h heard) bool { return h.isGratuitous(vip) }, nil)
		require.Equal(t, arp.OperationRequest, request.Operation)
		require.Equal(t, ethernet.Broadcast, request.dst)
		require.Equal(t, b.node.HardwareAddr, request.src)
		require.Equal(t, b.node.HardwareAddr, request.SenderHardwareAddr)
		require.Equal(t, make(net.HardwareAddr, 6), request.TargetHardwareAddr)

		reply := b.client.next(t, func(h heard) bool { return h.isGratuitous(vip) }, nil)
		require.Equal(t, arp.OperationReply, reply.Operation)
		require.Equal(t, ethernet.Broadcast, reply.dst)
		require.Equal(t, b.node.HardwareAddr, reply.SenderHardwareAddr)
		require.Equal(t, b.node.HardwareAddr, reply.TargetHardwareAddr)
		require.True(t, request.at.After(before), "repeat %d", repeat)
		before = reply.at
	}
}

func TestNewClaimAnnouncesAgain(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	s := start(t, b.node, announce.Config{Refresh: time.Hour}, answering(vip)...)
	announced := func(n uint64) {
		eventually(t, func() bool { return s.Stats().Announced >= n }, "announcements")
	}
	announced(2 * 6) // the first and five repeats; then nothing for an hour
	claim := answering(vip)
	claim[0].Claim = 2
	require.NoError(t, s.Set(claim))
	announced(14)
	require.NoError(t, s.Set(claim)) // the same: nothing new
	claim[0].Mode = announce.Standby
	require.NoError(t, s.Set(claim))
	b.client.speaker = b.node.HardwareAddr
	s.await(t, func(f announce.Facts) bool { return about(f, vip).Mode == announce.Standby })
	claim[0].Mode = announce.Answer
	before := s.Stats().Announced
	require.NoError(t, s.Set(claim))
	announced(before + 2)
}

// When Set returns nothing is sent any more for what is gone, though requests
// for it keep pouring in.
func TestSetTakesEffectWhenItReturns(t *testing.T) {
	b := newBench(t)
	s := start(t, b.node, announce.Config{}, answering(vip, marker)...)
	s.ready(t, 2)
	other := newStation(t, b.addNode(t, "other", "192.168.122.51/24"))
	stop := flood(t, other, other.request(vip), 50*time.Microsecond) // none is lost
	defer stop()
	for i := range 30 {
		gone := answering(marker)
		if i%2 == 0 {
			gone = append(gone, assigned(announce.Standby, vip)...)
		}
		require.NoError(t, s.Set(gone))
		b.client.heardUntilMarker(t) // what was on its way
		// Replies to the other station are not for this one; announcements are.
		b.client.refused(t, vip)
		replies := s.Stats().Replies
		b.client.heardUntilMarker(t)
		require.EqualValues(t, 2, s.Stats().Replies-replies, "only the marker is answered")
		require.NoError(t, s.Set(answering(vip, marker)))
		b.client.ask(t, vip)
	}
}

// flood sends one frame over and over, until stop is called.
func flood(t testing.TB, s *station, q question, pace time.Duration) (stop func()) {
	t.Helper()
	done := make(chan struct{})
	var wg sync.WaitGroup
	frame := q.frame()
	wg.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
				if _, err := s.conn.WriteTo(frame, packetAddr(q.dst)); errors.Is(err, net.ErrClosed) {
					return
				}
				if pace > 0 {
					time.Sleep(pace)
				}
			}
		}
	})
	var once sync.Once
	stop = func() { once.Do(func() { close(done); wg.Wait() }) }
	t.Cleanup(stop)
	return stop
}

func TestLease(t *testing.T) {
	b := newBench(t)
	// Without any Renew there is no lease: it answers.
	s := start(t, b.node, announce.Config{Refresh: 20 * time.Millisecond}, answering(vip, marker)...)
	s.ready(t, 2)
	b.client.ask(t, vip)

	s.Renew(-time.Second)
	before := s.Stats()
	b.client.send(t, b.client.request(vip))
	eventually(t, func() bool { return s.Stats().Dropped[announce.DropLease] > before.Dropped[announce.DropLease] }, "a request that comes too late")
	require.Equal(t, before.Replies, s.Stats().Replies)
	// Nothing is announced either, though it is due. One that was being sent
	// when the lease ended has been by now.
	announced := s.Stats().Announced
	for range 5 {
		expired := s.Stats().Dropped[announce.DropLease]
		b.client.send(t, b.client.request(marker))
		eventually(t, func() bool { return s.Stats().Dropped[announce.DropLease] > expired }, "another one")
		time.Sleep(20 * time.Millisecond)
	}
	require.Equal(t, announced, s.Stats().Announced)

	s.Renew(time.Hour)
	b.client.ask(t, vip)
	eventually(t, func() bool { return s.Stats().Announced > announced }, "announcements again")

	// A lease runs out by itself.
	expired := s.Stats().Dropped[announce.DropLease]
	s.Renew(time.Millisecond)
	eventually(t, func() bool {
		b.client.send(t, b.client.request(vip))
		return s.Stats().Dropped[announce.DropLease] > expired
	}, "the end of the lease")
}

func TestProbeIsClear(t *testing.T) {
	b := newBench(t)
	s := start(t, b.node, announce.Config{}, assigned(announce.Probe, vip)...)
	for range 3 {
		h := b.client.next(t, func(h heard) bool { return h.TargetIP == vip }, nil)
		require.Equal(t, arp.OperationRequest, h.Operation)
		require.Equal(t, netip.IPv4Unspecified(), h.SenderIP) // RFC 5227 section 2.1.1
		require.Equal(t, make(net.HardwareAddr, 6), h.TargetHardwareAddr)
		require.Equal(t, b.node.HardwareAddr, h.SenderHardwareAddr)
		require.Equal(t, ethernet.Broadcast, h.dst)
	}
	s.await(t, func(f announce.Facts) bool { return about(f, vip).Probe == announce.Clear })
	require.EqualValues(t, 3, s.Stats().Probes)
	require.Zero(t, s.Stats().Announced)

	// A new value of Claim probes again.
	again := assigned(announce.Probe, vip)
	again[0].Claim = 2
	require.NoError(t, s.Set(again))
	s.await(t, func(f announce.Facts) bool {
		a := about(f, vip)
		return a.Claim == 2 && a.Probe == announce.Clear
	})
	require.EqualValues(t, 6, s.Stats().Probes)
}

// A station whose kernel has the address answers the probe.
func TestProbeMeetsAStation(t *testing.T) {
	b := newBench(t)
	stranger := b.addNode(t, "stranger", "192.168.122.100/24")
	s := start(t, b.node, announce.Config{}, assigned(announce.Probe, vip)...)
	f := s.await(t, func(f announce.Facts) bool { return about(f, vip).Probe == announce.Conflict })
	require.Equal(t, stranger.HardwareAddr, about(f, vip).Rival)
}

// Two that probe at the same time both lose (RFC 5227 section 2.1.1). Frames from
// hardware addresses of the own host mean nothing.
func TestProbeMeetsAnotherProbe(t *testing.T) {
	b := newBench(t)
	s := start(t, b.node, announce.Config{})
	crossing := func(hw net.HardwareAddr) (stop func()) {
		q := b.client.request(vip)
		q.senderIP, q.senderHW = netip.IPv4Unspecified(), hw
		done := make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() {
			for {
				select {
				case <-done:
					return
				case <-time.After(5 * time.Millisecond):
					_, _ = b.client.conn.WriteTo(q.frame(), packetAddr(q.dst))
				}
			}
		})
		return func() { close(done); wg.Wait() }
	}
	stop := crossing(b.node.HardwareAddr)
	require.NoError(t, s.Set(assigned(announce.Probe, vip)))
	s.await(t, func(f announce.Facts) bool { return about(f, vip).Probe == announce.Clear })
	stop()

	stop = crossing(b.client.node.HardwareAddr)
	defer stop()
	again := assigned(announce.Probe, vip)
	again[0].Claim = 2
	require.NoError(t, s.Set(again))
	f := s.await(t, func(f announce.Facts) bool { return about(f, vip).Probe == announce.Conflict })
	require.Equal(t, b.client.node.HardwareAddr, about(f, vip).Rival)
}

// While an address is held another station's claim is a fact; its probe is only
// answered.
func TestRivalIsAFact(t *testing.T) {
	b := newBench(t)
	s := start(t, b.node, announce.Config{}, answering(vip, marker)...)
	s.ready(t, 2)
	q := b.client.request(vip)
	q.senderIP = netip.IPv4Unspecified()
	b.client.send(t, q)
	b.client.heardUntilMarker(t)
	require.Zero(t, s.Stats().Sightings)

	q = b.client.request(vip)
	q.senderIP = vip
	b.client.send(t, q)
	f := s.await(t, func(f announce.Facts) bool { return about(f, vip).Rival != nil })
	require.Equal(t, b.client.node.HardwareAddr, about(f, vip).Rival)
	require.Nil(t, about(f, marker).Rival)

	claim := answering(vip, marker)
	claim[0].Claim = 2
	require.NoError(t, s.Set(claim))
	s.await(t, func(f announce.Facts) bool { return about(f, vip).Claim == 2 && about(f, vip).Rival == nil })
}

// Floods of what is not for it leave the responder answering, and reports few.
func TestFloods(t *testing.T) {
	for name, change := range map[string]func(q *question){
		"other addresses": func(q *question) { q.targetIP = vip2 },
		"malformed":       func(q *question) { q.senderHW = ethernet.Broadcast },
		"foreign types":   func(q *question) { q.ptype = 7 },
		"conflict claims": func(q *question) { q.senderIP = vip },
		"requests":        func(*question) {},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			s := start(t, b.node, announce.Config{}, answering(vip, marker)...)
			s.ready(t, 2)
			var stops []func()
			for i := range 2 {
				other := newStation(t, b.addNode(t, []string{"one", "two"}[i], "192.168.122.51/24"))
				q := other.request(vip)
				q.dst = b.node.HardwareAddr // only the speaker is flooded
				change(&q)
				stops = append(stops, flood(t, other, q, 0))
			}
			// The kernel may drop what does not fit into the queue, so a
			// client asks again, as clients do.
			for range 20 {
				q := b.client.request(marker)
				eventually(t, func() bool {
					b.client.send(t, q)
					_, err := b.client.read(time.Now().Add(100*time.Millisecond), func(h heard) bool { return h.isReply(q) }, nil)
					return err == nil
				}, "an answer")
			}
			// Set, and the end, wait for nothing.
			require.NoError(t, s.Set(answering(marker)))
			s.await(t, func(f announce.Facts) bool { return len(f.Addresses) == 1 })
			require.NoError(t, s.stop())
			for _, stop := range stops {
				stop()
			}
			if name == "conflict claims" {
				require.NotZero(t, s.Stats().Sightings)
			}
		})
	}
}

func TestRunTwice(t *testing.T) {
	b := newBench(t)
	s := start(t, b.node, announce.Config{}, answering(vip)...)
	s.ready(t, 1)
	require.ErrorContains(t, s.Run(t.Context(), nil), "before")
	require.NoError(t, s.stop())
	require.ErrorContains(t, s.Run(context.Background(), nil), "before")
}

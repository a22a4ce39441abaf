package announce_test

import (
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/mdlayher/packet"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/l2vip/l2vip/announce"
)

// BenchmarkWire asks over the lab's bridge, with at most 64 requests in flight,
// this package's responder and, in the same run, the kernel's own. ns/op is for a
// request and its answer, the asking included; p50 and p99 are of a request that
// is alone. Solicitations are sent to the solicited-node group; of many addresses
// the kernel then looks for the group in a list, so they are also sent as a
// neighbor that checks whether the address is still there sends them: to it alone.
func BenchmarkWire(b *testing.B) {
	const many = 10000
	for _, test := range []struct {
		name    string
		count   int // zero for the kernel's own address
		v6      bool
		unicast bool
	}{
		{name: "arp/kernel"},
		{name: "arp/addresses=1", count: 1},
		{name: "arp/addresses=10000", count: many},
		{name: "ndp/kernel", v6: true},
		{name: "ndp/addresses=1", v6: true, count: 1},
		{name: "ndp/addresses=10000", v6: true, count: many},
		{name: "ndp/unicast/kernel", v6: true, unicast: true},
		{name: "ndp/unicast/addresses=1", v6: true, unicast: true, count: 1},
		{name: "ndp/unicast/addresses=10000", v6: true, unicast: true, count: many},
	} {
		b.Run(test.name, func(b *testing.B) {
			w, client := newNDPBench(b)
			target, held, next, each := w.node.Addrs[0], vip, netip.MustParseAddr("10.0.0.0"), uint64(12)
			if test.v6 {
				target, held, next, each = own6, vip6, netip.MustParseAddr("2001:db8:1::"), 6
			}
			if test.count > 0 {
				target = held
				addrs := []netip.Addr{held}
				for addr := next; len(addrs) < test.count; addr = addr.Next() {
					addrs = append(addrs, addr)
				}
				config := quiet
				config.Bind = announce.None
				s := start(b, w.node, config, answering(addrs...)...)
				s.ready(b, test.count)
				s.Renew(time.Hour)
				eventually(b, func() bool { return s.Stats().Announced >= each*uint64(test.count) }, "the announcements")
				if test.v6 {
					eventually(b, func() bool { return joined(b, w.node, addrs[len(addrs)-1]) }, "the groups")
				}
			}
			station, frame, isReply := w.client, []byte(nil), (func(reply []byte) bool)(nil)
			if test.v6 {
				station = client.station
				d := client.solicit(target)
				if test.unicast {
					d.dst, d.dest = w.node.HardwareAddr, target
				}
				frame = d.frame()
				source := d.source.AsSlice()
				if test.count == 0 {
					neighbor(b, w.node, d.source, unix.NUD_PERMANENT, client.node.HardwareAddr) // nothing is to be asked back
				}
				isReply = func(reply []byte) bool {
					return len(reply) >= 78 && reply[54] == 136 && slices.Equal(reply[62:78], target.AsSlice()) && slices.Equal(reply[38:54], source)
				}
			} else {
				q := w.client.request(target)
				frame = q.frame()
				isReply = func(reply []byte) bool {
					return len(reply) >= 42 && reply[21] == 2 && slices.Equal(reply[28:32], target.AsSlice()) && slices.Equal(reply[38:42], q.senderIP.AsSlice())
				}
			}
			benchmarkAsking(b, station.conn.(*packet.Conn), frame, isReply)
		})
	}
}

// benchmarkAsking sends the frame, and waits for as many replies.
func benchmarkAsking(b *testing.B, conn *packet.Conn, frame []byte, isReply func(reply []byte) bool) {
	raw, err := conn.SyscallConn()
	require.NoError(b, err)
	reply := make([]byte, 128)
	// receive reads frames until one is the reply.
	receive := func() {
		require.NoError(b, raw.Read(func(fd uintptr) bool {
			for {
				n, err := unix.Read(int(fd), reply)
				if err == unix.EAGAIN {
					return false
				}
				if isReply(reply[:max(0, n)]) {
					return true
				}
			}
		}))
	}
	send := func() {
		require.NoError(b, raw.Write(func(fd uintptr) bool {
			_, err := unix.Write(int(fd), frame)
			return err == nil
		}))
	}
	require.NoError(b, conn.SetDeadline(time.Now().Add(10*patience)))
	times := make([]time.Duration, 0, 2000)
	for range cap(times) {
		began := time.Now()
		send()
		receive()
		times = append(times, time.Since(began))
	}
	slices.Sort(times)

	var wg sync.WaitGroup
	window := make(chan struct{}, 64)
	b.ResetTimer()
	wg.Go(func() {
		for range b.N {
			window <- struct{}{}
			send()
		}
	})
	for range b.N {
		receive()
		<-window
	}
	wg.Wait()
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "replies/s")
	b.ReportMetric(float64(times[len(times)/2])/1e3, "p50-µs")
	b.ReportMetric(float64(times[len(times)*99/100])/1e3, "p99-µs")
}

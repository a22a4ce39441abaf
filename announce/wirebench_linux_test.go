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
// is alone.
func BenchmarkWire(b *testing.B) {
	for _, test := range []struct {
		name  string
		count int
	}{{"kernel", 0}, {"announce/addresses=1", 1}, {"announce/addresses=10000", 10000}} {
		b.Run(test.name, func(b *testing.B) {
			w := newBench(b)
			target := w.node.Addrs[0]
			if test.count > 0 {
				target = vip
				addrs := []netip.Addr{vip}
				for addr := netip.MustParseAddr("10.0.0.0"); len(addrs) < test.count; addr = addr.Next() {
					addrs = append(addrs, addr)
				}
				s := start(b, w.node, announce.Config{Bind: announce.None, Refresh: time.Hour}, answering(addrs...)...)
				s.ready(b, test.count)
				s.Renew(time.Hour)
				eventually(b, func() bool { return s.Stats().Announced >= uint64(12*test.count) }, "the announcements")
			}
			conn := w.client.conn.(*packet.Conn)
			raw, err := conn.SyscallConn()
			require.NoError(b, err)
			q := w.client.request(target)
			frame := q.frame()
			reply := make([]byte, 128)
			// receive reads frames until one is the reply.
			receive := func() {
				require.NoError(b, raw.Read(func(fd uintptr) bool {
					for {
						n, err := unix.Read(int(fd), reply)
						if err == unix.EAGAIN {
							return false
						}
						if n >= 42 && reply[21] == 2 && slices.Equal(reply[28:32], target.AsSlice()) && slices.Equal(reply[38:42], q.senderIP.AsSlice()) {
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
		})
	}
}

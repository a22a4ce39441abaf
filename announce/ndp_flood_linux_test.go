package announce_test

import (
	"encoding/binary"
	"net"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/l2vip/l2vip/announce"
)

// Floods of NDP leave the responder answering, its memory as it was, and its
// reports few.
func TestNDPFlood(t *testing.T) {
	// another returns one of a million addresses of other hosts.
	another := func(n int) netip.Addr {
		a := netip.MustParseAddr("2001:db8:ffff::").As16()
		binary.BigEndian.PutUint32(a[12:], uint32(n%1_000_000))
		return netip.AddrFrom16(a)
	}
	// station returns one of a million hardware addresses.
	station := func(n int) net.HardwareAddr {
		return net.HardwareAddr{2, 0xff, 0, byte(n >> 16 & 0xf), byte(n >> 8), byte(n)}
	}
	dropped := func(why announce.Drop) func(announce.Stats) uint64 {
		return func(s announce.Stats) uint64 { return s.Dropped[why] }
	}
	for name, test := range map[string]struct {
		count  func(announce.Stats) uint64 // of the frames that were handled
		change func(a *asker, n int) datagram
	}{
		"other addresses": {dropped(announce.DropOther), func(a *asker, n int) datagram {
			d := a.solicit(another(n))
			d.source = another(n + 1)
			return d
		}},
		"detection of other addresses": {dropped(announce.DropOther), func(a *asker, n int) datagram { return a.detect(another(n)) }},
		"claims of other addresses": {dropped(announce.DropOther), func(a *asker, n int) datagram {
			d := a.claim(another(n))
			d.src, d.options = station(n), targetOption(station(n))
			return d
		}},
		"malformed options": {dropped(announce.DropOption), func(a *asker, n int) datagram {
			d := a.solicit(vip6)
			d.options = make([]byte, n%1000+1)
			return d
		}},
		"wrong checksums": {dropped(announce.DropChecksum), func(a *asker, n int) datagram {
			d := a.claim(vip6)
			d.wrong = byte(n%255 + 1)
			return d
		}},
		"claims of our addresses": {func(s announce.Stats) uint64 { return s.Sightings }, func(a *asker, n int) datagram {
			d := a.claim([]netip.Addr{vip6, marker6}[n%2])
			d.src, d.options = station(n), targetOption(station(n))
			return d
		}},
		"questions": {func(s announce.Stats) uint64 { return s.Replies }, func(a *asker, n int) datagram {
			d := a.solicit(vip6)
			d.source, d.options = another(n), sourceOption(station(n))
			return d
		}},
	} {
		t.Run(name, func(t *testing.T) {
			b, client := newNDPBench(t)
			began := time.Now()
			s := start(t, b.node, announce.Config{}, answering(vip6, marker6)...)
			s.ready(t, 2)
			client.ask(t, vip6)
			const enough = 20_000
			before := heap()
			var stops []func()
			for i := range 2 {
				other := newAsker(t, b.addNode(t, []string{"one", "two"}[i], "2001:db8::51/64"), nil)
				stops = append(stops, repeat(t, other, 0, func(n int) datagram {
					d := test.change(other, 2*n+i)
					d.dst = b.node.HardwareAddr // only the speaker is flooded
					return d
				}))
			}
			// The kernel may drop what does not fit into the queue, so a client asks
			// again, as clients do.
			answered := 0
			eventually(t, func() bool {
				d := client.solicit(marker6)
				client.send(t, d)
				_, err := client.read(time.Now().Add(100*time.Millisecond), func(h heard6) bool { return h.answers(d) }, nil)
				if err == nil {
					answered++
				}
				return answered >= 20 && test.count(s.Stats()) >= enough
			}, "answers to others")
			// Set waits for nothing.
			require.NoError(t, s.Set(answering(marker6)))
			s.await(t, func(f announce.Facts) bool { return len(f.Addresses) == 1 })
			for _, stop := range stops {
				stop()
			}
			require.Less(t, heap(), before+1<<20, "memory")
			// Each of two addresses once a second, what is new at the start, and
			// what Set has changed.
			limit := 2*int(time.Since(began)/time.Second+2) + 8
			require.LessOrEqual(t, len(s.reports()), limit)
		})
	}
}

// heap returns how many bytes are in use.
func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

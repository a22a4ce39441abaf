package announce_test

import (
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/mdlayher/packet"
	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/l2vip/l2vip/announce"
)

// BenchmarkLinks measures how long after the kernel has reported that an interface
// can be used, or has another hardware address, the first right answer is on the
// wire. The report is the first notice with the new state that a subscription of
// the benchmark's own receives; vip is asked for every 200 µs, which is a part of
// the time.
func BenchmarkLinks(b *testing.B) {
	for _, test := range []struct {
		name string
		lose func(w *linkBench) // nil if it answers all the time
		gain func(w *linkBench)
	}{
		{"down-up", func(w *linkBench) { w.on("lan0", netlink.LinkSetDown) }, func(w *linkBench) { w.on("lan0", netlink.LinkSetUp) }},
		{"carrier", func(w *linkBench) { w.on("peer0", netlink.LinkSetDown) }, func(w *linkBench) { w.on("peer0", netlink.LinkSetUp) }},
		{"hardware-address", nil, func(w *linkBench) {
			w.hw[5]++
			w.on("lan0", func(l netlink.Link) error { return netlink.LinkSetHardwareAddr(l, w.hw) })
		}},
		{"recreated", func(w *linkBench) { w.on("lan0", netlink.LinkDel) }, func(w *linkBench) { w.create() }},
		{"bridge", func(w *linkBench) {
			w.on("lan0", func(l netlink.Link) error {
				br, err := netlink.LinkByName("br0")
				if err != nil {
					return err
				}
				return netlink.LinkSetMaster(l, br)
			})
		}, func(w *linkBench) { w.on("lan0", netlink.LinkSetNoMaster) }},
	} {
		b.Run(test.name, func(b *testing.B) {
			w := newLinkBench(b)
			s := start(b, w.node, announce.Config{}, announce.Assignment{Addr: vip, Interfaces: []string{"lan0"}, Mode: announce.Answer})
			s.ready(b, 1)
			var times []time.Duration
			for b.Loop() {
				for range 10 {
					if test.lose != nil {
						test.lose(w)
						s.await(b, func(f announce.Facts) bool { return about(f, vip).Problem != announce.NoProblem })
					}
					w.forget()
					test.gain(w)
					answered := w.answer()
					times = append(times, max(0, answered.Sub(w.reported())))
				}
			}
			slices.Sort(times)
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(float64(times[len(times)/2])/1e6, "median-ms")
			b.ReportMetric(float64(times[len(times)-1])/1e6, "max-ms")
		})
	}
}

// linkBench is a node with the interface lan0, whose other end is peer0.
type linkBench struct {
	*bench
	b       *testing.B
	hw      net.HardwareAddr // of lan0
	station *station         // on peer0

	mu      sync.Mutex
	notices []notice
}

// notice is what the kernel told of lan0.
type notice struct {
	at    time.Time
	works bool
	hw    string
}

func newLinkBench(b *testing.B) *linkBench {
	w := &linkBench{bench: newBench(b), b: b, hw: net.HardwareAddr{2, 0, 0, 0, 0x88, 0}}
	bridge(b, w.bench, "br0")
	w.create()
	var socket *nl.NetlinkSocket
	within(b, w.node, func() (err error) {
		socket, err = nl.Subscribe(unix.NETLINK_ROUTE, unix.RTNLGRP_LINK)
		return err
	})
	var reader sync.WaitGroup
	reader.Go(func() {
		for {
			messages, _, err := socket.Receive()
			if err != nil {
				return
			}
			at := time.Now()
			for _, m := range messages {
				if m.Header.Type == unix.RTM_NEWLINK && m.Data[0] == unix.AF_UNSPEC {
					w.note(at, m.Data)
				}
			}
		}
	})
	b.Cleanup(func() {
		socket.Close()
		reader.Wait()
		w.station.conn.Close()
	})
	return w
}

func (w *linkBench) note(at time.Time, data []byte) {
	l, err := netlink.LinkDeserialize(nil, data)
	if err != nil || l.Attrs().Name != "lan0" {
		return
	}
	const works = unix.IFF_UP | unix.IFF_RUNNING
	w.mu.Lock()
	defer w.mu.Unlock()
	w.notices = append(w.notices, notice{at, l.Attrs().RawFlags&works == works && l.Attrs().MasterIndex == 0, l.Attrs().HardwareAddr.String()})
}

// forget drops all notices.
func (w *linkBench) forget() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.notices = nil
}

// reported returns when the kernel reported the new state.
func (w *linkBench) reported() (at time.Time) {
	w.b.Helper()
	eventually(w.b, func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		i := slices.IndexFunc(w.notices, func(n notice) bool { return n.works && n.hw == w.hw.String() })
		if i >= 0 {
			at = w.notices[i].at
		}
		return i >= 0
	}, "a report")
	return at
}

func (w *linkBench) on(name string, change func(netlink.Link) error) {
	w.b.Helper()
	onLink(w.b, w.node, name, change)
}

// create makes the pair of interfaces, with a station on the other end.
func (w *linkBench) create() {
	w.b.Helper()
	if w.station != nil {
		w.station.conn.Close()
	}
	veth(w.b, w.bench, "lan0", "peer0")
	w.on("lan0", func(l netlink.Link) error { return netlink.LinkSetHardwareAddr(l, w.hw) })
	w.on("peer0", func(l netlink.Link) error {
		ifi := &net.Interface{Index: l.Attrs().Index, Name: "peer0", HardwareAddr: l.Attrs().HardwareAddr}
		conn, err := packet.Listen(ifi, packet.Raw, unix.ETH_P_ARP, nil)
		w.station = &station{node: w.client.node, conn: conn}
		return err
	})
	up(w.b, w.bench, "peer0", "lan0")
}

// answer asks until it is answered from the hardware address, and returns when.
func (w *linkBench) answer() time.Time {
	w.b.Helper()
	w.station.speaker = w.hw
	q := w.station.request(vip)
	frame, conn := q.frame(), w.station.conn
	stop := make(chan struct{})
	var asker sync.WaitGroup
	asker.Go(func() {
		every := time.NewTicker(200 * time.Microsecond)
		defer every.Stop()
		for {
			select {
			case <-stop:
				return
			case <-every.C:
				_, _ = conn.WriteTo(frame, packetAddr(q.dst)) // the other end may be down
			}
		}
	})
	defer asker.Wait()
	defer close(stop)
	for deadline := time.Now().Add(patience); ; {
		if h, err := w.station.read(deadline, func(h heard) bool { return h.isReply(q) }, nil); err == nil {
			return h.at
		}
		require.True(w.b, time.Now().Before(deadline), "an answer") // other errors are of an interface that was down
	}
}

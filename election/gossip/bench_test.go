package gossip

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/l2vip/l2vip/election"
)

// mortal is the real network, whose sockets can be closed as the end of the
// process would.
type mortal struct {
	realNetwork
	mu      sync.Mutex
	sockets []interface{ Close() error }
}

func (m *mortal) ListenPacket(ctx context.Context, network, address string) (net.PacketConn, error) {
	c, err := m.realNetwork.ListenPacket(ctx, network, address)
	if err == nil {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.sockets = append(m.sockets, c)
	}
	return c, err
}

func (m *mortal) Listen(ctx context.Context, network, address string) (net.Listener, error) {
	l, err := m.realNetwork.Listen(ctx, network, address)
	if err == nil {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.sockets = append(m.sockets, l)
	}
	return l, err
}

func (m *mortal) die() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range m.sockets {
		_ = s.Close()
	}
}

// BenchmarkDetection measures on the loopback interface how long it takes until
// the last of two other members has noticed that one died.
func BenchmarkDetection(b *testing.B) {
	var times []time.Duration
	for b.Loop() {
		base := [4]byte{127, 200, byte(rand.IntN(250)), 1}
		var peers []string
		for i := range 3 {
			base[3] = byte(i + 1)
			peers = append(peers, netip.AddrFrom4(base).String())
		}
		ctx, stop := context.WithCancel(context.Background())
		var wg sync.WaitGroup
		changes := make(chan struct{}, 1000)
		var mu sync.Mutex
		live := make(map[string]int)
		grave := &mortal{}
		for i, peer := range peers {
			cfg := Config{Peers: peers, Address: netip.MustParseAddr(peer)}
			if i == 2 {
				cfg.Network = grave
			}
			g, err := New(cfg)
			require.NoError(b, err)
			wg.Go(func() {
				_ = g.Run(ctx, election.Local{Name: peer}, func(m election.Membership) {
					mu.Lock()
					live[peer] = len(m.Offers)
					mu.Unlock()
					changes <- struct{}{}
				})
			})
		}
		until := func(survivors, others int) {
			for {
				mu.Lock()
				count := 0
				for _, peer := range peers[:survivors] {
					if live[peer] == others {
						count++
					}
				}
				mu.Unlock()
				if count == survivors {
					return
				}
				<-changes
			}
		}
		until(3, 2)
		time.Sleep(500*time.Millisecond + rand.N(200*time.Millisecond))
		began := time.Now()
		grave.die()
		until(2, 1)
		times = append(times, time.Since(began))
		stop()
		wg.Wait()
	}
	slices.Sort(times)
	b.ReportMetric(float64(times[len(times)/2].Milliseconds()), "ms-median")
	b.ReportMetric(float64(times[len(times)-1].Milliseconds()), "ms-worst")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkState measures one side of a push/pull among 10 members with 1,000
// addresses each.
func BenchmarkState(b *testing.B) {
	e := quietEngine(b)
	d := delegate{e}
	for i := range 10 {
		name := string(rune('a' + i))
		d.NotifyJoin(peerNode(name))
		e.trans.links.noteProven(&greeting{head: head{sender: name, instance: 1}}, simAddr(1), token{3}, token{4})
		o := largeOffer(1, 1000)
		o.Node, o.Instance = name, 1
		data, _ := o.AppendBinary(nil)
		e.told(name, 1, kindOffer, record{name, version{1, 1}, data})
	}
	other := delegate{namedEngine(b, "peer")}
	for _, name := range append([]string{"self"}, "a", "b", "c", "d", "e", "f", "g", "h", "i", "j") {
		other.NotifyJoin(peerNode(name))
	}
	other.trans.links.noteProven(&greeting{head: head{sender: "self", instance: e.instance}}, simAddr(0), token{3}, token{4})
	other.started("self", e.instance)
	for _, join := range []bool{true, false} {
		b.Run(fmt.Sprintf("join=%t", join), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				other.MergeRemoteState(d.LocalState(join), join)
			}
		})
	}
}

// BenchmarkDatagram measures one datagram of 200 bytes from one engine to another.
func BenchmarkDatagram(b *testing.B) {
	for name, keys := range map[string]*election.Keys{"keyed": keysOf("k"), "open": nil} {
		b.Run(name, func(b *testing.B) {
			from, to := pair(keys)
			r, data := newRing(defaultCluster, keys), make([]byte, 200)
			from.link("to", time.Now()).given = to.token("from", from.instance, simEndpoint(0), time.Now())
			b.ReportAllocs()
			for b.Loop() {
				d := from.datagram(r, kindEngine, "to", simEndpoint(1), data)
				e, sealed, err := parseEnvelope(d, defaultCluster)
				if err != nil {
					b.Fatal(err)
				}
				if _, _, why, _, _ := to.take(&e, sealed, d, r.find(e.ids[0]), r, simEndpoint(0)); why != taken {
					b.Fatal(why)
				}
			}
		})
	}
}

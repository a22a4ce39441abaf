package l2vip_test

import (
	"flag"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/l2vip/l2vip"
	"github.com/l2vip/l2vip/election"
)

// partition is a switch that was split, with a speaker alone on one side. One that
// serves the client holds vip; the one that is alone goes on holding it if it did.
type partition struct {
	*fronts
	kept      *speaker // serves the client
	cut       *speaker
	cutHolder bool       // cut holds the address
	third     []*speaker // the others on kept's side
}

// partitionKinds are who is alone, in clusters of two and of three.
var partitionKinds = []struct {
	name      string
	nodes     int
	cutHolder bool
}{
	{"2 nodes, the holder is cut off", 2, true},
	{"2 nodes, the follower is cut off", 2, false},
	{"3 nodes, the holder is cut off", 3, true},
	{"3 nodes, a follower is cut off", 3, false},
}

// newPartition starts n speakers and a client that uses their address all the
// time, and splits the switch.
func newPartition(t testing.TB, n int, cutHolder, gossips bool, vip netip.Addr) *partition {
	p := &partition{fronts: newFronts(t, n, vip)}
	p.gossips = gossips
	p.believes()
	holder, others := p.speakers()
	require.Equal(p, holder.node.HardwareAddr.String(), p.neighbor())
	p.talk()
	p.split(holder, others, cutHolder)
	return p
}

// all returns all speakers.
func (p *partition) all() []*speaker { return append([]*speaker{p.kept, p.cut}, p.third...) }

// talk lets the client send to vip until the test ends.
func (p *partition) talk() {
	p.Helper()
	c := p.dial()
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for tick := time.NewTicker(20 * time.Millisecond); ; {
			select {
			case <-tick.C:
				_, _ = c.Write([]byte("a request"))
			case <-stop:
				tick.Stop()
				return
			}
		}
	}()
	p.Cleanup(func() {
		close(stop)
		<-stopped
		_ = c.Close()
	})
}

// split splits the switch, and waits until a speaker holds the address where the
// client is, and the one that is alone has noticed that.
func (p *partition) split(holder *speaker, others []*speaker, cutHolder bool) {
	p.Helper()
	p.cut, p.cutHolder = others[0], cutHolder
	if cutHolder {
		p.cut = holder
	}
	require.NoError(p, p.lab.Split(p.cut.node))
	if cutHolder {
		p.kept, p.third = p.awaitHolder(others)
	} else {
		p.kept, p.third = holder, others[1:]
	}
	p.follows(p.kept)
	p.cut.await(p, func(a l2vip.AddressStatus) bool {
		return cutHolder && a.Holds && a.Isolated || !cutHolder && !a.Holds && a.Reason == election.Isolated
	}, "no station is heard")
	// It hears the client, on a busy machine after a while.
	p.kept.await(p, func(a l2vip.AddressStatus) bool { return a.Holds && !a.Isolated }, "the client is heard")
}

// heal joins the switch, waits until only one speaker holds the address, and
// returns how long that took. On a side with several the address may have moved by
// then, because a busy machine let its holder starve: kept is who serves at last.
func (p *partition) heal() time.Duration {
	p.Helper()
	p.kept, p.third = p.awaitHolder(append([]*speaker{p.kept}, p.third...))
	p.follows(p.kept)
	for _, s := range p.all() {
		pending(s.events)
	}
	began := time.Now()
	require.NoError(p, p.lab.Join())
	if !p.cutHolder {
		// Where it never heard any station but members, it took it after a second that
		// nothing else is there.
		p.cut.await(p, func(a l2vip.AddressStatus) bool {
			return !a.Holds && a.Holder == p.kept.node.Name && a.Reason == election.Offered
		}, "it is a candidate again")
		took := time.Since(began)
		pending(p.cut.events)
		return took
	}
	return p.cut.wait(p, l2vip.Released).Time.Sub(began)
}

// requireHealed heals the switch and checks what comes of it: the one that served
// the client keeps the address, and everybody knows.
func (p *partition) requireHealed() {
	p.Helper()
	w := p.wire()
	p.Logf("one holder %v after the heal", p.heal().Round(time.Millisecond))
	kept := p.kept.node.HardwareAddr.String()

	// The one that was cut off says nothing after it has released the address.
	// What the winner announces then is the last word.
	claims := w.answered(p.kept)
	if lastBy(claims, func(c claim) bool { return c == claim{kept, true} }) < lastBy(claims, func(c claim) bool { return c.station != kept }) {
		w.until(claim{kept, true})
	}
	for range 20 {
		for _, c := range w.answered(p.kept) {
			require.Equal(p, kept, c.station)
		}
	}
	p.follows(p.kept)

	// One holder, which has held all the time, and none of this was a stranger.
	for _, s := range p.all() {
		status := s.status(p).Addresses[0]
		require.Equal(p, s == p.kept, status.Holds)
		require.Equal(p, p.kept.node.Name, status.Holder)
		require.Nil(p, status.Rival)
		for _, kind := range pending(s.events) {
			require.NotContains(p, append(conflicts, l2vip.Claimed, l2vip.Released), kind, s.node.Name)
		}
	}
	require.Equal(p, kept, p.entry())
}

// lastBy returns the index of the last claim for which is is true, or -1.
func lastBy(claims []claim, is func(claim) bool) int {
	for i := len(claims) - 1; i >= 0; i-- {
		if is(claims[i]) {
			return i
		}
	}
	return -1
}

func TestWirePartitionHeals(t *testing.T) {
	for _, kind := range partitionKinds {
		t.Run(kind.name, func(t *testing.T) {
			families(t, func(t *testing.T, vip netip.Addr) {
				p := newPartition(t, kind.nodes, kind.cutHolder, false, vip)
				p.requireHealed()
			})
		})
	}
}

var partitionLasts = flag.Duration("partition.lasts", time.Second, "for how long partitions last in TestWirePartitionThatLasts; a membership engine forgets those that are gone after 36s")

// All partitions last at once, because they may last for long. There is a membership
// engine besides, which forgets the others then.
func TestWirePartitionThatLasts(t *testing.T) {
	var all []*partition
	for i, kind := range partitionKinds {
		all = append(all, newPartition(t, kind.nodes, kind.cutHolder, true, []netip.Addr{vip, vip6}[i/2]))
	}
	time.Sleep(*partitionLasts)
	for i, p := range all {
		t.Log(partitionKinds[i].name)
		p.requireHealed()
	}
}

// BenchmarkWireHeal is the time from the end of a partition to one holder. After
// four seconds the kernels have given each other up, too.
func BenchmarkWireHeal(b *testing.B) {
	for _, bench := range []struct {
		nodes int
		apart time.Duration
	}{{2, 0}, {3, 0}, {2, 4 * time.Second}} {
		b.Run(fmt.Sprintf("nodes=%d/apart=%v", bench.nodes, bench.apart), func(b *testing.B) {
			p := newPartition(b, bench.nodes, true, false, vip)
			var took []time.Duration
			for b.Loop() {
				time.Sleep(bench.apart)
				took = append(took, p.heal())
				p.follows(p.kept)
				p.split(p.kept, append(p.third, p.cut), true) // for the next time
			}
			slices.Sort(took)
			ms := func(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
			b.ReportMetric(ms(took[len(took)/2]), "ms/median")
			b.ReportMetric(ms(took[len(took)-1]), "ms/worst")
			b.ReportMetric(0, "ns/op")
		})
	}
}

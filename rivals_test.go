package l2vip_test

import (
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/l2vip/l2vip"
	"github.com/l2vip/l2vip/announce"
	"github.com/l2vip/l2vip/election"
	"github.com/l2vip/l2vip/health"
	"github.com/l2vip/l2vip/pool"
)

// apart is how long a partition lasts: until each side has just noticed, and
// until it has long forgotten the other.
var apart = []time.Duration{4 * time.Second, 5 * time.Minute}

// partitions runs a test for clusters of all kinds, of two and of three nodes, and
// for short and for long partitions.
func partitions(t *testing.T, noClients bool, test func(c *cluster, d time.Duration)) {
	for _, e := range []engines{segmentAlone, segmentAndGossip, gossipAlone} {
		for _, n := range []int{2, 3} {
			for _, d := range apart {
				t.Run(fmt.Sprintf("%v, %d nodes, %v", e, n, d), func(t *testing.T) {
					t.Parallel()
					bubble(t, func(t *testing.T) { test(newClusterOf(t, layout{engines: e, noClients: noClients}, n, nil), d) })
				})
			}
		}
	}
}

// heals ends a partition, and requires one holder within a second.
func (c *cluster) heals() *node {
	c.Helper()
	none, several := c.gap(time.Second, c.heal)
	require.Zero(c, none, c.explain())
	require.Less(c, several, time.Second/2)
	return c.holder()
}

func TestHolderThatWasCutOffLosesToTheOneThatServed(t *testing.T) {
	partitions(t, false, func(c *cluster, d time.Duration) {
		cut := c.holder()
		c.cut(cut)
		time.Sleep(d)
		require.True(t, cut.Status().Addresses[0].Holds, "it may be that it is not cut off: nothing else is there")
		require.True(t, cut.Status().Addresses[0].Isolated, "it hears no station")
		if c.engines != gossipAlone {
			require.True(t, cut.station.assignments[0].Quiet)
		}
		kept := c.holder()
		require.NotEqual(t, cut.name, kept.name)
		require.Equal(t, kept.name, c.heals().name)
		require.False(t, kept.Status().Addresses[0].Isolated)
		time.Sleep(20 * time.Second)
		require.Equal(t, kept.name, c.holder().name)
		for _, n := range c.nodes {
			require.False(t, n.station.assignments[0].Quiet)
		}
	})
}

func TestNodeThatWasCutOffTakesNothingFromTheHolder(t *testing.T) {
	partitions(t, false, func(c *cluster, d time.Duration) {
		kept, cut := c.holder(), c.follower()
		claims := len(c.lan.announced[vip])
		c.cut(cut)
		time.Sleep(d)
		if s := cut.Status().Addresses[0]; c.engines == gossipAlone {
			require.True(t, s.Holds)
			require.Greater(t, s.Term, kept.Status().Addresses[0].Term)
		} else {
			require.False(t, s.Holds, "no client asks it")
			require.Equal(t, election.Isolated, s.Reason)
		}
		require.Equal(t, kept.name, c.heals().name, "whatever the terms")
		if c.engines != gossipAlone {
			require.Len(t, c.lan.announced[vip], claims, "and nothing has been announced")
		}
	})
}

// Where nothing but members ever was, each side goes on by itself.
func TestNobodyHearsAnybodyOnAnEmptySegment(t *testing.T) {
	partitions(t, true, func(c *cluster, d time.Duration) {
		c.cut(c.holder())
		time.Sleep(d)
		c.heals()
	})
}

func TestIsolationIsOverSomeTimeAfterTheHeal(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := newClusterOf(t, layout{engines: gossipAlone}, 2, nil)
		cut := c.holder()
		c.cut(cut)
		c.settle()
		cut.links()[0].SetSide(0) // the wire heals, the members do not meet
		time.Sleep(5 * time.Second)
		require.True(t, cut.Status().Addresses[0].Isolated, "the other has not been heard of yet")
		require.Contains(t, cut.Status().Explain(vip), "isolated")
		time.Sleep(10 * time.Second)
		require.False(t, cut.Status().Addresses[0].Isolated)
	})
}

// printer lets a stranger answer for vip.
func (c *cluster) printer() *station {
	st := c.lan.stranger("printer")
	st.set(func(st *station) {
		st.running, st.lease = true, time.Now().Add(1<<62)
		st.assignments = answer(vip)
		st.announces(vip)
	})
	return st
}

func TestStrangerIsDefendedAgainst(t *testing.T) {
	each(t, func(t *testing.T, of layout) {
		c := newClusterOf(t, of, 2, nil)
		holder := c.holder()
		events := holder.Events(t.Context(), 0)
		printer := c.printer()
		sighted := waitFor(t, events, l2vip.RivalSighted)
		require.Equal(t, printer.hardware().String(), sighted.Hardware)
		require.Empty(t, sighted.Node)
		waitFor(t, events, l2vip.Defended)
		synctest.Wait()
		require.Equal(t, holder.name, c.lan.last(vip))

		began := time.Now()
		time.Sleep(time.Minute)
		require.True(t, holder.Status().Addresses[0].Holds)
		s := holder.Status().Addresses[0]
		require.Equal(t, printer.hardware().String(), s.Rival.Hardware)
		require.WithinDuration(t, began, s.Rival.Since, time.Second)
		require.WithinDuration(t, time.Now(), s.Rival.LastSeen, 11*time.Second)
		require.GreaterOrEqual(t, s.Sightings, uint64(6))
		require.InDelta(t, 7, s.Defenses, 1)
		require.Contains(t, holder.Status().Explain(vip), "rival: "+printer.hardware().String()+", a stranger")

		printer.set(func(st *station) { st.running = false })
		gone := waitFor(t, events, l2vip.RivalGone)
		require.Equal(t, printer.hardware().String(), gone.Hardware)
		require.Nil(t, holder.Status().Addresses[0].Rival)
	})
}

func TestStrangerIsYieldedTo(t *testing.T) {
	each(t, func(t *testing.T, of layout) {
		c := newClusterOf(t, of, 3, func(_ int, config *l2vip.Config) {
			config.Strangers = l2vip.Yield
			config.Pools = []pool.Pool{{Name: "mypool", Ranges: []pool.Range{pool.MustParseRange("192.168.122.100/24")}}}
			config.Advertisements = []pool.Advertisement{{}}
			config.Services[0].Addresses, config.Services[0].Pool = nil, "mypool"
		})
		holder := c.holder()
		events := holder.Events(t.Context(), 0)
		printer := c.printer()
		waitFor(t, events, l2vip.Released)
		disputed := waitFor(t, events, l2vip.AddressDisputed)
		require.Equal(t, printer.hardware().String(), disputed.Hardware)
		require.Contains(t, disputed.Detail, "exclude it from the pool")
		none, several := c.gap(2*time.Minute, func() {})
		require.Zero(t, none)
		require.Zero(t, several, "no other member takes it over unprobed")
		for _, n := range c.nodes {
			s := n.Status().Addresses[0]
			require.True(t, s.Automatic)
			require.Equal(t, election.Disputed, s.Reason)
			require.Contains(t, s.Detail, "exclude it from the pool")
			require.Equal(t, printer.hardware().String(), s.Rival.Hardware)
		}

		printer.set(func(st *station) { st.running = false })
		time.Sleep(2 * time.Minute)
		c.holder()
	})
}

func TestMembersThatMeetOnTheWireFirstAreNoStrangers(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := newClusterOf(t, layout{engines: gossipAlone}, 2, func(_ int, config *l2vip.Config) { config.Strangers = l2vip.Yield })
		cut := c.holder()
		c.cut(cut)
		time.Sleep(5 * time.Minute)
		kept := c.holder()
		none, _ := c.gap(time.Second, func() {
			cut.links()[0].SetSide(0)
			for _, n := range c.nodes {
				n.station.set(func(st *station) { st.announces(vip) }) // each sees the other
			}
			time.Sleep(100 * time.Millisecond)
			c.wire()
		})
		require.Zero(t, none)
		require.Equal(t, kept.name, c.holder().name)
		for _, n := range c.nodes {
			require.NotContains(t, c.kinds(n), l2vip.AddressDisputed, n.name)
		}
	})
}

func TestMemberWhoseKernelAnswersIsNamed(t *testing.T) {
	each(t, func(t *testing.T, of layout) {
		c := newClusterOf(t, of, 3, nil)
		holder := c.holder()
		wrong := c.nodes[0]
		if wrong == holder {
			wrong = c.nodes[1]
		}
		events := holder.Events(t.Context(), 0)
		wrong.station.set(func(st *station) { st.kernel = true })
		answers := waitFor(t, events, l2vip.KernelAnswers)
		require.Equal(t, wrong.name, answers.Node)
		require.Equal(t, wrong.station.hardware().String(), answers.Hardware)
		require.Contains(t, answers.Detail, "arp_ignore")
		time.Sleep(time.Minute)
		require.True(t, holder.Status().Addresses[0].Rival.KernelAnswers)
		require.Contains(t, holder.Status().Explain(vip), "the kernel of "+wrong.name)
		require.Equal(t, holder.name, c.holder().name)

		wrong.station.set(func(st *station) { st.kernel = false })
		require.Equal(t, wrong.name, waitFor(t, events, l2vip.RivalGone).Node)
		require.NotContains(t, c.kinds(holder), l2vip.RivalSighted)
	})
}

// kinds returns what has happened to a node so far.
func (c *cluster) kinds(n *node) (kinds []l2vip.Kind) {
	for events := n.Events(c.Context(), 0); ; {
		select {
		case e := <-events:
			kinds = append(kinds, e.Kind)
		default:
			return kinds
		}
	}
}

func TestHandOversAndTakeoversCauseNoNoise(t *testing.T) {
	each(t, func(t *testing.T, of layout) {
		c := newClusterOf(t, of, 3, nil)
		for range 5 {
			holder := c.holder()
			holder.app.Set(health.State{Reason: "down"})
			c.settle()
			holder.app.Set(health.State{Ready: true})
			c.settle()
			holder = c.holder()
			c.unplug(holder)
			c.settle()
			c.heal()
			time.Sleep(15 * time.Second) // rivals are asked for
			c.holder()
		}
		for _, n := range c.nodes {
			for _, kind := range []l2vip.Kind{l2vip.RivalSighted, l2vip.KernelAnswers, l2vip.Defended, l2vip.Contested, l2vip.AddressDisputed} {
				require.NotContains(t, c.kinds(n), kind, n.name)
			}
		}
	})
}

func TestBothFamilies(t *testing.T) {
	each(t, func(t *testing.T, of layout) {
		v6 := addr("2001:db8::100")
		c := newClusterOf(t, of, 3, func(_ int, config *l2vip.Config) {
			config.Services = append(config.Services, l2vip.Service{Name: "web6", Addresses: []netip.Addr{v6}})
		})
		require.Len(t, c.lan.answering(v6), 1)
		for _, n := range c.nodes {
			s := n.Status()
			require.Equal(t, []netip.Addr{vip, v6}, []netip.Addr{s.Addresses[0].Addr, s.Addresses[1].Addr})
			require.Contains(t, s.Explain(v6), v6.String())
		}
		holder := c.lan.answering(v6)[0]
		for _, n := range c.nodes {
			if n.name == holder {
				c.unplug(n)
			}
		}
		c.settle()
		require.Len(t, c.lan.answering(v6), 1)
		require.NotEqual(t, holder, c.lan.answering(v6)[0])
		c.holder()
	})
}

func TestInterfacesThatAreAnnouncedOn(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := newCluster(t, 1, func(_ int, config *l2vip.Config) {
			config.Interfaces = []string{"eth*"}
			config.Pools = []pool.Pool{{Name: "mypool", Ranges: []pool.Range{pool.MustParseRange("192.168.122.100/24")}}}
			config.Advertisements = []pool.Advertisement{{Interfaces: []string{"e*", "br0"}}}
		})
		require.Equal(t, []announce.Assignment{{
			Addr: vip, Interfaces: []string{"eth*"}, Mode: announce.Answer, Claim: c.nodes[0].station.assignments[0].Claim,
		}}, c.nodes[0].station.assignments)
	})
}

package l2vip_test

import (
	"context"
	"flag"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/l2vip/l2vip"
	"github.com/l2vip/l2vip/election"
	"github.com/l2vip/l2vip/health"
	"github.com/l2vip/l2vip/pool"
)

var clusterNodes = flag.Int("cluster.nodes", 6, "how many nodes TestManyNodesKnowEverything starts")

func TestNodesMeetAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := newCluster(t, 1, nil)
		c.add("front-1")
		c.start(1, nil)
		<-c.nodes[1].Ready()
		time.Sleep(100 * time.Millisecond)
		for _, n := range c.nodes {
			s := n.Status()
			require.Len(t, s.Members, 2)
			require.True(t, s.Members[0].Offered && s.Members[1].Offered)
			require.Equal(t, "front-0", s.Addresses[0].Holder)
		}
		require.Equal(t, "front-0", c.story(5*time.Second, func() {}))
	})
}

func TestManyNodesKnowEverything(t *testing.T) {
	bubble(t, func(t *testing.T) {
		all := []netip.Addr{vip}
		for len(all) < 1000 {
			all = append(all, netip.AddrFrom4([4]byte{10, 1, byte(len(all) >> 8), byte(len(all))}))
		}
		configure := func(_ int, config *l2vip.Config) { config.Services[0].Addresses = all }
		c := newCluster(t, *clusterNodes-1, configure)
		last := c.add("late")
		c.start(len(c.nodes)-1, configure)
		time.Sleep(time.Second)
		synctest.Wait()
		for _, n := range c.nodes {
			s := n.Status()
			require.Len(t, s.Members, len(c.nodes), n.name)
			require.False(t, slices.ContainsFunc(s.Members, func(m l2vip.Member) bool { return !m.Offered }), n.name)
		}
		for _, a := range last.Status().Addresses {
			require.NotEmpty(t, a.Holder, a.Addr)
		}
	})
}

// Members of other clusters, with other keys and of other programs are no members.
func TestClustersOnOneSegment(t *testing.T) {
	for name, differ := range map[string]func(program int, c *l2vip.Config){
		"clusters": func(program int, c *l2vip.Config) { c.Cluster = fmt.Sprintf("cluster %d", program) },
		"keys":     func(program int, c *l2vip.Config) { c.Key = slices.Repeat([]byte{byte(program + 1)}, 16) },
		"addresses": func(int, *l2vip.Config) {
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T) {
				other := addr("192.168.122.101")
				c := newCluster(t, 3, func(i int, config *l2vip.Config) {
					config.MinMembers = 2
					if i == 2 { // one of another program, alone
						config.Services[0].Addresses = []netip.Addr{other}
					}
					differ(i/2, config)
				})
				c.holder()
				require.Empty(t, c.lan.answering(other), "too few have it configured")
				c.nodes[0].app.Set(health.State{})
				c.settle()
				require.Equal(t, "front-1", c.holder().name)
				c.cut(c.nodes[0])
				c.settle()
				require.Empty(t, c.lan.answering(vip), "the other program does not count")
				c.heal()
				c.settle()
				c.holder()
			})
		})
	}
}

func TestKeyIsKeptByAMembershipThatIsWrapped(t *testing.T) {
	// The harness wraps each engine: see gatedMembership.
	for _, e := range []engines{segmentAndGossip, gossipAlone} {
		bubble(t, func(t *testing.T) {
			c := newClusterOf(t, layout{engines: e}, 3, func(i int, config *l2vip.Config) {
				config.Passphrase, config.Cluster = "correct horse", "stable"
				if i == 2 {
					config.Passphrase = "battery staple"
				}
			})
			for i, n := range c.nodes {
				want := 2
				if i == 2 {
					want = 1
				}
				require.Len(t, n.Status().Members, want, "%v: %s", e, n.name)
			}
			refused := func(n *node) (from []string) {
				for _, r := range n.Status().Refusals {
					require.Equal(t, election.OtherSecret, r.Why)
					from = append(from, r.From)
				}
				return from
			}
			require.Contains(t, refused(c.nodes[0]), c.nodes[2].host.Addr().String(), "with the address it comes from")
			require.Contains(t, refused(c.nodes[2]), c.nodes[0].host.Addr().String())
			if e == segmentAndGossip {
				require.Contains(t, refused(c.nodes[0]), election.HardwareAddr(c.nodes[2].machine.Link(2).HardwareAddr()).String())
			}
			ctx, cancel := context.WithCancel(t.Context())
			require.Contains(t, waitFor(t, c.nodes[0].Events(ctx, 0), l2vip.Refused).Detail, election.OtherSecret)
			cancel()
		})
	}
}

// Of two nodes with one name the one that started later is no candidate, and all
// know.
func TestTwoNodesOfOneName(t *testing.T) {
	for _, e := range []engines{segmentAlone, segmentAndGossip} {
		t.Run(e.String(), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				c := newClusterOf(t, layout{engines: e}, 2, nil)
				first := c.holder()
				c.add("clone")
				c.start(2, func(_ int, config *l2vip.Config) { config.Name = first.name })
				require.Equal(t, first.name, c.story(10*time.Second, func() {}))
				clone := c.nodes[2]
				s := clone.Status().Addresses[0]
				require.Equal(t, election.NameTaken, s.Reason)
				require.Contains(t, s.Detail, first.station.hardware().String())
				require.False(t, s.Holds)
				require.Equal(t, election.Offered, first.Status().Addresses[0].Reason)
				for _, n := range c.nodes {
					ev := waitFor(t, n.Events(t.Context(), 0), l2vip.NameConflict)
					require.Equal(t, first.name, ev.Node)
					if n == clone {
						require.Equal(t, first.station.hardware().String(), ev.Hardware)
					} else {
						require.Equal(t, clone.station.hardware().String(), ev.Hardware)
					}
				}
				// The first one ends. The clone is whom the name belongs to then.
				require.NoError(t, first.stop())
				c.settle()
				require.Len(t, c.lan.answering(vip), 1)
				require.Equal(t, election.Offered, clone.Status().Addresses[0].Reason)
			})
		})
	}
}

// Silent on one of two client networks, a node serves the other.
func TestTwoClientNetworks(t *testing.T) {
	second := addr("192.168.123.100")
	for name, silence := range map[string]func(*cluster, *node){
		"cut":       func(_ *cluster, n *node) { n.links()[0].SetSide(7) },
		"unplugged": func(_ *cluster, n *node) { n.links()[0].SetDown(true); n.station.wake() },
		"deaf":      func(_ *cluster, n *node) { n.links()[0].SetDeaf(true) },
		"mute":      func(_ *cluster, n *node) { n.links()[0].SetMute(true) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T) {
				c := newClusterOf(t, layout{networks: 2}, 3, func(_ int, config *l2vip.Config) {
					config.Profile, config.Interfaces = l2vip.Fast(), nil
					config.Pools = []pool.Pool{
						{Name: "a", Ranges: []pool.Range{pool.MustParseRange("192.168.122.0/24")}},
						{Name: "b", Ranges: []pool.Range{pool.MustParseRange("192.168.123.0/24")}},
					}
					config.Advertisements = []pool.Advertisement{
						{Pools: []string{"a"}, Interfaces: []string{"eth0"}}, {Pools: []string{"b"}, Interfaces: []string{"eth1"}},
					}
					config.Services = append(config.Services, l2vip.Service{Name: "other", Addresses: []netip.Addr{second}})
				})
				on := func() string { return c.lan.answering(second)[0] }
				holder := c.holder()
				for _, n := range c.others(holder) { // let it hold both
					if n.name == on() {
						n.app.Set(health.State{})
					}
				}
				kept := on()
				none, several := c.gap(5*time.Second, func() { silence(c, holder) })
				require.LessOrEqual(t, none, deafNoticed)
				require.Zero(t, several)
				require.NotEqual(t, holder.name, c.holder().name)
				require.Equal(t, []string{kept}, c.lan.answering(second))
				c.heal()
				c.settle()
				c.holder()
				require.Equal(t, []string{kept}, c.lan.answering(second))
			})
		})
	}
}

func TestLinkThatFlapsMovesAddressesTwiceAtMost(t *testing.T) {
	for _, n := range []int{2, 3} {
		t.Run(fmt.Sprintf("%d nodes", n), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				c := newCluster(t, n, beating)
				holder := c.holder()
				claims := len(c.lan.announced[vip])
				none, several := c.gap(10*time.Second, func() {
					for range 30 {
						c.carrier(holder, false)
						time.Sleep(150 * time.Millisecond)
						c.carrier(holder, true)
						time.Sleep(150 * time.Millisecond)
					}
				})
				require.LessOrEqual(t, none, 500*time.Millisecond)
				require.Zero(t, several)
				require.LessOrEqual(t, len(c.lan.announced[vip])-claims, 2)
			})
		})
	}
}

func TestFollowerWhoseLinkReturnsNeverClaims(t *testing.T) {
	for _, e := range []engines{segmentAlone, segmentAndGossip, gossipAlone} {
		for _, d := range []time.Duration{time.Millisecond, 10 * time.Millisecond, 100 * time.Millisecond, 500 * time.Millisecond, 3 * time.Second, 5 * time.Minute} {
			t.Run(fmt.Sprintf("%v %v", e, d), func(t *testing.T) {
				t.Parallel()
				bubble(t, func(t *testing.T) {
					c := newClusterOf(t, layout{engines: e}, 3, nil)
					holder, follower := c.holder(), c.follower()
					require.Equal(t, holder.name, c.story(d+5*time.Second, func() {
						c.unplug(follower)
						time.Sleep(d)
						c.plug(follower)
					}))
					require.NotContains(t, c.kinds(follower), l2vip.Claimed)
				})
			})
		}
	}
}

// A node that is alone on purpose gives up at once what is not ready, and has it again
// without a pause.
func TestAloneDoesNotWait(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := newCluster(t, 1, func(_ int, config *l2vip.Config) { config.Membership = l2vip.Alone })
		n := c.holder()
		n.app.Set(health.State{Reason: "down"})
		synctest.Wait()
		time.Sleep(time.Millisecond)
		require.Empty(t, c.lan.answering(vip))
		none, _ := c.gap(3*time.Second, func() { n.app.Set(health.State{Ready: true}) })
		require.LessOrEqual(t, none, probeTime+5*time.Millisecond)
	})
}

// The secrets of a cluster are rotated while it works, one node at a time, and one node
// takes each step two minutes late: the holder answers, and no member is missing at any
// moment.
func TestRotation(t *testing.T) {
	former, next := []byte("the former secret"), []byte("the next secret of the cluster")
	each(t, func(t *testing.T, of layout) {
		c := newClusterOf(t, of, 3, func(_ int, config *l2vip.Config) { config.Key = former })
		holder := c.holder()
		for _, n := range c.nodes {
			c.kinds(n)
		}
		for i, keys := range [][][]byte{{former, next}, {next, former}, {next}} {
			for k := range c.nodes {
				n := c.nodes[(k+i)%3]
				none, several := c.gap(3*time.Second, func() { require.NoError(t, n.SetKeys(keys...)) })
				require.Zero(t, none+several, "step %d of %s", i, n.name)
				if k == 1 {
					time.Sleep(2 * time.Minute)
				}
			}
			for _, n := range c.nodes {
				require.Len(t, n.Status().Members, 3)
				kinds := c.kinds(n)
				require.NotContains(t, kinds, l2vip.MemberLeft, "step %d", i)
				require.NotContains(t, kinds, l2vip.MemberSilent, "step %d", i)
			}
		}
		require.Equal(t, holder.name, c.holder().name)

		// A rotation that leaves a node behind takes it away, and nothing else: where it
		// hears that its host is alive, it asks before it claims what the holder holds.
		if c.engines == gossipAlone {
			return
		}
		left := c.follower()
		require.Error(t, left.SetKeys(), "none")
		require.Error(t, left.SetKeys([]byte("short")))
		none, several := c.gap(3*time.Second, func() { require.NoError(t, left.SetKeys(former)) })
		require.Zero(t, none+several)
		require.Len(t, holder.Status().Members, 2)
	})
}

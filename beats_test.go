package l2vip_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/l2vip/l2vip"
	"github.com/l2vip/l2vip/announce"
	"github.com/l2vip/l2vip/health"
)

// noticed is within what time a silent holder is replaced in the profile Fast: the
// time to notice it, and a few milliseconds to act.
var noticed = l2vip.Fast().Detection() + 6*time.Millisecond

// beat runs a test for clusters with heartbeats, of each of the given sizes.
func beat(t *testing.T, sizes []int, test func(c *cluster)) {
	for _, n := range sizes {
		t.Run(fmt.Sprintf("%d nodes", n), func(t *testing.T) {
			bubble(t, func(t *testing.T) { test(newCluster(t, n, beating)) })
		})
	}
}

// story returns who answered for vip, one after the other, while event happens and
// d passes: "a | a+b | b", with a dash for nobody.
func (c *cluster) story(d time.Duration, event func()) string {
	var story []string
	look := func() {
		now := strings.Join(c.segment.answering(vip), "+")
		if now == "" {
			now = "-"
		}
		if len(story) == 0 || story[len(story)-1] != now {
			story = append(story, now)
		}
	}
	look()
	over := make(chan struct{})
	go func() {
		defer close(over)
		event()
	}()
	for range d / time.Millisecond {
		time.Sleep(time.Millisecond)
		look()
	}
	<-over
	synctest.Wait()
	return strings.Join(story, " | ")
}

// others returns all nodes but n.
func (c *cluster) others(n *node) (others []*node) {
	for _, other := range c.nodes {
		if other != n {
			others = append(others, other)
		}
	}
	return others
}

// follower returns a node that does not hold vip.
func (c *cluster) follower() *node { return c.others(c.holder())[0] }

func TestSilentHolderIsReplacedInMilliseconds(t *testing.T) {
	beat(t, []int{2, 3, 5}, func(c *cluster) {
		for name, silence := range map[string]func(*node){"cut": c.cut, "unplugged": c.unplug} {
			silent := c.holder()
			none, several := c.gap(3*time.Second, func() { silence(silent) })
			c.Logf("%s: nobody answered for %v", name, none)
			require.LessOrEqual(c, none, noticed)
			require.Zero(c, several)
			require.NotEqual(c, silent.name, c.holder().name)
			require.Contains(c, c.kinds(c.holder()), l2vip.MemberSilent)
			c.heals()
			c.settle()
		}
	})
}

func TestFollowerThatIsCutOffChangesNothing(t *testing.T) {
	for _, d := range []time.Duration{15 * time.Millisecond, 300 * time.Millisecond, 450 * time.Millisecond, 600 * time.Millisecond, time.Second, 2 * time.Second, 5 * time.Second, 5 * time.Minute} {
		t.Run(d.String(), func(t *testing.T) {
			beat(t, []int{2, 3, 5}, func(c *cluster) {
				holder, follower := c.holder(), c.follower()
				require.Equal(c, holder.name, c.story(d, func() { c.cut(follower) }))
				claims := len(c.segment.announced[vip])
				require.NotContains(c, c.kinds(holder), l2vip.MemberSilent, "who holds nothing is not missed")
				require.Equal(c, holder.name, c.heals().name)
				c.settle()
				require.Equal(c, holder.name, c.holder().name)
				if d < 400*time.Millisecond {
					require.Len(c, c.segment.announced[vip], claims, "nobody else has claimed it at all")
				}
			})
		})
	}
}

func TestHolderThatWasCutOffForAMomentLosesToTheTaker(t *testing.T) {
	for _, d := range []time.Duration{5, 15, 20, 50, 100, 200, 300, 390, 410, 500, 700} {
		t.Run((d * time.Millisecond).String(), func(t *testing.T) {
			beat(t, []int{2, 3, 5}, func(c *cluster) {
				cut := c.holder()
				none, several := c.gap(d*time.Millisecond, func() { c.cut(cut) })
				require.LessOrEqual(c, none, noticed)
				require.Zero(c, several)
				taker := c.segment.last(vip)
				require.Equal(c, d > 14, taker != cut.name)
				c.heal()
				time.Sleep(time.Second)
				require.Equal(c, taker, c.holder().name, "and it announced last")
				require.Equal(c, taker, c.story(10*time.Second, func() {}))
			})
		})
	}
}

func TestFalseVerdictIsSettled(t *testing.T) {
	for _, d := range []time.Duration{15, 50, 200, 350} {
		t.Run((d * time.Millisecond).String(), func(t *testing.T) {
			beat(t, []int{2, 3, 5}, func(c *cluster) {
				missed := c.holder()
				for _, n := range c.others(missed) {
					n.station.set(func(st *station) { st.deaf = func(name string) bool { return name == missed.name } })
				}
				none, _ := c.gap(time.Second, func() {
					time.Sleep(d * time.Millisecond)
					for _, n := range c.others(missed) {
						n.station.set(func(st *station) { st.deaf = nil })
					}
				})
				require.Zero(c, none)
				require.Equal(c, c.holder().name, c.story(10*time.Second, func() {}))
			})
		})
	}
}

func TestBrokenReceiverTakesNothing(t *testing.T) {
	beat(t, []int{2, 3, 5}, func(c *cluster) {
		holder, broken := c.holder(), c.follower()
		broken.station.set(func(st *station) { st.deaf = func(string) bool { return true } })
		require.Equal(c, holder.name, c.story(10*time.Second, func() {}), "who hears nobody accuses nobody")
		if len(c.nodes) > 2 {
			broken.station.set(func(st *station) { st.deaf = func(name string) bool { return name == holder.name } })
			require.Equal(c, holder.name, c.story(10*time.Second, func() {}), "the others hear the holder")
		}
		require.NotContains(c, c.kinds(broken), l2vip.MemberSilent)
	})
}

// starve keeps a node's membership engine from running, while its beats go on.
func (c *cluster) starve(n *node) {
	n.frozen = true
	c.wire()
}

// feed ends that.
func (c *cluster) feed(n *node) {
	n.frozen = false
	c.wire()
}

func TestBusyHolderIsKeptAsLongAsItBeats(t *testing.T) {
	beat(t, []int{2, 3, 5}, func(c *cluster) {
		busy := c.holder()
		require.Equal(c, busy.name, c.story(6*time.Second, func() {
			c.starve(busy)
			time.Sleep(4 * time.Second)
			c.feed(busy)
		}))
		for range 3 {
			require.Equal(c, busy.name, c.story(6*time.Second, func() {
				c.starve(busy)
				time.Sleep(2 * time.Second)
				c.feed(busy)
			}))
		}
		for _, n := range c.nodes {
			require.Len(c, n.Status().Members, len(c.nodes))
		}
		require.Equal(c, busy.name, c.holder().name)
	})
}

func TestBusyHolderIsNotKeptForEver(t *testing.T) {
	beat(t, []int{2, 3}, func(c *cluster) {
		busy := c.holder()
		require.Equal(c, busy.name, c.story(30*time.Second, func() { c.starve(busy) }))
		time.Sleep(10 * time.Second)
		require.NotEqual(c, busy.name, c.others(busy)[0].Status().Addresses[0].Holder)
		c.feed(busy)
		c.settle()
		c.holder()
	})
}

func TestMemberThatIsKeptIsDroppedWithItsBeats(t *testing.T) {
	beat(t, []int{2, 3}, func(c *cluster) {
		busy := c.holder()
		c.starve(busy)
		time.Sleep(time.Second)
		none, several := c.gap(time.Second, func() { c.cut(busy) })
		require.LessOrEqual(c, none, noticed)
		require.Zero(c, several)
	})
}

func TestStoppedProcessNeverAnswersAfterItsSuccessor(t *testing.T) {
	for _, d := range []time.Duration{50, 290, 310, 350, 390, 410, 450, 600, 900, 990, 1005, 1015, 1050, 1500, 5000} {
		d *= time.Millisecond
		t.Run(d.String(), func(t *testing.T) {
			beat(t, []int{2, 3, 5}, func(c *cluster) {
				stopped := c.holder()
				story := c.story(d+5*time.Second, func() {
					c.freeze(stopped)
					time.Sleep(d)
					c.resume(stopped)
				})
				c.Log(story)
				holder := c.holder()
				require.NotContains(c, story, "+", "never two that answer")
				if d < l2vip.Fast().Lease() {
					require.Same(c, stopped, holder, "its lease was not over")
				}
				if holder == stopped {
					require.Equal(c, fmt.Sprintf("%[1]s | - | %[1]s", holder.name), story)
				} else {
					require.Equal(c, fmt.Sprintf("%s | - | %s", stopped.name, holder.name), story)
				}
			})
		})
	}
}

func TestBeatsKeepTheLeaseOfAStarvedLoop(t *testing.T) {
	beat(t, []int{1, 3}, func(c *cluster) {
		holder := c.holder()
		for _, d := range []time.Duration{100, 400, 700, 900} {
			require.Equal(c, holder.name, c.story(3*time.Second, func() {
				open := holder.gate.shut()
				time.Sleep(d * time.Millisecond)
				close(open)
			}))
		}
		require.NotContains(c, c.kinds(holder), l2vip.LeaseLost)

		open := holder.gate.shut()
		time.Sleep(900 * time.Millisecond)
		require.Equal(c, holder.name+" | -", c.story(3*time.Second, func() {}), "not for ever")
		close(open)
		c.settle()
		require.Contains(c, c.kinds(holder), l2vip.LeaseLost)
		c.holder()
	})
}

func TestBeatsReviveNoLease(t *testing.T) {
	beat(t, []int{1, 3}, func(c *cluster) {
		holder := c.holder()
		open := holder.gate.shut()
		require.Equal(c, holder.name+" | -", c.story(2*time.Second, func() {
			holder.station.set(func(st *station) { st.stopped = true })
			time.Sleep(l2vip.Fast().Lease() + 50*time.Millisecond)
			holder.station.set(func(st *station) { st.stopped = false }) // the loop does not run yet
		}))
		close(open)
		c.settle()
		c.holder()
	})
}

func TestNodeThatReturnsIsACandidateWithinASecond(t *testing.T) {
	for name, silence := range map[string]func(*cluster, *node){"cut": (*cluster).cut, "unplugged": (*cluster).unplug} {
		for _, d := range []time.Duration{100 * time.Millisecond, 2 * time.Second, 2 * time.Minute} {
			t.Run(fmt.Sprintf("%s %v", name, d), func(t *testing.T) {
				beat(t, []int{2, 3, 5}, func(c *cluster) {
					back := c.holder()
					silence(c, back)
					time.Sleep(d)
					holder := c.heals()
					require.NotEqual(c, back.name, holder.name)
					require.Contains(c, holder.Status().Explain(vip), back.name+": offered")
					none, several := c.gap(time.Second, func() { c.cut(holder) })
					require.LessOrEqual(c, none, noticed)
					require.Zero(c, several)
					if len(c.nodes) == 2 {
						require.Equal(c, back.name, c.holder().name)
					}
				})
			})
		}
	}
}

func TestSeveralDieAtOnce(t *testing.T) {
	beat(t, []int{3, 5}, func(c *cluster) {
		first := c.holder()
		dying := append([]*node{first}, c.others(first)[:len(c.nodes)-2]...) // one is left
		none, several := c.gap(5*time.Second, func() {
			for _, n := range dying {
				c.cut(n)
			}
		})
		c.Logf("%d of %d: nobody answered for %v", len(dying), len(c.nodes), none)
		require.LessOrEqual(c, none, noticed)
		require.Zero(c, several)
	})
}

func TestMinMembersWithHeartbeats(t *testing.T) {
	for _, n := range []int{2, 3} {
		t.Run(fmt.Sprintf("%d nodes", n), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				c := newCluster(t, n, func(i int, config *l2vip.Config) {
					config.MinMembers = 2
					beating(i, config)
				})
				cut := c.holder()
				none, several := c.gap(3*time.Second, func() { c.cut(cut) })
				require.Zero(t, several)
				require.False(t, cut.Status().Addresses[0].Holds, "it sees too few members to hold anything")
				if n == 2 {
					require.Empty(t, c.segment.answering(vip))
				} else {
					require.LessOrEqual(t, none, noticed)
				}
				c.heal()
				c.settle()
				c.holder()
			})
		})
	}
}

func TestHandOversWithHeartbeatsLoseNothing(t *testing.T) {
	beat(t, []int{2, 3, 5}, func(c *cluster) {
		failed := c.holder()
		none, _ := c.gap(time.Second, func() { failed.app.Set(health.State{Reason: "down"}) })
		require.Zero(c, none)
		failed.app.Set(health.State{Ready: true})
		c.settle()
		drained := c.holder()
		none, _ = c.gap(time.Second, func() { require.NoError(c, drained.Drain(c.Context())) })
		require.Zero(c, none)
		c.settle()
		leaving := c.holder()
		if len(c.nodes) == 2 {
			return // nobody is left
		}
		var err error
		none, _ = c.gap(3*time.Second, func() { err = leaving.stop() })
		require.NoError(c, err)
		require.Zero(c, none)
		c.holder()
		for _, n := range c.nodes {
			require.NotContains(c, c.kinds(n), l2vip.MemberSilent, "who leaves is not dead")
		}
	})
}

func TestKilledProcessIsReplacedInMilliseconds(t *testing.T) {
	beat(t, []int{2, 3}, func(c *cluster) {
		killed := c.holder()
		none, several := c.gap(3*time.Second, func() { c.kill(killed) })
		require.LessOrEqual(c, none, noticed)
		require.Zero(c, several)
		require.Contains(c, c.kinds(c.holder()), l2vip.MemberSilent)
	})
}

// Where the kernel answers for what the process held, it goes on for a while.
func TestKilledProcessLeavesAddressesOnTheInterface(t *testing.T) {
	binding := func(i int, c *l2vip.Config) {
		beating(i, c)
		c.Bind = announce.Interface
	}
	bubble(t, func(t *testing.T) {
		c := newCluster(t, 3, binding)
		killed := c.holder()
		none, several := c.gap(3*time.Second, func() { c.kill(killed) })
		require.Greater(t, none, 300*time.Millisecond, "its lease is waited for, or the membership's word")
		require.Less(t, none, l2vip.Fast().Lease()+200*time.Millisecond)
		require.Zero(t, several)
	})
}

// A member that sends no heartbeats does not know for how long it must wait.
func TestLeaseIsShortAmongMembersWithoutHeartbeats(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := newCluster(t, 3, func(i int, c *l2vip.Config) {
			if i > 0 {
				beating(i, c)
			}
		})
		stopped := c.holder()
		if stopped == c.nodes[0] {
			require.NoError(t, stopped.Drain(t.Context()))
			stopped = c.holder()
		}
		c.settle()
		story := c.story(5*time.Second, func() {
			c.freeze(stopped)
			time.Sleep(l2vip.Fast().Lease() - 100*time.Millisecond)
			c.resume(stopped)
		})
		require.NotContains(t, story, "+")
		require.Contains(t, c.kinds(stopped), l2vip.LeaseLost)
	})
}

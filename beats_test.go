package l2vip_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/l2vip/l2vip"
	"github.com/l2vip/l2vip/announce"
	"github.com/l2vip/l2vip/election"
	"github.com/l2vip/l2vip/health"
)

// noticed is within what time a silent holder is replaced in the profile Fast: the
// time to notice it, and a few milliseconds to act.
var noticed = l2vip.Fast().Detection() + 6*time.Millisecond

// deafNoticed is within what time a deaf holder is replaced in that profile: two beats
// of members that hold nothing must be missing, and then it asks and says so.
const deafNoticed = 250 * time.Millisecond

// beating gives a node the profile Fast.
func beating(_ int, c *l2vip.Config) { c.Profile = l2vip.Fast() }

// beat runs a test for clusters that beat, of each of the given sizes, and once with
// a membership engine beside.
func beat(t *testing.T, sizes []int, test func(c *cluster)) {
	run := func(e engines, n int) {
		t.Run(fmt.Sprintf("%d nodes, %v", n, e), func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T) { test(newClusterOf(t, layout{engines: e}, n, beating)) })
		})
	}
	for _, n := range sizes {
		run(segmentAlone, n)
	}
	run(segmentAndGossip, 3)
}

// story returns who answered for vip, one after the other, while event happens and
// d passes: "a | a+b | b", with a dash for nobody.
func (c *cluster) story(d time.Duration, event func()) string {
	var story []string
	look := func() {
		now := strings.Join(c.lan.answering(vip), "+")
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
	for _, d := range []time.Duration{15 * time.Millisecond, 300 * time.Millisecond, 450 * time.Millisecond, 600 * time.Millisecond, time.Second, 2 * time.Second, 30 * time.Second} {
		t.Run(d.String(), func(t *testing.T) {
			beat(t, []int{2, 3, 5}, func(c *cluster) {
				holder, follower := c.holder(), c.follower()
				claims := len(c.lan.announced[vip])
				require.Equal(c, holder.name, c.story(d, func() { c.cut(follower) }))
				require.False(c, follower.Status().Addresses[0].Holds, "it hears no station: no client asks it")
				require.Equal(c, holder.name, c.heals().name)
				c.settle()
				require.Equal(c, holder.name, c.holder().name)
				require.Len(c, c.lan.announced[vip], claims, "no other has claimed it at all")
				require.NotContains(c, c.kinds(follower), l2vip.Claimed)
			})
		})
	}
}

// A holder that was cut off for so short that it has not noticed saw more members than
// the one that took over: one of the two keeps the address, and announces last.
func TestHolderThatWasCutOffForAMoment(t *testing.T) {
	for _, d := range []time.Duration{5, 15, 20, 50, 100, 200, 300, 390, 410, 500, 700} {
		t.Run((d * time.Millisecond).String(), func(t *testing.T) {
			beat(t, []int{2, 3, 5}, func(c *cluster) {
				cut := c.holder()
				none, several := c.gap(d*time.Millisecond, func() { c.cut(cut) })
				require.LessOrEqual(c, none, noticed)
				require.Zero(c, several)
				taker := c.lan.last(vip)
				require.Equal(c, d > l2vip.Fast().Detection()/time.Millisecond, taker != cut.name)
				_, several = c.gap(time.Second, c.heal)
				require.LessOrEqual(c, several, 10*time.Millisecond, "settled within an exchange of beats")
				holder := c.holder().name
				if d >= 300 || taker == cut.name {
					require.Equal(c, taker, holder)
				}
				require.Equal(c, holder, c.story(10*time.Second, func() {}))
			})
		})
	}
}

// One of two does not hear the other, each does not hear the other, or each of the
// others does not hear the holder. With the clients all of them exchange everything.
func TestPartialCuts(t *testing.T) {
	for _, d := range []time.Duration{15, 50, 200, 350, 2000} {
		t.Run((d * time.Millisecond).String(), func(t *testing.T) {
			beat(t, []int{3, 5}, func(c *cluster) {
				holder := c.holder()
				others := c.others(holder)
				for name, both := range map[string][2]*node{
					"two followers": {others[0], others[1]}, "the holder and a follower": {holder, others[0]},
				} {
					require.Equal(c, holder.name, c.story(d*time.Millisecond+3*time.Second, func() {
						c.separate(both[0], both[1], true)
						time.Sleep(d * time.Millisecond)
						c.separate(both[0], both[1], false)
					}), name)
					for _, one := range [][2]*node{both, {both[1], both[0]}} {
						require.Equal(c, holder.name, c.story(d*time.Millisecond+3*time.Second, func() {
							c.lan.switches[0].SetCut(one[0].machine, one[1].machine, true)
							time.Sleep(d * time.Millisecond)
							c.lan.switches[0].SetCut(one[0].machine, one[1].machine, false)
						}), name+", one way")
					}
				}
				require.Equal(c, holder.name, c.holder().name)
			})
		})
	}
}

// A holder that hears nothing answers nothing: no request reaches it.
func TestDeafHolderIsReplacedAndAnnouncesNothing(t *testing.T) {
	for _, d := range []time.Duration{300 * time.Millisecond, 5 * time.Second, 20 * time.Second} {
		t.Run(d.String(), func(t *testing.T) {
			beat(t, []int{2, 3, 5}, func(c *cluster) {
				deaf := c.holder()
				none, several := c.gap(d, func() { c.deafen(deaf, true) })
				c.Logf("no node answered for %v", none)
				require.LessOrEqual(c, none, deafNoticed)
				require.Zero(c, several)
				successor := c.holder()
				require.NotEqual(c, deaf.name, successor.name)
				require.False(c, slices.Contains(c.lan.announced[vip][1:], deaf.name), "it announces nothing")
				require.Equal(c, successor.name, c.heals().name)
				c.settle()
				require.Equal(c, successor.name, c.holder().name)
			})
		})
	}
}

// A holder that no member hears stops by itself.
func TestMuteHolderStops(t *testing.T) {
	for _, d := range []time.Duration{100 * time.Millisecond, 5 * time.Second, 20 * time.Second} {
		t.Run(d.String(), func(t *testing.T) {
			beat(t, []int{2, 3, 5}, func(c *cluster) {
				mute := c.holder()
				none, several := c.gap(d, func() { c.silence(mute, true) })
				require.LessOrEqual(c, none, noticed)
				require.Zero(c, several)
				require.False(c, mute.Status().Addresses[0].Holds)
				require.Equal(c, election.Unheard, mute.Status().Addresses[0].Reason)
				successor := c.holder()
				require.Equal(c, successor.name, c.heals().name)
				c.settle()
				require.Equal(c, successor.name, c.holder().name)
				require.Equal(c, election.Offered, mute.Status().Addresses[0].Reason)
			})
		})
	}
}

func TestDeafAndMuteFollowersTakeNothing(t *testing.T) {
	for name, broken := range map[string]func(*cluster, *node, bool){"deaf": (*cluster).deafen, "mute": (*cluster).silence} {
		t.Run(name, func(t *testing.T) {
			beat(t, []int{2, 3, 5}, func(c *cluster) {
				holder, follower := c.holder(), c.follower()
				require.Equal(c, holder.name, c.story(10*time.Second, func() { broken(c, follower, true) }))
				require.NotContains(c, c.kinds(follower), l2vip.Claimed)
				require.NotEqual(c, election.Offered, follower.Status().Addresses[0].Reason)
				// Now the holder fails as well. It is one of the others that takes over,
				// if there is one.
				c.cut(holder)
				time.Sleep(time.Second)
				require.NotContains(c, c.kinds(follower), l2vip.Claimed)
				if len(c.nodes) == 2 {
					require.Empty(c, c.lan.answering(vip))
				} else {
					c.holder()
				}
				c.heal()
				c.settle()
				c.holder()
			})
		})
	}
}

// What the membership says changes nothing while beats are exchanged.
func TestMembershipThatIsBlockedChangesNothing(t *testing.T) {
	for _, n := range []int{2, 3} {
		t.Run(fmt.Sprintf("%d nodes", n), func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T) {
				c := newClusterOf(t, layout{engines: segmentAndGossip}, n, beating)
				holder := c.holder()
				require.Equal(t, holder.name, c.story(2*time.Minute, func() { c.block(true) }))
				for _, n := range c.nodes {
					require.Len(t, n.Status().Members, len(c.nodes))
					require.NotContains(t, c.kinds(n), l2vip.MemberLeft)
				}
				// Health, drain and failures go on being known.
				holder.app.Set(health.State{Reason: "down"})
				c.settle()
				successor := c.holder()
				require.NotEqual(t, holder.name, successor.name)
				holder.app.Set(health.State{Ready: true})
				c.settle()
				none, several := c.gap(time.Second, func() { c.cut(successor) })
				require.LessOrEqual(t, none, noticed)
				require.Zero(t, several)
				c.heals()
				last := c.holder()
				require.Equal(t, last.name, c.story(time.Minute, func() { c.block(false) }))
			})
		})
	}
}

// The same from the start: the members find each other by their beats.
func TestMembersMeetThoughTheMembershipIsBlocked(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := newClusterOf(t, layout{engines: segmentAndGossip}, 0, nil)
		for range 3 {
			c.add(fmt.Sprintf("front-%d", len(c.nodes)))
		}
		c.block(true)
		for i := range c.nodes {
			c.start(i, beating)
		}
		c.settle()
		holder := c.holder()
		require.Equal(t, holder.name, c.story(time.Minute, func() {}))
		for _, n := range c.nodes {
			require.Len(t, n.Status().Members, 3)
			require.Equal(t, holder.name, n.Status().Addresses[0].Holder)
		}
	})
}

// A loop that does not turn holds nothing after a while, and the beats say so.
func TestHungLoopIsReplaced(t *testing.T) {
	beat(t, []int{2, 3, 5}, func(c *cluster) {
		hung := c.holder()
		story := c.story(5*time.Second, func() { c.hang(hung) })
		c.Log(story)
		require.NotContains(c, story, "+")
		successor := c.holder()
		require.NotEqual(c, hung.name, successor.name)
		require.Equal(c, successor.name, c.story(3*time.Second, func() { c.unhang(hung) }))
		require.Equal(c, successor.name, c.holder().name)
		require.Contains(c, c.kinds(hung), l2vip.LeaseLost)
		require.Contains(c, c.kinds(hung), l2vip.LeaseRegained)
	})
}

func TestHungLoopIsReplacedInTime(t *testing.T) {
	beat(t, []int{2, 3}, func(c *cluster) {
		hung := c.holder()
		c.hang(hung)
		none, several := c.gap(3*time.Second, func() {})
		c.Logf("no node answered for %v", none)
		require.LessOrEqual(c, none, l2vip.Fast().Detection()+20*time.Millisecond)
		require.Zero(c, several)
		c.unhang(hung)
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
				if d < l2vip.DefaultLease-10*time.Millisecond {
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
				c.hang(holder)
				time.Sleep(d * time.Millisecond)
				c.unhang(holder)
			}))
		}
		require.NotContains(c, c.kinds(holder), l2vip.LeaseLost)
	})
}

func TestNodeThatReturnsIsACandidateWithinASecond(t *testing.T) {
	for name, silence := range map[string]func(*cluster, *node){"cut": (*cluster).cut, "unplugged": (*cluster).unplug} {
		for _, d := range []time.Duration{300 * time.Millisecond, 2 * time.Second, 30 * time.Second} {
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
					require.Empty(t, c.lan.answering(vip))
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
		require.Less(t, none, l2vip.DefaultLease+200*time.Millisecond)
		require.Zero(t, several)
	})
}

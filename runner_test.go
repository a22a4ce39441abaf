package l2vip_test

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/l2vip/l2vip"
	"github.com/l2vip/l2vip/election"
	"github.com/l2vip/l2vip/health"
)

func TestNodesElectOneHolder(t *testing.T) {
	each(t, func(t *testing.T, of layout) {
		c := newClusterOf(t, of, 3, nil)
		holder := c.holder()
		for _, n := range c.nodes {
			s := n.Status()
			require.Len(t, s.Members, 3)
			require.Equal(t, holder.name, s.Addresses[0].Holder)
			require.Equal(t, election.Offered, s.Addresses[0].Reason, s.Addresses[0].Detail)
			require.EqualValues(t, 1, s.Addresses[0].Term)
		}
		require.Len(t, c.lan.announced[vip], 1, "nobody else claimed it on the way")
	})
}

func TestDeadNodeIsReplacedAndItsReturnMovesNothing(t *testing.T) {
	each(t, func(t *testing.T, of layout) {
		c := newClusterOf(t, of, 4, nil)
		dead := c.holder()
		none, several := c.gap(3*time.Second, func() { c.unplug(dead) })
		t.Logf("nobody answered for %v", none)
		require.Less(t, none, 800*time.Millisecond)
		require.Zero(t, several)

		successor := c.holder()
		require.NotEqual(t, dead.name, successor.name)
		none, several = c.gap(20*time.Second, c.heal)
		require.Zero(t, none)
		require.Zero(t, several)
		require.Equal(t, successor.name, c.holder().name)
		require.Len(t, c.lan.announced[vip], 2, "the return moved nothing, not even for a moment")
	})
}

func TestHolderThatWasCutOffYieldsToTheOneThatKeptServing(t *testing.T) {
	each(t, func(t *testing.T, of layout) {
		c := newClusterOf(t, of, 4, nil)
		cut := c.holder()
		c.cut(cut)
		c.settle()
		successor := c.holder()
		require.True(t, cut.Status().Addresses[0].Holds, "it is alone for all that it knows")

		none, several := c.gap(20*time.Second, c.heal)
		require.Zero(t, none)
		require.LessOrEqual(t, several, 20*time.Millisecond, "until they hear of each other")
		require.Equal(t, successor.name, c.holder().name)
	})
}

func TestApplicationFailureIsHandedOver(t *testing.T) {
	each(t, func(t *testing.T, of layout) {
		c := newClusterOf(t, of, 3, nil)
		failed := c.holder()
		none, _ := c.gap(2*time.Second, func() { failed.app.Set(health.State{Reason: "killed"}) })
		require.Zero(t, none, "the successor answers before the holder falls silent")
		successor := c.holder()
		require.NotEqual(t, failed.name, successor.name)
		require.Equal(t, "not ready: killed", failed.Status().Addresses[0].Detail)

		failed.app.Set(health.State{Ready: true})
		c.settle()
		require.Equal(t, successor.name, c.holder().name, "sticky")
	})
}

func TestNoHealthyNodeMeansNoHolder(t *testing.T) {
	each(t, func(t *testing.T, of layout) {
		c := newClusterOf(t, of, 2, nil)
		for _, n := range c.nodes {
			n.app.Set(health.State{Reason: "down"})
		}
		c.settle()
		require.Empty(t, c.lan.answering(vip))
		c.nodes[1].app.Set(health.State{Ready: true})
		c.settle()
		require.Equal(t, "front-1", c.holder().name)
	})
}

func TestStoppedNodeHandsOverWithoutAGap(t *testing.T) {
	each(t, func(t *testing.T, of layout) {
		c := newClusterOf(t, of, 3, nil)
		leaving := c.holder()
		var err error
		none, _ := c.gap(3*time.Second, func() { err = leaving.stop() })
		require.NoError(t, err)
		require.Zero(t, none)
		require.NotEqual(t, leaving.name, c.holder().name)
	})
}

func TestDrainReturnsWhenHandedOver(t *testing.T) {
	each(t, func(t *testing.T, of layout) {
		c := newClusterOf(t, of, 2, nil)
		draining := c.holder()
		require.NoError(t, draining.Drain(t.Context()))
		require.False(t, draining.Status().Addresses[0].Holds)
		require.Equal(t, election.Draining, draining.Status().Addresses[0].Reason)
		c.settle()
		last := c.holder()
		require.NotEqual(t, draining.name, last.name)

		// With nobody to take it, it is given up.
		require.NoError(t, last.Drain(t.Context()))
		c.settle()
		require.Empty(t, c.lan.answering(vip))
	})
}

func TestNodeThatRestartsFasterThanAnyoneNoticesLeavesNoGhost(t *testing.T) {
	each(t, func(t *testing.T, of layout) {
		c := newClusterOf(t, of, 3, nil)
		restarted := c.holder()
		none, _ := c.gap(3*time.Second, func() {
			c.kill(restarted)
			for i := range c.nodes {
				if c.nodes[i] == restarted {
					c.start(i, nil)
				}
			}
		})
		t.Logf("nobody answered for %v", none)
		require.Less(t, none, time.Second)
		c.holder()
	})
}

// On a segment without beats the wire may heal and the members not meet.
func TestPartitionHealsToTheLargerSide(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := newClusterOf(t, layout{engines: gossipAlone}, 3, nil)
		// The holder is cut off and goes on; the others replace it. No client
		// hears it, so for once there are two.
		alone := c.holder()
		c.cut(alone)
		c.settle()
		kept := c.holder()
		alone.links()[0].SetSide(0) // first the wire, then the members
		require.Len(t, c.lan.answering(vip), 2)
		time.Sleep(5 * time.Minute) // by now each has forgotten the other
		c.network.Heal()
		time.Sleep(time.Second)
		require.Equal(t, kept.name, c.holder().name)
		c.settle()
		require.Equal(t, kept.name, c.holder().name)
	})
}

func TestMinMembers(t *testing.T) {
	each(t, func(t *testing.T, of layout) {
		c := newClusterOf(t, of, 3, func(_ int, config *l2vip.Config) { config.MinMembers = 2 })
		alone := c.holder()
		c.cut(alone)
		c.settle()
		require.False(t, alone.Status().Addresses[0].Holds, "it sees too few members to hold anything")
		require.NotEqual(t, alone.name, c.holder().name)
	})
}

func TestFailbackReturnsAnAddressToASettledNode(t *testing.T) {
	each(t, func(t *testing.T, of layout) {
		c := newClusterOf(t, of, 3, func(_ int, config *l2vip.Config) { config.Failback = time.Minute })
		first := c.holder()
		first.app.Set(health.State{})
		c.settle()
		require.NotEqual(t, first.name, c.holder().name)
		first.app.Set(health.State{Ready: true})
		time.Sleep(50 * time.Second)
		require.NotEqual(t, first.name, c.holder().name)
		none, _ := c.gap(20*time.Second, func() {})
		require.Zero(t, none)
		require.Equal(t, first.name, c.holder().name)
	})
}

func TestAddressOfAStrangerIsDisputed(t *testing.T) {
	each(t, func(t *testing.T, of layout) {
		c := newClusterOf(t, of, 2, nil)
		for _, n := range c.nodes {
			n.app.Set(health.State{})
		}
		c.settle()
		stranger := c.lan.stranger("printer")
		stranger.set(func(st *station) {
			st.running, st.lease = true, time.Now().Add(1<<62)
			st.assignments = answer(vip)
		})
		for _, n := range c.nodes {
			n.app.Set(health.State{Ready: true})
		}
		events := c.nodes[0].Events(t.Context(), 0)
		c.settle()
		require.Equal(t, []string{"printer"}, c.lan.answering(vip))
		require.Equal(t, election.Disputed, c.nodes[0].Status().Addresses[0].Reason)
		disputed := waitFor(t, events, l2vip.AddressDisputed)
		require.Equal(t, stranger.hardware().String(), disputed.Hardware)

		stranger.set(func(st *station) { st.running = false })
		time.Sleep(2 * time.Minute)
		c.holder()
	})
}

func TestAloneClaimsAfterAProbe(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := newCluster(t, 1, func(_ int, config *l2vip.Config) { config.Membership = l2vip.Alone })
		require.Equal(t, "front-0", c.holder().name)
	})
}

func TestConfigurationsThatDifferAreReported(t *testing.T) {
	each(t, func(t *testing.T, of layout) {
		c := newClusterOf(t, of, 2, func(i int, config *l2vip.Config) {
			if i == 1 {
				config.Services[0].Name = "mail"
			}
		})
		c.holder()
		s := c.nodes[0].Status()
		require.True(t, s.Members[1].ConfigDiffers)
		require.Equal(t, []string{"front-1"}, s.Addresses[0].OtherService)
		waitFor(t, c.nodes[0].Events(t.Context(), 0), l2vip.ConfigDiffers)
	})
}

func TestSetServicesReplacesTheWholeList(t *testing.T) {
	each(t, func(t *testing.T, of layout) {
		other := addr("192.168.122.101")
		c := newClusterOf(t, of, 2, nil)
		holder := c.holder()
		for _, n := range c.nodes {
			require.NoError(t, n.SetServices([]l2vip.Service{
				{Name: "web", Addresses: []netip.Addr{vip}},
				{Name: "mail", Addresses: []netip.Addr{other}},
			}))
		}
		c.settle()
		require.Equal(t, holder.name, c.holder().name, "what stays does not move")
		require.Len(t, c.lan.answering(other), 1)

		err := c.nodes[0].SetServices([]l2vip.Service{{Name: "web", Addresses: []netip.Addr{vip}}, {}})
		require.ErrorContains(t, err, "Services[1]")
		require.Equal(t, []netip.Addr{other}, c.nodes[0].Addresses("mail"), "nothing is half-applied")

		for _, n := range c.nodes {
			require.NoError(t, n.SetServices([]l2vip.Service{{Name: "mail", Addresses: []netip.Addr{other}}}))
		}
		c.settle()
		require.Empty(t, c.lan.answering(vip))
		require.Len(t, c.lan.answering(other), 1)
	})
}

// stuck is a health source that takes its time to end.
type stuck struct{ release chan struct{} }

func (s stuck) Run(ctx context.Context, report func(health.State)) error {
	report(health.State{Ready: true})
	<-ctx.Done()
	<-s.release
	return nil
}

func TestHealthSourceThatDoesNotEndHoldsNothingUp(t *testing.T) {
	bubble(t, func(t *testing.T) {
		source := stuck{make(chan struct{})}
		c := newCluster(t, 2, func(_ int, config *l2vip.Config) { config.Services[0].Health = source })
		holder := c.holder()
		none, _ := c.gap(5*time.Second, func() {
			require.NoError(t, holder.SetServices([]l2vip.Service{{Name: "web", Addresses: []netip.Addr{vip}}}))
		})
		require.Zero(t, none)
		require.Equal(t, holder.name, c.holder().name)
		close(source.release)
	})
}

func TestEventsTellTheStory(t *testing.T) {
	each(t, func(t *testing.T, of layout) {
		c := newClusterOf(t, of, 2, nil)
		holder := c.holder()
		ctx, cancel := context.WithCancel(t.Context())
		events := holder.Events(ctx, 0)
		require.Equal(t, vip, waitFor(t, events, l2vip.Claimed).Addr)
		holder.app.Set(health.State{Reason: "out of memory"})
		require.Equal(t, "not ready: out of memory", waitFor(t, events, l2vip.HealthChanged).Detail)
		last := waitFor(t, events, l2vip.Released)
		cancel()
		c.settle()
		for range events {
		}
		later := holder.Events(t.Context(), last.Seq-1)
		require.Equal(t, last, <-later)
	})
}

// waitFor returns the next event of the kind, and fails on a gap before it.
func waitFor(t *testing.T, events <-chan l2vip.Event, kind l2vip.Kind) l2vip.Event {
	t.Helper()
	var seq uint64
	for {
		select {
		case e, ok := <-events:
			require.True(t, ok, "no more events before %q", kind)
			require.True(t, seq == 0 || e.Seq == seq+1, "no gap")
			if seq = e.Seq; e.Kind == kind {
				return e
			}
		case <-time.After(time.Minute):
			require.Fail(t, "no event", kind)
		}
	}
}

func TestProcessThatWasStoppedYieldsToItsSuccessor(t *testing.T) {
	each(t, func(t *testing.T, of layout) {
		c := newClusterOf(t, of, 3, nil)
		stopped := c.holder()
		none, _ := c.gap(10*time.Second, func() {
			c.freeze(stopped)
			time.Sleep(5 * time.Second)
		})
		if c.engines == gossipAlone {
			require.Less(t, none, 800*time.Millisecond)
		} else {
			require.Less(t, none, l2vip.DefaultLease+l2vip.Profile{}.Detection()+probeTime, "its lease is waited for, and a probe")
		}
		successor := c.holder()
		none, several := c.gap(5*time.Second, func() { c.resume(stopped) })
		require.Zero(t, none)
		require.Zero(t, several, "it answers nothing before it has heard from the others")
		require.Equal(t, successor.name, c.holder().name)
		require.Contains(t, c.kinds(stopped), l2vip.LeaseLost)
		require.Contains(t, c.kinds(stopped), l2vip.LeaseRegained)
	})
}

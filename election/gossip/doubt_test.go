package gossip

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/memberlist"
	"github.com/stretchr/testify/require"

	"github.com/l2vip/l2vip/election"
)

// A member that was cut off says of all others that they are dead when it
// returns, and memberlist believes it until they have refuted that.
func TestMemberThatAnswersIsNotTakenForDead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, 3)
		var losses int
		nodes := []*node{s.node(0, watching(func(offers []election.Offer) {
			if len(offers) < 2 {
				losses++
			}
		})), s.node(1), s.node(2)}
		within(t, 10*time.Second, complete(nodes, 1))
		joining := losses

		said := &memberlist.Node{Name: "node-1", State: memberlist.StateDead}
		delegate{nodes[0].engine}.NotifyLeave(said)
		time.Sleep(3 * time.Second)
		require.Equal(t, joining, losses, "not even for a moment")
		require.Zero(t, nodes[0].Stats().Leaves)

		s.Host(simAddr(1)).PowerOff()
		within(t, 150*time.Millisecond, nodes[0].misses("node-1"), "it is still being asked")
		end(nodes[0], nodes[2])
		nodes[1].stop()
		<-nodes[1].done
	})
}

// A member that is starved answers no probe in time, and is joined again.
func TestMemberThatIsVouchedForIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, 3)
		nodes := s.cluster(3)
		vouch := func(names ...string) {
			for _, n := range nodes {
				n.Vouch(names)
			}
		}
		vouch("node-0", "node-1", "node-2")
		s.Partition([]netip.Addr{simAddr(0)})
		time.Sleep(vouchedFor / 2)
		require.Zero(t, nodes[1].Stats().Leaves)
		nodes[0].Publish(offer(7))
		s.Heal()
		within(t, time.Second, nodes[1].saw("node-0", 7))
		time.Sleep(time.Minute)
		require.Zero(t, nodes[1].Stats().Leaves, "all is well again")

		s.Partition([]netip.Addr{simAddr(0)})
		time.Sleep(vouchedFor / 2)
		vouch("node-1", "node-2")
		within(t, time.Second, nodes[1].misses("node-0"), "nobody hears it any more")
		s.Heal()
		within(t, 2*time.Second, nodes[1].saw("node-0", 7))

		vouch("node-0", "node-1", "node-2")
		s.Partition([]netip.Addr{simAddr(0)})
		within(t, vouchedFor+2*time.Second, nodes[1].misses("node-0"), "not for ever")
		end(nodes...)
	})
}

// What a member offered before it was taken for dead is void, even if it never
// changed: it may have been stopped, and have lost what it says it holds.
func TestMemberThatReturnsMustSayAgainWhatItOffers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, 3)
		nodes := s.cluster(3)
		nodes[0].mu.Lock()
		nodes[0].own = nil // no Runner that publishes
		nodes[0].mu.Unlock()
		s.Partition([]netip.Addr{simAddr(0)})
		within(t, time.Second, nodes[1].misses("node-0"))
		s.Heal()
		within(t, time.Second, func() bool { _, ok := nodes[1].sees("node-0"); return ok })
		time.Sleep(10 * time.Second)
		o, _ := nodes[1].sees("node-0")
		require.Equal(t, election.Offer{Node: "node-0"}, o)

		nodes[0].Publish(offer(1)) // the same
		within(t, 10*time.Millisecond, nodes[1].saw("node-0", 1))
		end(nodes...)
	})
}

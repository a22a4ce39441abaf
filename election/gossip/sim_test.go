package gossip

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/l2vip/l2vip/election"
)

func TestChangeArrivesInOneDatagram(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, 3)
		nodes := s.cluster(3)
		nodes[0].Publish(offer(2))
		// One latency of 200 µs, and the grain of the loop in within.
		for _, n := range nodes[1:] {
			within(t, 2*time.Millisecond, n.saw("node-0", 2))
		}
		end(nodes...)
	})
}

func TestFirstReport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, 3)
		began := time.Now()
		alone := s.node(0) // nodes 1 and 2 do not even have a host
		within(t, time.Second, func() bool { return alone.endpoint().IsValid() })
		require.Equal(t, dialTimeout, time.Since(began).Truncate(10*time.Millisecond), "both peers must fail first")
		offers, _ := alone.latest()
		require.Empty(t, offers)

		// A member that joins sees the others, complete, in the very first report.
		var first []election.Offer
		second := s.node(1, watching(func(m election.Membership) {
			if first == nil {
				first = slices.Clone(m.Offers)
			}
		}))
		within(t, time.Second, func() bool { return second.endpoint().IsValid() })
		require.Len(t, first, 1)
		require.EqualValues(t, 1, first[0].Config)
		end(alone, second)
	})
}

func TestReport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, 0)
		n := s.stranger(0)
		synctest.Wait()
		require.Equal(t, election.Membership{
			Offers: []election.Offer{}, Endpoint: simEndpoint(0), Detection: 400 * time.Millisecond,
		}, n.told)
		end(n)
	})
}

// The Runner numbers its offers for all the ways on which they travel, and the
// engine keeps its own count.
func TestOffersKeepTheNumbersOfTheirPublisher(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, 2)
		nodes := s.cluster(2)
		received := func() uint64 { return nodes[1].Stats().Offers }
		before := received()
		o := offer(1)
		for _, number := range []struct{ instance, revision uint64 }{{7, 9}, {7, 10}, {7, 3}, {6, 3}} {
			o.Instance, o.Revision = number.instance, number.revision
			nodes[0].Publish(o)
			nodes[0].Publish(o)
			time.Sleep(10 * time.Millisecond)
			nodes[0].Publish(o)
			time.Sleep(time.Second)
			got, _ := nodes[1].sees("node-0")
			require.Equal(t, number.instance, got.Instance)
			require.Equal(t, number.revision, got.Revision)
			before++
			require.Equal(t, before, received(), "once")
		}
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

// A log handler that hangs delays neither the members nor the end.
func TestLogHandlerThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, 2)
		release := make(chan struct{})
		cfg := Config{Peers: s.peers, Network: s.Host(simAddr(0)), Logger: slog.New(hanging{release})}
		nodes := []*node{start(t, "node-0", cfg, offering(offer(1))), s.node(1)}
		within(t, time.Second, complete(nodes, 1))
		end(nodes[1])
		within(t, time.Second, nodes[0].misses("node-1"))

		began := time.Now()
		end(nodes[0])
		require.LessOrEqual(t, time.Since(began), leaveTimeout+21*defaultProbeInterval/10+100*time.Millisecond)
		close(release)
	})
}

// hanging is a log handler that hangs until it is released.
type hanging struct{ release <-chan struct{} }

func (h hanging) Enabled(context.Context, slog.Level) bool { return true }
func (h hanging) WithAttrs([]slog.Attr) slog.Handler       { return h }
func (h hanging) WithGroup(string) slog.Handler            { return h }
func (h hanging) Handle(context.Context, slog.Record) error {
	<-h.release
	return nil
}

func TestCrashIsDetected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, 3)
		nodes := s.cluster(3)
		s.Host(simAddr(2)).PowerOff()
		for _, n := range nodes[:2] {
			within(t, 800*time.Millisecond, n.misses("node-2"))
		}
		require.Error(t, <-nodes[2].done, "its sockets were closed")
		end(nodes[:2]...)
	})
}

func TestLeaveIsSeenAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, 3)
		nodes := s.cluster(3)
		began := time.Now()
		nodes[2].stop()
		for _, n := range nodes[:2] {
			within(t, 2*time.Millisecond, n.misses("node-2"), "a farewell is no suspicion")
		}
		require.NoError(t, <-nodes[2].done)
		require.LessOrEqual(t, time.Since(began), leaveTimeout+21*defaultProbeInterval/10)
		_, reports := nodes[2].latest()
		nodes[0].Publish(offer(2))
		time.Sleep(5 * time.Second)
		_, after := nodes[2].latest()
		require.Equal(t, reports, after, "no report after Run has returned")
		end(nodes[:2]...)
	})
}

func TestPartitionHeals(t *testing.T) {
	for _, apart := range []time.Duration{2 * time.Second, 2 * memory} {
		t.Run(apart.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSim(t, 3)
				nodes := s.cluster(3)
				s.Partition([]netip.Addr{simAddr(0)})
				within(t, time.Second, nodes[1].misses("node-0"))
				within(t, time.Second, nodes[2].misses("node-0"))
				within(t, 3*time.Second, func() bool { o, _ := nodes[0].latest(); return len(o) == 0 })
				nodes[0].Publish(offer(2))
				nodes[1].Publish(offer(2))
				nodes[2].Publish(offer(2))
				time.Sleep(apart)
				s.Heal()
				// Two exchanges of a few latencies; gossip rounds take 20 ms.
				took := within(t, 10*time.Millisecond, complete(nodes, 2))
				t.Logf("complete %v after the partition has healed", took)
				end(nodes...)
			})
		})
	}
}

func TestLossIsRepaired(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, 3)
		nodes := s.cluster(3)
		s.SetLoss(0.3)
		var worst time.Duration
		for revision := uint64(2); revision < 50; revision++ {
			nodes[0].Publish(offer(revision))
			for _, n := range nodes[1:] {
				// A member may be taken for dead at such a loss; then it
				// comes back.
				worst = max(worst, within(t, 10*time.Second, n.saw("node-0", revision)))
			}
		}
		t.Logf("with 30%% loss a change took %v at most", worst)
		end(nodes...)
	})
}

func TestRestartVoidsEarlierOffers(t *testing.T) {
	for name, clock := range map[string]int64{
		"clock went on":   1_500_000_100,
		"clock went back": 1_499_990_000,
		"clock stood":     1_500_000_000,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSim(t, 3)
				a := s.node(0, at(1_500_000_000))
				b := s.node(1, at(1_500_000_000))
				ghost := s.node(2, at(1_500_000_000), offering(offer(77)))
				within(t, 5*time.Second, a.saw("node-2", 77))
				within(t, 5*time.Second, b.saw("node-2", 77))
				before := a.instanceOf("node-2")

				// The process is killed; its successor starts at once.
				s.Host(simAddr(2)).Crash()
				<-ghost.done
				again := s.node(2, at(clock), offering(offer(1)))
				for _, n := range []*node{a, b} {
					within(t, 50*time.Millisecond, n.saw("node-2", 1))
					require.Greater(t, n.instanceOf("node-2"), before)
				}
				require.Zero(t, a.Stats().Leaves, "no member may have noticed")
				within(t, time.Second, complete([]*node{a, b, again}, 1))
				end(a, b, again)
			})
		})
	}
}

func TestRestartWithoutOfferVoidsEarlierOffers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, 3)
		nodes := s.cluster(3)
		s.Host(simAddr(2)).Crash()
		<-nodes[2].done
		again := start(t, "node-2", Config{Peers: s.peers, Network: s.Host(simAddr(2))})
		for _, n := range nodes[:2] {
			within(t, 50*time.Millisecond, func() bool {
				o, ok := n.sees("node-2")
				return ok && o.Entries == nil && o.Instance == 0
			})
			require.Zero(t, n.Stats().Leaves)
			require.EqualValues(t, 1, n.Stats().Restarts)
		}
		end(nodes[0], nodes[1], again)
	})
}

func TestRestartAtAnotherAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, 2)
		nodes := s.cluster(3)
		s.Host(simAddr(2)).PowerOff()
		<-nodes[2].done
		moved := s.named(7, "node-2", offering(offer(2)))
		for _, n := range nodes[:2] {
			within(t, 3*time.Second, func() bool {
				o, ok := n.sees("node-2")
				return ok && o.Config == 2 && n.at("node-2") == simAddr(7)
			})
		}
		end(nodes[0], nodes[1], moved)
	})
}

// at returns where a node believes another to be.
func (n *node) at(name string) netip.Addr {
	n.engine.mu.Lock()
	defer n.engine.mu.Unlock()
	if m := n.engine.table.alive(name); m != nil {
		return m.addr.Addr()
	}
	return netip.Addr{}
}

// instanceOf returns the instance that a node knows of another.
func (n *node) instanceOf(name string) uint64 {
	n.engine.mu.Lock()
	defer n.engine.mu.Unlock()
	if m := n.engine.table.alive(name); m != nil {
		return m.instance
	}
	return 0
}

func TestLatePeerIsJoined(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, 2)
		early := s.node(0)
		time.Sleep(10 * time.Second)
		// The late one knows no other: only the early one can bring them together.
		late := start(t, "late", Config{Network: s.Host(simAddr(1)), Advertise: simAddr(1)}, offering(offer(1)))
		took := within(t, 300*time.Millisecond, early.saw("late", 1))
		t.Logf("joined %v after it started", took)
		within(t, 50*time.Millisecond, late.saw("node-0", 1))

		// And again after it died.
		s.Host(simAddr(1)).Crash()
		<-late.done
		within(t, time.Second, early.misses("late"))
		late = start(t, "late", Config{Network: s.Host(simAddr(1)), Advertise: simAddr(1)}, offering(offer(1)))
		within(t, 300*time.Millisecond, early.saw("late", 1))
		end(early, late)
	})
}

func TestSimultaneousJoins(t *testing.T) {
	for _, size := range []int{20, 50} {
		synctest.Test(t, func(t *testing.T) {
			s := newSim(t, 3)
			var nodes []*node
			for i := range size {
				nodes = append(nodes, s.node(i))
			}
			took := within(t, 10*time.Second, complete(nodes, 1))
			t.Logf("%d members know each other after %v", size, took)
			end(nodes...)
		})
	}
}

func TestLargeOffersInMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, 3)
		nodes := s.cluster(3)
		nodes[0].Publish(largeOffer(2, 10_000))
		within(t, 100*time.Millisecond, nodes[1].saw("node-0", 2))
		within(t, 100*time.Millisecond, nodes[2].saw("node-0", 2))
		// Superseded ones need not arrive, the last one must.
		for revision := uint64(3); revision < 20; revision++ {
			nodes[0].Publish(largeOffer(revision, 10_000))
		}
		within(t, time.Second, nodes[1].saw("node-0", 19))
		late := s.node(3)
		within(t, time.Second, late.saw("node-0", 19))
		o, _ := late.sees("node-0")
		require.Len(t, o.Entries, 10_000)
		end(append(nodes, late)...)
	})
}

func TestStreamsThatStallHoldNothingUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, 3)
		nodes := s.cluster(3)
		s.Host(simAddr(2)).PowerOff()
		<-nodes[2].done
		nodes[0].Publish(largeOffer(2, 10_000))
		within(t, 50*time.Millisecond, nodes[1].saw("node-0", 2))
		end(nodes[:2]...)
	})
}

func TestSync(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, 3)
		g, err := New(Config{Network: s.Host(simAddr(9)), Advertise: simAddr(9)})
		require.NoError(t, err)
		require.ErrorIs(t, g.Sync(t.Context()), ErrNotJoined)

		alone := s.node(0)
		require.ErrorIs(t, alone.Sync(t.Context()), ErrNotJoined)
		within(t, time.Second, func() bool { return alone.endpoint().IsValid() })
		require.NoError(t, alone.Sync(t.Context()), "no member is there")
		alone.leave(t)
		require.ErrorIs(t, alone.Sync(t.Context()), ErrNotJoined)

		nodes := s.cluster(3)
		s.SetLoss(1) // only streams are left
		nodes[1].Publish(offer(2))
		nodes[2].Publish(offer(2))
		require.NoError(t, nodes[0].Sync(t.Context()))
		require.True(t, nodes[0].saw("node-1", 2)() || nodes[0].saw("node-2", 2)())
		s.SetLoss(0)

		// The survivors hang: one is enough.
		s.Host(simAddr(1)).PowerOff()
		<-nodes[1].done
		began := time.Now()
		require.NoError(t, nodes[0].Sync(t.Context()))
		require.Less(t, time.Since(began), 10*time.Millisecond)

		s.Host(simAddr(2)).PowerOff()
		<-nodes[2].done
		require.Error(t, nodes[0].Sync(t.Context()), "they are live for all that it knows")
		end(nodes[0])
	})
}

func TestNameConflictIsReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, 3)
		first := s.named(0, "same")
		other := s.node(1)
		within(t, time.Second, other.saw("same", 1))
		second := s.named(2, "same", offering(offer(9)))
		within(t, 2*time.Second, func() bool {
			return first.Stats().Conflicts > 0 && second.Stats().Conflicts > 0 && other.Stats().Conflicts > 0
		})
		// They see a third one, not each other, and do not drive each other up
		// without end.
		time.Sleep(10 * time.Second)
		require.True(t, first.misses("same")())
		require.True(t, second.misses("same")())
		end(first, second, other)
	})
}

func TestEmptyKeyIsNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, 2)
		empty := func(n *node) { n.local.Keys = func(string) *election.Keys { return nil } }
		nodes := []*node{s.node(0, empty), s.node(1)}
		within(t, time.Second, complete(nodes, 1))
		end(nodes...)
	})
}

func TestForeignClusterStaysOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, 2)
		ours := s.node(0)
		theirs := start(t, "theirs", Config{Peers: s.peers, Network: s.Host(simAddr(1))}, in("other"))
		time.Sleep(5 * time.Second)
		for _, n := range []*node{ours, theirs} {
			offers, reports := n.latest()
			require.Empty(t, offers)
			require.NotZero(t, reports)
			require.NotZero(t, n.Stats().Dropped.Cluster)
		}
		end(ours, theirs)
	})
}

// TestDetectionTimes reports how long a dead member is taken for live.
func TestDetectionTimes(t *testing.T) {
	trials := 40
	if testing.Short() {
		trials = 10
	}
	for _, size := range []int{2, 3, 4, 5, 10} {
		var times []time.Duration
		for range trials {
			synctest.Test(t, func(t *testing.T) {
				s := newSim(t, size)
				nodes := s.cluster(size)
				time.Sleep(time.Second + rand.N(time.Second))
				began := time.Now()
				s.Host(simAddr(size - 1)).PowerOff()
				for _, n := range nodes[:size-1] {
					within(t, 3*time.Second, n.misses(nodes[size-1].name))
				}
				took := time.Since(began)
				times = append(times, took)
				require.GreaterOrEqual(t, took, nodes[0].told.Detection)
				end(nodes...)
			})
		}
		slices.Sort(times)
		at := func(percent int) time.Duration {
			return times[(len(times)-1)*percent/100].Round(time.Millisecond)
		}
		t.Logf("%2d members, %d trials: the last survivor noticed after %v at least, %v (median), %v (p99), %v at most",
			size, trials, at(0), at(50), at(99), at(100))
		require.Less(t, at(50), 600*time.Millisecond)
	}
}

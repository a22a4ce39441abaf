package l2vip_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/l2vip/l2vip"
	"github.com/l2vip/l2vip/election"
	"github.com/l2vip/l2vip/health"
)

// hangingLog is a log handler that hangs from its first line until it is released.
type hangingLog struct {
	slog.Handler
	release chan struct{}
}

func newHangingLog() hangingLog { return hangingLog{slog.DiscardHandler, make(chan struct{})} }

func (hangingLog) Enabled(context.Context, slog.Level) bool { return true }

func (h hangingLog) Handle(context.Context, slog.Record) error {
	<-h.release
	return nil
}

func (h hangingLog) WithAttrs([]slog.Attr) slog.Handler { return h }
func (h hangingLog) WithGroup(string) slog.Handler      { return h }

// runTakes is the most that Run may take to return, if nothing but a log hangs.
const runTakes = l2vip.DefaultHandoverTimeout + l2vip.DefaultLinger + 300*time.Millisecond

func TestLogThatHangsCostsLogLinesOnly(t *testing.T) {
	each(t, func(t *testing.T, of layout) {
		log := newHangingLog()
		defer close(log.release)
		c := newClusterOf(t, of, 3, func(_ int, config *l2vip.Config) { config.Logger = slog.New(log) })
		for range 100 {
			failed := c.holder()
			none, _ := c.gap(200*time.Millisecond, func() { failed.app.Set(health.State{Reason: "down"}) })
			require.Zero(t, none)
			failed.app.Set(health.State{Ready: true})
			time.Sleep(100 * time.Millisecond)
		}
		require.NotZero(t, c.holder().Status().LogDropped)
		none, several := c.gap(2*time.Second, func() { c.cut(c.holder()) })
		require.Less(t, none, 800*time.Millisecond)
		require.Zero(t, several)
		for _, n := range c.nodes {
			began := time.Now()
			require.NoError(t, n.stop())
			require.LessOrEqual(t, time.Since(began), runTakes)
		}
	})
}

// hangs is a part that does not end when it is told to.
type hangs struct {
	l2vip.Membership
	publish, run chan struct{} // until closed; nil: it does not hang
}

func (h hangs) Publish(election.Offer) {
	if h.publish != nil {
		<-h.publish
	}
}

func (h hangs) Run(ctx context.Context, local election.Local, report func(election.Membership)) error {
	err := h.Membership.Run(ctx, local, report)
	if h.run != nil {
		<-h.run
	}
	return err
}

func TestRunReturnsWhateverHangs(t *testing.T) {
	for _, tt := range []struct {
		name, want string
		hang       func(*l2vip.Config, chan struct{})
		within     time.Duration
	}{
		{"a health source", "did not end: health of web", func(c *l2vip.Config, release chan struct{}) {
			c.Services[0].Health = stuck{release}
		}, runTakes + time.Second},
		{"the end of the membership", "did not end: membership", func(c *l2vip.Config, release chan struct{}) {
			c.Membership = hangs{Membership: l2vip.Alone, run: release}
		}, runTakes + 2*time.Second},
		{"Publish", "it hangs in the Announcer, the Segment or the Membership", func(c *l2vip.Config, release chan struct{}) {
			c.Membership = hangs{Membership: l2vip.Alone, publish: release}
		}, runTakes + 7*time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				c := newClusterOf(t, layout{}, 0, nil)
				n, release := c.add("front-0"), make(chan struct{})
				c.start(0, func(_ int, config *l2vip.Config) { tt.hang(config, release) })
				time.Sleep(3 * time.Second)
				began := time.Now()
				require.ErrorContains(t, n.stop(), tt.want)
				require.LessOrEqual(t, time.Since(began), tt.within)
				n.stop = func() error { return nil }
				close(release)
				time.Sleep(time.Minute)
			})
		})
	}
}

// neverSynced is a membership that finds no live member for an exchange.
type neverSynced struct {
	l2vip.Membership
	tried *atomic.Int64
}

func (m neverSynced) Sync(context.Context) error {
	m.tried.Add(1)
	return errors.New("not joined")
}

func TestExchangesThatFailAreNotTriedAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := newClusterOf(t, layout{engines: gossipAlone}, 0, nil)
		var tried atomic.Int64
		for i := range 2 {
			c.add(fmt.Sprintf("front-%d", i))
		}
		for i := range 2 {
			c.start(i, func(i int, config *l2vip.Config) { config.Membership = neverSynced{c.gossip(i), &tried} })
		}
		c.settle()
		stopped := c.holder()
		c.freeze(stopped)
		time.Sleep(350 * time.Millisecond) // longer than the lease
		tried.Store(0)
		c.resume(stopped)
		c.settle()
		require.NotZero(t, tried.Load())
		require.Less(t, tried.Load(), int64(30))
		require.Contains(t, c.kinds(stopped), l2vip.LeaseRegained)
	})
}

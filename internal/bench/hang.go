package main

import (
	"slices"
	"sync/atomic"
	"time"

	"github.com/l2vip/l2vip"
	"github.com/l2vip/l2vip/election/segment"
)

// hangable is a segment that can hang, and the loop with it, which tells it what has
// changed.
type hangable struct {
	*segment.Segment
	next atomic.Int64 // for how long the next call of Set hangs
}

// makeHangable puts a segment into the configuration that can hang, which is otherwise
// the one that the Runner would have made.
func makeHangable(c *l2vip.Config) (*hangable, error) {
	inner, err := segment.New(segment.Config{Interval: c.Profile.Beat, Misses: c.Profile.Misses, Logger: c.Logger})
	if err != nil {
		return nil, err
	}
	h := &hangable{Segment: inner}
	c.Segment = h
	return h, nil
}

func (h *hangable) Set(s segment.State) {
	time.Sleep(time.Duration(h.next.Swap(0)))
	h.Segment.Set(s)
}

// hang makes the loop hang when a signal asks for it: with the next address that the
// node carries, it has something to tell.
func (h *hangable) hang(r *l2vip.Runner, services []l2vip.Service) {
	for range hangSignals() {
		h.next.Store(int64(away))
		_ = r.SetServices(append(slices.Clone(services), l2vip.Service{Addresses: carried(2)[1:]}))
	}
}

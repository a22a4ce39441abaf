package l2vip_test

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/l2vip/l2vip"
	"github.com/l2vip/l2vip/election/heartbeat"
)

// heart is the Heartbeat of a station: what package heartbeat does, without frames.
// The questions are not sent but looked up when their answers would be in.
type heart struct {
	station *station
	config  heartbeat.Config
	changed chan struct{}

	// All below is guarded by the segment's lock.
	beating  bool
	instance uint64
	state    heartbeat.State
	beatAt   time.Time
	paused   bool // its process was stopped when it last was its turn
	peers    map[string]*heard
	news     bool // the peers have changed
}

// heard is a member as another hears it.
type heard struct {
	heartbeat.Peer
	at     time.Time // the last beat
	again  time.Time // before this it is not judged again
	lease  time.Duration
	judged time.Time // since it was last heard
}

const (
	// idle is the time between two beats of a member that holds nothing, and
	// quiet is after how long without any a member is silent.
	idle, quiet = heartbeat.DefaultIdle, 4 * heartbeat.DefaultIdle
	// forgetAfter is after how long a member that is not heard is forgotten.
	forgetAfter = time.Minute
)

// beating gives a node the heartbeats of the profile Fast.
func beating(_ int, c *l2vip.Config) { beatingAs(l2vip.Fast())(0, c) }

// beatingAs gives a node the heartbeats of the profile.
func beatingAs(p l2vip.Profile) func(int, *l2vip.Config) {
	return func(_ int, c *l2vip.Config) {
		st := c.Announcer.(*station)
		h := &heart{
			station: st, config: heartbeat.Config{Interval: p.Beat, Misses: p.Misses},
			changed: make(chan struct{}, 1), peers: make(map[string]*heard),
		}
		st.segment.mu.Lock()
		defer st.segment.mu.Unlock()
		st.segment.hearts++
		h.instance, st.heart = st.segment.hearts, h
		c.Heartbeat = h
	}
}

func (h *heart) wake() {
	select {
	case h.changed <- struct{}{}:
	default:
	}
}

func (h *heart) Set(s heartbeat.State) {
	h.station.segment.mu.Lock()
	defer h.station.segment.mu.Unlock()
	if s.Holds != h.state.Holds {
		h.beatAt = time.Now()
	}
	h.state = s
	h.wake()
}

func (h *heart) Run(ctx context.Context, _ string, report func([]heartbeat.Peer)) error {
	h.station.set(func(*station) { h.beating = true })
	defer h.station.set(func(*station) { h.leave() })
	for ctx.Err() == nil {
		var next time.Time
		var sent func(time.Duration)
		var peers []heartbeat.Peer
		h.station.segment.locked(func() { next, sent, peers = h.advance(time.Now()) })
		if sent != nil {
			sent(0)
		}
		if peers != nil {
			report(peers)
		}
		timer := time.NewTimer(time.Until(next))
		select {
		case <-ctx.Done():
		case <-h.changed:
		case <-timer.C:
		}
		timer.Stop()
	}
	return nil
}

// advance does what is due: it beats and judges. It returns when to call it again,
// what to call because a beat was sent, and the peers if they have changed. The
// lock is held.
func (h *heart) advance(now time.Time) (next time.Time, sent func(time.Duration), peers []heartbeat.Peer) {
	next = now.Add(time.Hour)
	if h.station.dead || h.station.stopped {
		h.paused = true
		return next, nil, nil
	}
	if h.paused {
		h.paused = false
		for _, p := range h.peers {
			p.at = now // what came meanwhile is read first
		}
	}
	if !now.Before(h.beatAt) && len(h.state.Links) > 0 && !h.station.down {
		h.beat(now)
		h.beatAt, sent = now.Add(h.interval()), h.state.Sent
	}
	if h.beatAt.After(now) {
		next = h.beatAt
	}
	for name, p := range h.peers {
		if now.Sub(p.at) > forgetAfter {
			delete(h.peers, name)
			h.news = true
			continue
		}
		for _, at := range h.judge(now, p) {
			if at.Before(next) {
				next = at
			}
		}
	}
	if h.news {
		h.news = false
		peers = make([]heartbeat.Peer, 0, len(h.peers))
		for _, p := range h.peers {
			peers = append(peers, p.Peer)
		}
		slices.SortFunc(peers, func(a, b heartbeat.Peer) int { return cmp.Compare(a.Node, b.Node) })
	}
	return next, sent, peers
}

// interval is the time to the next beat.
func (h *heart) interval() time.Duration {
	if h.state.Holds {
		return h.config.Interval
	}
	return max(idle, h.config.Interval)
}

// beat tells all who hear it that this member is there.
func (h *heart) beat(now time.Time) {
	for _, other := range h.station.segment.stations {
		if o := other.heart; o != nil && o.beating && other.hears(h.station) && !other.misses(h.station.name) {
			o.hear(now, h)
		}
	}
}

// hear takes a beat.
func (h *heart) hear(now time.Time, from *heart) {
	name := from.station.name
	p := h.peers[name]
	if p == nil {
		p = new(heard)
		h.peers[name] = p
	}
	before := p.Peer
	p.Peer = heartbeat.Peer{
		Node: name, Instance: from.instance, Holds: from.state.Holds, Membership: from.state.Membership,
		Interval: from.interval(), HardwareAddr: [6]byte(from.station.hw), Leased: from.state.Holds && from.state.Lease > 0,
	}
	p.lease = from.state.Lease
	p.at, p.again, p.judged = now, time.Time{}, time.Time{}
	if p.Peer != before {
		h.news = true
		h.wake()
	}
}

// judge judges a peer, and returns when to do so again.
func (h *heart) judge(now time.Time, p *heard) (again []time.Time) {
	if due := p.at.Add(max(quiet, 4*p.Interval)); !p.Silent && now.Before(due) {
		again = append(again, due)
	} else if !p.Silent {
		p.Silent, h.news = true, true
	}
	if !p.Holds || p.Dead {
		return again
	}
	patience := p.Interval * time.Duration(h.config.Misses)
	over := p.at.Add(p.lease + patience)
	if leased := now.Before(over) && (p.judged.IsZero() || p.Stalled && !p.Gone); leased != p.Leased {
		p.Leased, h.news = leased, true
	}
	if p.Leased {
		again = append(again, over)
	}
	due := p.at.Add(heartbeat.Config{Interval: p.Interval, Misses: h.config.Misses}.Detection())
	if p.again.After(due) {
		due = p.again
	}
	if now.Before(due) {
		return append(again, due)
	}
	agree, object, kernel, gone, voices := h.ask(now, p, patience/2)
	gone = gone && object == 0
	h.news = h.news || p.Stalled != kernel || p.Gone != gone
	p.Stalled, p.Gone, p.judged = kernel, gone, now
	switch {
	case kernel:
		p.again = now.Add(5 * patience)
	case agree+object > 0 && agree <= object, agree+object == 0 && !voices:
		p.again = now.Add(patience)
	default:
		p.Dead, h.news = true, true
		return again
	}
	return append(again, p.again)
}

// ask asks for a peer: whether the others miss it too, whether its kernel answers
// and says that its process has ended, and whether anybody else is heard.
func (h *heart) ask(now time.Time, p *heard, missing time.Duration) (agree, object int, kernel, gone, voices bool) {
	st := h.station
	voices = st.side == 0 && !st.down && !st.segment.noClients && !st.misses("clients")
	for _, other := range st.segment.stations {
		if other == st || other.side != st.side || other.down || st.down || st.misses(other.name) {
			continue
		}
		if other.name == p.Node {
			kernel, gone = true, other.dead // whatever its processes do
			continue
		}
		voices = true
		if o := other.heart; o != nil && o.beating && st.hears(other) {
			switch q := o.peers[p.Node]; {
			case q == nil:
			case now.Sub(q.at) > missing:
				agree++
			default:
				object++
			}
		}
	}
	return agree, object, kernel, gone, voices
}

// leave tells the others that it beats no more.
func (h *heart) leave() {
	h.beating = false
	for _, other := range h.station.segment.stations {
		o := other.heart
		if o == nil || !other.hears(h.station) || other.misses(h.station.name) {
			continue
		}
		if p := o.peers[h.station.name]; p != nil && p.Instance == h.instance {
			p.Holds, p.Silent, o.news = false, true, true
			o.wake()
		}
	}
}

var _ l2vip.Heartbeat = (*heart)(nil)

package announce

import (
	"container/heap"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"github.com/l2vip/l2vip/internal/neighbor"
)

// claim is an assignment and what became of it.
type claim struct {
	Assignment
	on    []*port // the ports that carry it
	sent  int     // announcements, or probes, of this mode and claim
	due   time.Time
	index int // in the queue; -1 if there is nothing to send

	// Of Answer; due is the earlier of the two, or at once for a defense.
	announceAt, probeAt time.Time
	announced           time.Time // when the first one was sent; zero if none was
	defend              bool

	probe     ProbeResult // of Probe
	rival     *hardwareAddr
	sightings uint64
	sightedAt time.Time // when sightings were last reported, or are to be
}

// claim makes the claims what the assignments ask for. What is new, or is on an
// interface that is, has its first frame due at once.
func (e *engine) claim(assignments []Assignment) {
	var on []*port                      // reused
	answered := make(map[*hearing]bool) // and whether something was just claimed
	for i := range assignments {
		a := &assignments[i]
		c := e.claims[a.Addr]
		if c == nil {
			c = &claim{index: -1}
			e.claims[a.Addr] = c
		}
		again := c.Mode != a.Mode || c.Claim != a.Claim
		// What was not announced yet is about to be.
		defend := a.Mode == Answer && !again && c.sent > 0 && c.Defense != a.Defense
		if again {
			c.probe, c.rival, c.sightedAt, c.announced = Unknown, nil, time.Time{}, time.Time{}
		}
		c.Assignment = *a
		on = on[:0]
		for _, p := range e.ports {
			if p.carries(a) {
				on = append(on, p)
				again = again || !slices.Contains(c.on, p)
				if a.Mode == Answer {
					answered[p.hearing] = answered[p.hearing] || again
				}
			}
		}
		if !slices.Equal(on, c.on) {
			c.on = slices.Clone(on)
			e.regroup = true
		}
		switch {
		case a.Mode == Standby || a.Mode == Probe && c.probe != Unknown || len(on) == 0:
			e.unschedule(c)
		case again:
			// Due before every repeat: the first frame of every address comes
			// before the second of any.
			c.sent, c.defend = 0, false
			e.schedule(c, e.started)
		case defend:
			c.defend = true
			e.schedule(c, e.started)
		}
	}
	for _, h := range e.hearings {
		claimed, needed := answered[h]
		h.need(needed, claimed)
	}
	if len(e.claims) == len(assignments) {
		return
	}
	for addr, c := range e.claims {
		_, ok := slices.BinarySearchFunc(assignments, addr, func(a Assignment, addr netip.Addr) int { return a.Addr.Compare(addr) })
		if !ok {
			e.unschedule(c)
			delete(e.claims, addr)
			e.regroup = true
		}
	}
}

// joinGroups finds what groups the ports of NDP have to be members of, if that may
// have changed: those of all their addresses, held or not, so that a takeover need
// not wait for a switch to learn of it.
func (e *engine) joinGroups() {
	if !e.regroup {
		return
	}
	e.regroup = false
	for _, p := range e.ports {
		if p.groups == nil {
			continue
		}
		wanted := make(map[netip.Addr]bool)
		for addr, c := range e.claims {
			if slices.Contains(c.on, p) {
				wanted[groupOf(addr)] = true
			}
		}
		p.groups.sync(wanted)
	}
}

// stepGroups does a part of that, and sees to what can't be.
func (e *engine) stepGroups() {
	until := time.Now().Add(stepTime)
	for _, p := range e.ports {
		if p.groups == nil || !p.groups.busy() {
			continue
		}
		if p.groups.step(until); p.groups.busy() {
			return
		}
		for group, err := range p.groups.failed {
			e.regroup = true
			e.trouble("cannot join a multicast group", err, "interface", p.link.name, "group", group, "failed", len(p.groups.failed))
			break // one stands for all
		}
	}
}

// joining reports whether a port has groups to join or leave.
func (e *engine) joining() bool {
	return slices.ContainsFunc(e.ports, func(p *port) bool { return p.groups != nil && p.groups.busy() })
}

// schedule puts the claim at its place in the queue.
func (e *engine) schedule(c *claim, due time.Time) {
	c.due = due
	if c.index >= 0 {
		heap.Fix(&e.queue, c.index)
	} else {
		heap.Push(&e.queue, c)
	}
}

// unschedule takes the claim out of the queue.
func (e *engine) unschedule(c *claim) {
	if c.index >= 0 {
		heap.Remove(&e.queue, c.index)
	}
}

// transmit sends what is due, for a bounded number of claims at a time and as
// fast as the pacer lets it.
func (e *engine) transmit(now time.Time) {
	defer e.reportFirsts()
	for range sendBatch {
		if len(e.queue) == 0 || e.queue[0].due.After(now) || !e.pacer.ready(now) {
			return
		}
		switch c := e.queue[0]; {
		case len(c.on) == 0 || c.Mode == Standby:
			e.unschedule(c) // claim puts it back when there is an interface for it
		case c.Mode == Probe:
			e.transmitProbe(c, now)
		default:
			e.transmitAnswer(c, now)
		}
	}
}

// reportFirsts has it reported that addresses were announced, when no other waits
// for its first announcement: of many claimed at once that is one report.
func (e *engine) reportFirsts() {
	if e.firsts && (len(e.queue) == 0 || e.queue[0].due.After(e.started)) {
		e.firsts, e.changes = false, true
	}
}

// transmitProbe sends the next probe, or finds that nobody has answered them.
func (e *engine) transmitProbe(c *claim, now time.Time) {
	for _, p := range c.on {
		if p.groups != nil && !p.groups.tried(c.Addr) {
			// Who detects duplicates joins the group first, to hear others
			// that do the same (RFC 4862 section 5.4.2).
			e.schedule(c, now.Add(stepTime))
			return
		}
	}
	if c.sent == probeNum {
		if now.Sub(c.due) > probeWait {
			// This process did not run in time: what answers have come may
			// wait to be read still.
			e.schedule(c, now.Add(probeWait))
			return
		}
		c.probe, e.changes = Clear, true
		e.unschedule(c)
		return
	}
	wait := probeInterval
	if e.sendProbe(c, now) { // otherwise nobody has heard the question
		if c.sent++; c.sent == probeNum {
			wait = probeWait
		}
	}
	e.schedule(c, now.Add(wait))
}

// transmitAnswer announces or defends the claim, or probes for a rival that has
// the address too, if the lease holds: without it another node may have the
// address by now.
func (e *engine) transmitAnswer(c *claim, now time.Time) {
	leased := e.leased()
	speaks := leased && !c.Quiet
	if c.sent == 0 || c.defend || !now.Before(c.announceAt) {
		sent := 0
		if speaks {
			sent = e.announce(c, now)
		}
		switch {
		case c.defend: // on top of the repeats and the refresh
			c.defend = false
		case c.sent == 0 && sent > 0:
			c.sent = 1
			if c.announced.IsZero() {
				c.announced, e.firsts = now, true
			}
			c.announceAt = now.Add(announceAfter(c.sent, e.config.Refresh, 0))
			c.probeAt = now.Add(rivalProbeAfter(e.config.RivalProbe, rand.Float64()))
		default:
			if sent > 0 {
				if c.sent++; isRefresh(c.sent) {
					c.probeAt = now
				}
			}
			c.announceAt = now.Add(announceAfter(max(1, c.sent), e.config.Refresh, rand.Float64()))
		}
	}
	if c.sent == 0 {
		e.schedule(c, c.announceAt)
		return
	}
	if !now.Before(c.probeAt) {
		if leased {
			e.sendProbe(c, now)
		}
		c.probeAt = now.Add(rivalProbeAfter(e.config.RivalProbe, rand.Float64()))
	}
	if c.probeAt.Before(c.announceAt) {
		e.schedule(c, c.probeAt)
	} else {
		e.schedule(c, c.announceAt)
	}
}

// announce sends an announcement of the claim, and returns how many frames were
// sent.
func (e *engine) announce(c *claim, now time.Time) int {
	sent := e.sendOn(c, mayAnnounce, func(own hardwareAddr) ([][]byte, error) {
		return announcement(c.Addr, own, e.config.Router)
	})
	e.counter.announced.Add(uint64(sent))
	e.pacer.sent(len(c.on), now)
	return sent
}

// sendProbe sends a probe for the claim, and reports whether it was sent.
func (e *engine) sendProbe(c *claim, now time.Time) bool {
	sent := e.sendOn(c, mayProbe, func(own hardwareAddr) ([][]byte, error) {
		frame, err := neighbor.Probe(c.Addr, own)
		return [][]byte{frame}, err
	})
	e.counter.probes.Add(uint64(sent))
	e.pacer.sent(len(c.on), now)
	return sent > 0
}

// sendOn sends the frames on every port of the claim whose table still allows
// it, and returns how many were sent.
func (e *engine) sendOn(c *claim, allowed watch, frames func(own hardwareAddr) ([][]byte, error)) (sent int) {
	for _, p := range c.on {
		list, err := frames(p.link.hw)
		if err != nil {
			e.logger.Error("cannot build a frame", "address", c.Addr, "error", err)
			continue
		}
		sent += p.send(c.Addr, allowed, list)
	}
	return sent
}

// takeSightings takes note of other stations that claim addresses. Under a flood
// of claims it is woken now and then only, and reports an address once in
// sightedEvery.
func (e *engine) takeSightings(now time.Time) {
	for _, p := range e.ports {
		p.takeSeen(func(addr netip.Addr, s sighting) {
			e.quietUntil = now.Add(sightingsEvery)
			c := e.claims[addr]
			if c == nil || c.Mode == Standby {
				return
			}
			c.sightings += s.count
			c.rival = &s.sender
			if report := c.sightedAt.Add(sightedEvery); now.Before(report) {
				if now.Before(c.sightedAt) {
					report = c.sightedAt // as the one before
				}
				if c.sightedAt = report; e.sightAt.IsZero() || report.Before(e.sightAt) {
					e.sightAt = report
				}
				return
			}
			c.sightedAt, e.changes = now, true
			if c.Mode == Probe && c.probe == Unknown {
				c.probe = Conflict
				e.unschedule(c)
			}
			e.logger.Debug("another station claims an address", "address", c.Addr, "hardware", s.sender, "interface", p.link.name)
		})
	}
}

// queue is a heap of claims by the time at which they have something to send.
type queue []*claim

func (q queue) Len() int           { return len(q) }
func (q queue) Less(i, j int) bool { return q[i].due.Before(q[j].due) }
func (q queue) Swap(i, j int)      { q[i], q[j] = q[j], q[i]; q[i].index, q[j].index = i, j }

// Push implements [heap.Interface].
func (q *queue) Push(x any) {
	c := x.(*claim)
	c.index = len(*q)
	*q = append(*q, c)
}

// Pop implements [heap.Interface].
func (q *queue) Pop() any {
	last := len(*q) - 1
	c := (*q)[last]
	(*q)[last], c.index = nil, -1
	*q = (*q)[:last]
	return c
}

package announce

import (
	"container/heap"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"
)

// claim is an assignment and what became of it.
type claim struct {
	Assignment
	on    []*port   // the ports that carry it
	sent  int       // announcements, or probes, of this mode and claim
	due   time.Time // of the next one
	index int       // in the queue; -1 if there is nothing to send
	probe ProbeResult
	rival *hardwareAddr
}

// claim makes the claims what the assignments ask for. What is new, or is on an
// interface that is, has its first frame due at once.
func (e *engine) claim(assignments []Assignment) {
	var on []*port // reused
	for i := range assignments {
		a := &assignments[i]
		c := e.claims[a.Addr]
		if c == nil {
			c = &claim{index: -1}
			e.claims[a.Addr] = c
		}
		again := c.Mode != a.Mode || c.Claim != a.Claim
		if again {
			c.probe, c.rival = Unknown, nil
		}
		c.Assignment = *a
		on = on[:0]
		for _, p := range e.ports {
			if p.link.carries(a) {
				on = append(on, p)
				again = again || !slices.Contains(c.on, p)
			}
		}
		if !slices.Equal(on, c.on) {
			c.on = slices.Clone(on)
		}
		switch {
		case a.Mode == Standby || a.Mode == Probe && c.probe != Unknown || len(on) == 0:
			e.unschedule(c)
		case again:
			// Due before every repeat: the first frame of every address comes
			// before the second of any.
			c.sent = 0
			e.schedule(c, e.started)
		}
	}
	if len(e.claims) == len(assignments) {
		return
	}
	for addr, c := range e.claims {
		_, ok := slices.BinarySearchFunc(assignments, addr, func(a Assignment, addr netip.Addr) int { return a.Addr.Compare(addr) })
		if !ok {
			e.unschedule(c)
			delete(e.claims, addr)
		}
	}
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

// transmit sends what is due, for a bounded number of claims at a time.
func (e *engine) transmit(now time.Time) {
	for range sendBatch {
		if len(e.queue) == 0 || e.queue[0].due.After(now) {
			return
		}
		switch c := e.queue[0]; {
		case len(c.on) == 0 || c.Mode == Standby:
			e.unschedule(c) // claim puts it back when there is an interface for it
		case c.Mode == Probe:
			e.transmitProbe(c, now)
		default:
			e.transmitAnnouncement(c, now)
		}
	}
}

// transmitProbe sends the next probe, or finds that nobody has answered them.
func (e *engine) transmitProbe(c *claim, now time.Time) {
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
	sent := e.sendOn(c, mayProbe, func(own hardwareAddr) ([][]byte, error) {
		frame, err := probe(c.Addr, own)
		return [][]byte{frame}, err
	})
	e.counter.probes.Add(uint64(sent))
	wait := probeInterval
	if sent > 0 { // otherwise nobody has heard the question
		if c.sent++; c.sent == probeNum {
			wait = probeWait
		}
	}
	e.schedule(c, now.Add(wait))
}

// transmitAnnouncement announces the claim, if the lease holds: without it
// another node may have the address by now.
func (e *engine) transmitAnnouncement(c *claim, now time.Time) {
	if e.leased() {
		sent := e.sendOn(c, mayAnnounce, func(own hardwareAddr) ([][]byte, error) { return gratuitous(c.Addr, own) })
		e.counter.announced.Add(uint64(sent))
		if sent > 0 {
			c.sent++
		}
	}
	e.schedule(c, now.Add(announceAfter(max(1, c.sent), e.config.Refresh, rand.Float64())))
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
		sent += p.send(c.Addr.As4(), allowed, list)
	}
	return sent
}

// takeSightings takes note of other stations that claim addresses. Under a flood
// of claims it is woken now and then only.
func (e *engine) takeSightings(now time.Time) {
	for _, p := range e.ports {
		p.takeSeen(func(addr [4]byte, hw hardwareAddr) {
			e.quietUntil = now.Add(sightingsEvery)
			c := e.claims[netip.AddrFrom4(addr)]
			if c == nil || c.Mode == Standby || c.rival != nil && *c.rival == hw {
				return
			}
			c.rival, e.changes = &hw, true
			if c.Mode == Probe && c.probe == Unknown {
				c.probe = Conflict
				e.unschedule(c)
			}
			e.logger.Debug("another station claims an address", "address", c.Addr, "hardware", hw, "interface", p.link.name)
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

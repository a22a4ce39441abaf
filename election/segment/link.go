package segment

import (
	"bytes"
	"cmp"
	"slices"
	"time"
)

// link is a link of this host in use.
type link struct {
	Link
	address []byte // Addr
	since   time.Duration
	recent  stations
	pending map[handshakeKey]*handshake

	// others says that other stations than members are known on it, and expects that
	// members were known when it was opened, and no station was heard since.
	others, expects bool

	hears     []byte // the tags of the members that are heard, as beats tell them
	isolated  bool
	unheard   bool
	capturing bool
	provoked  time.Duration
	served    []time.Duration // when each part of this member's offer was last sent
}

// link returns an open link, or nil.
func (c *core) link(index int) *link {
	for _, l := range c.links {
		if l.Index == index {
			return l
		}
	}
	return nil
}

// setLinks takes which links are open.
func (c *core) setLinks(now time.Duration, open []Link) {
	for _, l := range c.links {
		same := func(o Link) bool { return o.Index == l.Index && o.HardwareAddr == l.HardwareAddr }
		if !slices.ContainsFunc(open, same) {
			c.closeLink(l.Index)
		}
	}
	for _, o := range open {
		l := c.link(o.Index)
		if l == nil {
			l = &link{pending: make(map[handshakeKey]*handshake)}
			// What happened while it was closed is not known until a station is heard.
			l.expects = slices.ContainsFunc(c.members, func(m *member) bool { return !m.own && !m.left })
			l.isolated = l.expects
			c.links = append(c.links, l)
		} else if l.Link == o {
			continue
		}
		l.Link, l.address = o, o.Addr.Unmap().AsSlice()
		c.soon(now, 0)
		c.changed, c.dirty = true, true
	}
	slices.SortFunc(c.links, func(a, b *link) int { return cmp.Compare(a.Index, b.Index) })
}

// closeLink forgets a link and what was known on it. The members stay known, with
// their offers.
func (c *core) closeLink(index int) {
	c.links = slices.DeleteFunc(slices.Clone(c.links), func(l *link) bool { return l.Index == index })
	for _, m := range c.members {
		m.left = m.gone()
		m.rows = slices.DeleteFunc(m.rows, func(r *row) bool { return r.link.Index == index })
	}
	c.changed, c.dirty = true, true
}

func (m *member) addRow(r *row) {
	m.rows = append(m.rows, r)
	slices.SortFunc(m.rows, func(a, b *row) int { return cmp.Compare(a.link.Index, b.link.Index) })
}

// station takes note that a station was heard on a link, by whatever frame: a kernel
// that answers is alive, whether its processes run or not.
func (c *core) station(now time.Duration, index int, from hardwareAddr) {
	l := c.link(index)
	if l == nil {
		return
	}
	l.recent.note(now, from)
	if l.isolated {
		c.rejoin(now, l)
	}
	if !l.capturing {
		return // none is asked for
	}
	other := true
	for _, m := range c.members {
		if r := m.row(l); r != nil && r.hw == from {
			other = false
			r.hostAlive = r.hostAlive || r.asking
		}
	}
	if other && !l.others {
		l.others, c.changed = true, true
	}
}

// rejoin ends the isolation of a link. What was known of its members is old: they
// are asked for anew, and have the time to beat first.
func (c *core) rejoin(now time.Duration, l *link) {
	l.isolated, l.expects = false, false
	c.changed, c.dirty = true, true
	c.soon(now, 0)
	c.logger.Info("this node hears stations on a link again", "link", l.Index)
	for _, m := range c.members {
		if r := m.row(l); r != nil && r.state != Left && !m.superseded {
			r.missedAt = now
			c.change(now, m, r, Suspect, rejoined)
			c.ask(now, m, r, c.patience(m, r)+askTime(r.interval))
		}
	}
}

// reviewLink finds out which members are heard on a link, whether it is isolated, and
// whether they hear this one.
func (c *core) reviewLink(now time.Duration, l *link) {
	var known, heard, capturing bool // rows that have not left, that are heard or not judged yet
	var hears, hearsNot, undecided bool
	var missed time.Duration
	c.list = c.list[:0]
	for _, m := range c.members {
		r := m.row(l)
		if r == nil || r.state == Left || m.superseded {
			continue
		}
		known = true
		heard = heard || r.hearing() || r.state == Suspect || r.asking
		capturing = capturing || r.asking || r.diagnosis == isAlone
		missed = max(missed, r.missedAt)
		if m.own || !r.listed() {
			continue
		}
		c.list = append(c.list, m.tag[:]...)
		if r.isolated {
			continue
		}
		hears = hears || r.hearsUs == yes
		hearsNot = hearsNot || r.hearsUs == no && r.hearing()
		undecided = undecided || r.hearsUs == unknown
	}
	if !bytes.Equal(c.list, l.hears) {
		l.hears = append(l.hears[:0], c.list...)
		c.soon(now, listBeat)
	}
	lonely := known && !heard && !l.isolated
	switch {
	case lonely && (l.recent.last() <= missed || now-l.recent.last() > 2*lonelyEvery):
		c.isolate(now, l)
	case l.isolated && !known && !(l.expects && len(c.members) > 0):
		l.isolated, c.changed = false, true
	}
	if unheard := hearsNot && !hears && !undecided && !l.isolated; l.unheard != unheard {
		l.unheard, c.changed = unheard, true
		c.logger.Info("whether this node is heard on a link has changed", "link", l.Index, "unheard", unheard)
	}
	c.capture(l, capturing || lonely || l.isolated)
	switch {
	case l.isolated:
		c.provoke(now, l, provokeEvery)
		c.wake(l.provoked + provokeEvery)
	case lonely:
		c.provoke(now, l, lonelyEvery)
		c.wake(l.provoked + lonelyEvery)
	}
}

// isolate notes that no station is heard on a link any more. What became of its
// members is not known.
func (c *core) isolate(now time.Duration, l *link) {
	l.isolated, c.changed = true, true
	c.soon(now, 0)
	c.count.isolations.Add(1)
	c.logger.Info("this node hears no station on a link", "link", l.Index)
	for _, m := range c.members {
		if r := m.row(l); r != nil && r.state != Left && !m.superseded {
			c.change(now, m, r, Unreachable, cutOff)
		}
	}
}

// provoke asks stations for a sign of life, unless that was done less than gap ago.
func (c *core) provoke(now time.Duration, l *link, gap time.Duration) {
	if l.provoked == 0 || now-l.provoked >= gap {
		l.provoked = now
		c.out.provoke(l.Index)
		for _, m := range c.members {
			if r := m.row(l); r != nil && r.addr.IsValid() && !r.hearing() {
				c.out.probe(l.Index, r.hw, r.addr)
			}
		}
		if c.said.Stations == nil {
			return
		}
		for _, s := range c.said.Stations(l.Index) {
			c.out.probe(l.Index, s.HardwareAddr, s.Addr)
			if !l.others && !c.isMember(l, s.HardwareAddr) {
				l.others, c.changed = true, true
			}
		}
	}
}

// isMember reports whether the station is a member's.
func (c *core) isMember(l *link, hw hardwareAddr) bool {
	return slices.ContainsFunc(c.members, func(m *member) bool {
		r := m.row(l)
		return r != nil && r.hw == hw
	})
}

// capture starts or ends to take note of stations by what they send to others.
func (c *core) capture(l *link, on bool) {
	if l.capturing != on {
		l.capturing = on
		c.out.capture(l.Index, on)
	}
}

// stations are the last two different stations that were heard, so that it is known
// when any other than a given one was.
type stations [2]struct {
	hw hardwareAddr
	at time.Duration
}

func (s *stations) note(now time.Duration, hw hardwareAddr) {
	if s[0].hw != hw {
		s[1] = s[0]
	}
	s[0].hw, s[0].at = hw, now
}

// last returns when a station was last heard; zero for never.
func (s *stations) last() time.Duration { return s[0].at }

// besides returns when a station other than hw was last heard; zero for never.
func (s *stations) besides(hw hardwareAddr) time.Duration {
	if s[0].hw != hw {
		return s[0].at
	}
	return s[1].at
}

package segment

import "time"

const (
	// maxMembers bounds the members that are remembered, and on each link those that
	// have not proven yet that they are alive now.
	maxMembers = 256
	// maxAtStation bounds the rows of one station on a link, and those of it that have
	// not proven yet that they are alive.
	maxAtStation = 16
	// maxProofs bounds the stations whose challenges are counted.
	maxProofs = 256
)

// handshakeKey is a row that is not admitted yet.
type handshakeKey struct {
	name     string
	instance uint64
	hw       hardwareAddr
}

// handshake is what such a row was asked.
type handshake struct {
	nonce uint64        // of the challenge
	asked time.Duration // when that was sent
}

// proofCount counts the challenges of one station that were answered in a second.
type proofCount struct {
	since time.Duration
	count int
}

// receiveUnproven takes a frame from an instance that is not known on the link, or
// not from there. It may be a replay unless it proves that it is not, and is
// answered with a challenge.
func (c *core) receiveUnproven(now time.Duration, l *link, from hardwareAddr, f *frame) {
	key := handshakeKey{string(f.sender), f.instance, from}
	h := l.pending[key]
	if f.kind == kindProof && h != nil && f.nonce == h.nonce && string(f.subject) == c.self {
		delete(l.pending, key)
		c.admit(now, l, from, f)
		return
	}
	c.count.unproven.Add(1)
	switch f.kind {
	case kindLeave:
		return
	case kindChallenge:
		c.prove(now, l, from, f)
	}
	if h == nil {
		if !l.room(from) {
			c.count.overflow.Add(1)
			return
		}
		if len(l.pending) >= maxMembers {
			clear(l.pending) // those that are alive come again
			c.count.overflow.Add(1)
		}
		h = &handshake{nonce: c.random()}
		l.pending[key] = h
	} else if now-h.asked < challengeEvery {
		return
	}
	h.asked = now
	c.transmit(l, from, &frame{kind: kindChallenge, subject: f.sender, about: f.instance, nonce: h.nonce})
}

// room reports whether one station may ask for the admission of one more row.
func (l *link) room(from hardwareAddr) bool {
	count := 0
	for key := range l.pending {
		if key.hw == from {
			count++
		}
	}
	return count < maxAtStation
}

// forgetPending forgets what has not been proven for a while.
func (l *link) forgetPending(now time.Duration) {
	for key, h := range l.pending {
		if now-h.asked > handshakeFor {
			delete(l.pending, key)
		}
	}
}

// rowsAt returns how many rows of a link are at a station.
func (c *core) rowsAt(l *link, hw hardwareAddr) (count int) {
	for _, m := range c.members {
		if r := m.row(l); r != nil && r.hw == hw && !m.superseded {
			count++
		}
	}
	return count
}

// prove answers a challenge, unless the station sends too many.
func (c *core) prove(now time.Duration, l *link, from hardwareAddr, f *frame) {
	if f.about != c.instance || string(f.subject) != c.self {
		return
	}
	p := c.proofs[from]
	if p == nil {
		if len(c.proofs) >= maxProofs {
			clear(c.proofs)
		}
		p = &proofCount{since: now}
		c.proofs[from] = p
	}
	if now-p.since >= time.Second {
		*p = proofCount{since: now}
	}
	if p.count >= provePerSecond {
		c.count.unanswered.Add(1)
		return
	}
	p.count++
	c.transmit(l, from, &frame{kind: kindProof, subject: f.sender, nonce: f.nonce})
}

// admit takes up a row that has proven that it is alive now.
func (c *core) admit(now time.Duration, l *link, from hardwareAddr, f *frame) {
	m := c.find(f.sender, f.instance)
	if (m == nil || m.row(l) == nil) && c.rowsAt(l, from) >= maxAtStation {
		c.count.overflow.Add(1)
		return
	}
	if m == nil {
		if len(c.members) >= maxMembers && !c.makeRoom() {
			c.count.overflow.Add(1)
			return
		}
		name := string(f.sender)
		m = &member{name: name, instance: f.instance, tag: tagOf(name, f.instance), own: name == c.self}
		m.interval = c.config.Idle
		c.members = append(c.members, m)
		c.byName[name] = append(c.byName[name], m)
	}
	r := m.row(l)
	if r == nil {
		r = &row{link: l, upSince: now}
		r.interval = c.config.Idle
		m.addRow(r)
	}
	r.hw, r.origin, r.replays = from, f.link, replays{highest: f.sequence}
	r.heard, r.again, m.heard = now, 0, now
	c.station(now, l.Index, from)
	c.change(now, m, r, Up, isHeard)
	m.superseded = false
	for _, other := range c.byName[m.name] {
		if former := other.row(l); other != m && former != nil && former.hw == from {
			other.superseded = true
		}
	}
	c.wake(now + c.patience(m, r))
	c.changed, c.dirty = true, true
	c.logger.Debug("a member is known on a link", "member", m.name, "instance", m.instance, "link", l.Index)
}

// makeRoom forgets the member that was not heard for longest, of those that are not
// alive. It reports whether there was one.
func (c *core) makeRoom() bool {
	var oldest *member
	for _, m := range c.members {
		if !m.alive() && (oldest == nil || m.heard < oldest.heard) {
			oldest = m
		}
	}
	if oldest != nil {
		c.remove(oldest)
	}
	return oldest != nil
}

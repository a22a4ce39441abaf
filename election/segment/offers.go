package segment

import (
	"time"

	"github.com/l2vip/l2vip/election"
)

const (
	// partLen is how much of an offer a frame carries, besides the longest names. An
	// offer that is no longer is sent to the group without being asked for.
	partLen = 1024
	// window is how many parts answer a request.
	window = 32
	// maxOffers bounds the offers of all members together, known and on their way, in
	// bytes on the wire: some hundred members with 10,000 addresses each.
	maxOffers = 64 << 20
	// maxInline bounds what is decoded on the thread that beats, in bytes.
	maxInline = 32 << 10
)

// statement is what this member says of itself, ready to be sent.
type statement struct {
	State
	membership []byte
	offer      ownOffer
}

// ownOffer is this member's offer, ready to be sent.
type ownOffer struct {
	revision uint64
	data     []byte // nil if it is not to be sent
	holds    bool
	digest   uint64
}

// transfer is the offer of another member on its way.
type transfer struct {
	revision uint64 // zero for none
	total    int    // zero before the first part
	data     []byte // as far as it has arrived without a gap
	window   int    // where what was asked for ends
	askAt    time.Duration
	pause    time.Duration
	done     bool
}

func newTransfer(revision uint64) transfer {
	return transfer{revision: revision, window: window * partLen, pause: requestFirst}
}

// prepare returns what is to be sent of a state that follows on before.
func prepare(s State, before *statement) *statement {
	next := &statement{State: s}
	next.Lease = min(max(s.Lease, 0), MaxLease)
	if len(s.Membership) <= maxMembership {
		next.membership = []byte(s.Membership)
	}
	switch o := &s.Offer; {
	case o.Revision < before.offer.revision, o.Revision > 0 && o.Revision == before.offer.revision:
		next.offer = before.offer
	default:
		next.offer = ownOffer{revision: o.Revision, digest: digestOf(o)}
		next.offer.holds = next.offer.digest != 0
		if o.Revision > 0 {
			next.offer.data, _ = o.AppendBinary(nil) // never fails
		}
	}
	return next
}

// pushOffer sends an offer that fits into one frame to all members.
func (c *core) pushOffer() {
	for _, l := range c.links {
		c.sendPart(l, 0)
	}
}

// serve answers a request for a part of this member's offer. All members on the link
// hear it; what they were just told is not told again.
func (c *core) serve(now time.Duration, l *link, f *frame) {
	o := &c.said.offer
	if f.revision != o.revision || f.offset >= len(o.data) || len(o.data) > MaxOffer {
		return
	}
	parts := (len(o.data) + partLen - 1) / partLen
	if len(l.served) != parts {
		l.served = make([]time.Duration, parts)
	}
	for i := f.offset / partLen; i < min(f.offset/partLen+window, parts); i++ {
		if at := l.served[i]; at == 0 || now-at >= serveEvery {
			l.served[i] = now
			c.sendPart(l, i)
		}
	}
}

// sendPart sends a part of this member's offer to all.
func (c *core) sendPart(l *link, part int) {
	o, offset := &c.said.offer, part*partLen
	c.count.served.Add(1)
	c.transmit(l, group, &frame{
		kind: kindPart, revision: o.revision, total: len(o.data),
		offset: offset, data: o.data[offset:min(offset+partLen, len(o.data))],
	})
}

// fetch asks a member for what is missing of the newest offer that is known of, if
// that is due.
func (c *core) fetch(now time.Duration, m *member) {
	t := &m.transfer
	if m.own || m.superseded {
		return
	}
	if m.revision > t.revision {
		*t = newTransfer(m.revision)
	}
	if t.revision == 0 || t.done {
		return
	}
	if now < t.askAt {
		c.wake(t.askAt)
		return
	}
	var from *row
	for _, r := range m.rows {
		if r.hearing() && (from == nil || r.heard > from.heard) {
			from = r
		}
	}
	if from == nil {
		return // its next beat leads here again
	}
	c.transmit(from.link, from.hw, &frame{kind: kindRequest, revision: t.revision, offset: len(t.data)})
	t.window = len(t.data) + window*partLen
	t.askAt = now + t.pause + time.Duration(c.random()%uint64(t.pause/4))
	t.pause = min(2*t.pause, requestMost)
	c.wake(t.askAt)
}

// takePart takes a part of an offer, whether this member has asked for it or not.
func (c *core) takePart(now time.Duration, m *member, f *frame) {
	t := &m.transfer
	if f.revision > t.revision && !m.own {
		*t = newTransfer(f.revision)
	}
	if f.revision != t.revision || t.done || m.own {
		return
	}
	if t.total == 0 {
		if c.offerBytes(m)+f.total > maxOffers {
			t.done = true // until it has another one
			c.count.overflow.Add(1)
			c.logger.Warn("there is no room for the offer of a member", "member", m.name, "bytes", f.total, "most", maxOffers)
			return
		}
		t.total = f.total
	}
	if t.total != f.total {
		c.count.badOffers.Add(1)
		return
	}
	known := len(t.data) - f.offset
	if known < 0 || known >= len(f.data) {
		return // one before it was lost, or all of it is known
	}
	t.data = append(t.data, f.data[known:]...)
	t.pause, t.askAt = requestFirst, now+requestFirst
	switch {
	case len(t.data) == t.total:
		data := t.data
		t.done, t.data, m.offerSize = true, nil, t.total
		c.decode(m, t.revision, data)
	case len(t.data) >= t.window:
		t.askAt = 0
		c.fetch(now, m)
	default:
		c.wake(t.askAt)
	}
}

// offerBytes returns how much the offers of all members take but m's.
func (c *core) offerBytes(m *member) (bytes int) {
	for _, o := range c.members {
		if o != m {
			bytes += max(o.offerSize, o.transfer.total)
		}
	}
	return bytes
}

// decode decodes an offer that has arrived, a large one elsewhere.
func (c *core) decode(m *member, revision uint64, data []byte) {
	done := func(o *election.Offer, err error) {
		if err != nil || o.Node != m.name || o.Instance != m.instance || o.Revision != revision {
			c.count.badOffers.Add(1)
			c.logger.Warn("the offer of a member is none", "member", m.name, "revision", revision, "error", err)
			return
		}
		c.count.arrived.Add(1)
		if m.arrived == nil || o.Newer(m.arrived) {
			m.arrived = o
		}
		c.adopt(m)
	}
	if len(data) > maxInline {
		c.out.decode(data, done)
		return
	}
	done(decodeOffer(data))
}

func decodeOffer(data []byte) (*election.Offer, error) {
	o := new(election.Offer)
	if err := o.UnmarshalBinary(data); err != nil {
		return nil, err
	}
	return o, nil
}

// adopt makes the offer that has arrived the one that counts, as soon as a beat has
// told of it: so it is always seen together with what its member holds.
func (c *core) adopt(m *member) {
	o := m.arrived
	if o == nil || o.Revision > m.revision {
		return
	}
	if m.arrived = nil; m.offer == nil || o.Newer(m.offer) {
		m.offer, m.held, c.changed = o, digestOf(o), true
	}
}

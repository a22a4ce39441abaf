package segment

import (
	"log/slog"
	"net/netip"
	"time"

	"github.com/l2vip/l2vip/election"
)

// output is what the core acts through.
type output interface {
	// send sends a payload out of a link, to a station or to the group, and reports
	// whether that worked. A beat is told to State.Sent.
	send(link int, to hardwareAddr, payload []byte, beat bool) bool
	// probe asks the kernel of a station for a sign of life: which station has addr?
	probe(link int, to hardwareAddr, addr netip.Addr)
	// provoke asks other stations on the link for one: the gateway, neighbors.
	provoke(link int)
	// probePort asks the kernel at an address, which a member has told, whether the
	// member's process still has the port open. It may answer by portClosed.
	probePort(at netip.AddrPort)
	// capture starts or ends to tell by station which stations are heard by ARP and
	// NDP.
	capture(link int, on bool)
	// decode decodes a large offer elsewhere. Then done is called on the thread of
	// the core.
	decode(data []byte, done func(*election.Offer, error))
}

// core decides. It has no clock, no sockets and no goroutine, and is not for
// concurrent use. Times are positive, and count from any moment, which origin is by the
// clock of package internal/clock.
type core struct {
	config Config
	local  *election.Local
	codec  *codec
	out    output
	random func() uint64
	logger *slog.Logger
	count  *counters

	identity
	said  *statement // what this member says of itself
	epoch uint64     // what is heard counts for it

	links   []*link
	members []*member
	byName  map[string][]*member // the same, by name
	proofs  map[hardwareAddr]*proofCount
	changed bool // the report has

	schedule
	scratch
}

// identity is who this member is.
type identity struct {
	self     string
	name     []byte // self
	instance uint64
	tag      tag
	port     uint16 // that is open while this process runs; zero if none is
	sequence uint64 // of the last frame
	origin   time.Duration
}

// schedule is when the core has something to do.
type schedule struct {
	dirty    bool          // review is due whatever the time
	due      time.Duration // when review is due
	beatAt   time.Duration // when the next beat is due
	beatSent time.Duration // when the last one was
	news     int           // how many of the next beats tell something new
	fenced   bool          // the last beat said so
	push     bool          // the offer goes out before the next beat
	expected time.Duration // when advance was to be called; zero before the first time
	late     lateness
}

// scratch is what is used again and again.
type scratch struct {
	in     frame
	buffer []byte
	list   []byte
}

// newCore returns a core for one start of a member.
func newCore(c Config, local *election.Local, out output, random func() uint64, count *counters) (*core, error) {
	codec, err := newCodec(local.Cluster, local.KeysFor(keyPurpose))
	if err != nil {
		return nil, err
	}
	return &core{
		config: c, local: local, codec: codec, out: out, random: random, logger: c.Logger, count: count,
		identity: identity{self: local.Name, name: []byte(local.Name), instance: local.Instance, tag: tagOf(local.Name, local.Instance)},
		said:     new(statement), byName: make(map[string][]*member), proofs: make(map[hardwareAddr]*proofCount),
	}, nil
}

// set takes what this member is to say of itself, and which of its links are open.
func (c *core) set(now time.Duration, s *statement, open []Link) {
	before := c.said
	c.said = s
	if s.offer.revision != before.offer.revision {
		for _, l := range c.links {
			l.served = nil
		}
		c.push = len(s.offer.data) > 0 && len(s.offer.data) <= partLen
		if len(s.offer.data) > MaxOffer {
			c.logger.Error("this member's offer is too long to be sent", "bytes", len(s.offer.data), "most", MaxOffer)
		}
		c.soon(now, 0)
	}
	if s.offer.digest != before.offer.digest {
		c.soon(now, 0) // the others learn at once which interval counts, too
	}
	c.setLinks(now, open)
}

// interval is the time to this member's next beat.
func (c *core) interval() time.Duration {
	if !c.said.offer.holds {
		return c.config.Idle
	}
	return max(c.config.Interval, min(c.late.usual(), c.config.Idle))
}

// relist gives the others the time to list this member among those that they hear: it
// did not beat for so long that they were right not to, in beats that waited here.
func (c *core) relist(now time.Duration) {
	for _, m := range c.members {
		for _, r := range m.rows {
			r.hearsUs, r.upSince = unknown, now
		}
	}
	c.changed, c.dirty = true, true
}

// soon makes the next beat go out as soon as gap has passed since the last one, and the
// others take notice of it.
func (c *core) soon(now, gap time.Duration) {
	c.news = newsBeats
	c.beatAt = min(c.beatAt, max(now, c.beatSent+gap))
}

// advance does what is due, and returns when to call it again. Everything that has
// arrived must have been given to receive and station before: so a process that did
// not run in time suspects no member for it, because it first reads what came
// meanwhile, and then asks, and reads again. Whether there was nothing left to read
// is what drained says.
func (c *core) advance(now time.Duration, drained bool) (next time.Duration) {
	c.rekey(now)
	if c.expected > 0 {
		late := max(0, now-c.expected)
		if own := c.interval(); own+late > patience(own, c.config.Misses)+askTime(own) {
			c.relist(now)
		}
		c.late.note(late) // a wider interval may follow
		if late > c.config.Interval {
			c.count.late.Add(1)
		}
	}
	if drained {
		c.epoch = c.said.Epoch
	}
	if c.dirty || now >= min(c.due, c.beatAt) { // for a beat it runs anyway
		c.review(now)
	}
	if now >= c.beatAt {
		if c.push {
			c.push = false
			c.pushOffer()
		}
		c.beat(now)
	}
	c.expected = min(c.due, c.beatAt)
	return c.expected
}

// rekey follows a rotation of the cluster's secrets.
func (c *core) rekey(now time.Duration) {
	keys := c.local.KeysFor(keyPurpose)
	if keys == c.codec.keys {
		return
	}
	codec, err := newCodec(c.local.Cluster, keys)
	if err != nil {
		c.logger.Error("the secrets of the cluster are not replaced", "error", err)
		return
	}
	c.codec = codec
	c.soon(now, 0)
}

// review looks at everything that time changes.
func (c *core) review(now time.Duration) {
	c.due = now + reviewEvery
	c.forget(now)
	for _, m := range c.members {
		for _, r := range m.rows {
			c.judge(now, m, r)
		}
		c.fetch(now, m)
	}
	for _, l := range c.links {
		l.forgetPending(now)
		c.reviewLink(now, l)
	}
	for _, m := range c.members {
		for _, r := range m.rows {
			c.reviewLease(now, m, r)
		}
	}
	c.dirty = false
}

// wake makes review due at the latest then.
func (c *core) wake(at time.Duration) { c.due = min(c.due, at) }

// beat sends a beat on all links.
func (c *core) beat(now time.Duration) {
	interval := c.interval()
	fenced := c.said.Valid != nil && !c.said.Valid()
	if fenced != c.fenced {
		c.fenced, c.news = fenced, newsBeats
	}
	for _, l := range c.links {
		f := &frame{
			kind: kindBeat, routine: c.news == 0, fenced: fenced, interval: interval, isolated: l.isolated, membership: c.said.membership,
			revision: c.said.offer.revision, hears: l.hears, address: l.address, port: c.port,
		}
		if !fenced {
			f.holds, f.lease, f.digest = c.said.offer.holds, c.said.Lease, c.said.offer.digest
		}
		if c.transmit(l, group, f) && l.since == 0 {
			l.since, c.changed = now, true
		}
	}
	c.beatAt, c.beatSent, c.news = now+interval, now, max(0, c.news-1)
}

// alert reports whether beats must be received as they come: a member is not heard, or
// not admitted yet, or has not beaten since the question which ones are heard from now
// on. Otherwise beats that tell nothing new may wait until this member has something to
// do, if it is known then when they arrived.
func (c *core) alert() bool {
	if c.epoch != c.said.Epoch {
		return true
	}
	for _, l := range c.links {
		if l.isolated || len(l.pending) > 0 {
			return true
		}
	}
	for _, m := range c.members {
		if m.superseded {
			continue
		}
		for _, r := range m.rows {
			if r.state != Left && (!r.hearing() || r.asking || m.epoch != c.epoch) {
				return true
			}
		}
	}
	return false
}

// receive takes a payload that arrived at the time now, which may lie a little in the
// past.
func (c *core) receive(now time.Duration, index int, via route, payload []byte) {
	l := c.link(index)
	if l == nil {
		return
	}
	if via.to != group && via.to != l.HardwareAddr {
		c.count.drop(errForeign)
		return
	}
	f, from := &c.in, via.from
	if err := c.codec.parse(payload, via, f); err != nil {
		c.count.drop(err)
		if why := refusalOf(err); why != "" {
			c.local.Refuse(election.HardwareAddr(via.from).String(), why)
		}
		return
	}
	if f.instance == c.instance && string(f.sender) == c.self {
		c.count.reflected.Add(1)
		return
	}
	m := c.find(f.sender, f.instance)
	var r *row
	if m != nil {
		r = m.row(l)
	}
	switch {
	case r == nil || (r.hw != from || r.origin != f.link) && f.sequence > r.replays.highest:
		c.receiveUnproven(now, l, from, f)
	case r.hw != from || r.origin != f.link:
		c.count.replayed.Add(1)
	case !r.replays.take(f.sequence):
		c.count.replayed.Add(1)
	case f.sequence < r.replays.highest && (f.kind == kindBeat || f.kind == kindLeave):
		c.count.overtaken.Add(1) // by one that tells more
	default:
		c.station(now, l.Index, from)
		c.take(now, m, r, f)
	}
}

// replays tells which frames of a member on a link have been received. Frames may
// overtake each other, by fewer than 64.
type replays struct {
	highest uint64
	seen    uint64 // of the 64 before highest: bit n for highest-1-n
}

// take reports whether the frame with that sequence is new, and notes it.
func (r *replays) take(sequence uint64) bool {
	switch ahead := sequence - r.highest; {
	case sequence > r.highest:
		// A shift by 64 or more leaves nothing.
		r.seen = r.seen<<ahead | 1<<(ahead-1)
		r.highest = sequence
		return true
	case sequence == r.highest || r.highest-sequence > 64:
		return false
	}
	bit := uint64(1) << (r.highest - sequence - 1)
	fresh := r.seen&bit == 0
	r.seen |= bit
	return fresh
}

// take takes a frame that is authentic, proven and new.
func (c *core) take(now time.Duration, m *member, r *row, f *frame) {
	switch f.kind {
	case kindBeat:
		c.hear(now, m, r, f)
	case kindChallenge:
		c.prove(now, r.link, r.hw, f)
	case kindAsk:
		c.answer(now, r, f)
	case kindAnswer:
		if q := c.find(f.subject, f.about); q != nil && q != m {
			if asked := q.row(r.link); asked != nil && asked.asking {
				before, again := asked.answers[m]
				asked.answers[m] = f.missing && (before || !again) // a veto stands
			}
		}
	case kindLeave:
		c.change(now, m, r, Left, hasLeft)
	case kindRequest:
		c.serve(now, r.link, f)
	case kindPart:
		c.takePart(now, m, f)
	}
}

// answer tells a member that asks whether the subject is heard on the link. The
// subject itself beats.
func (c *core) answer(now time.Duration, asker *row, f *frame) {
	if f.about == c.instance && string(f.subject) == c.self {
		c.soon(now, extraBeat)
		return
	}
	m := c.find(f.subject, f.about)
	if m == nil {
		return // nothing is known of it
	}
	if r := m.row(asker.link); r != nil {
		missing := now-r.heard > missingAfter(r.interval, c.patience(m, r))
		c.transmit(asker.link, asker.hw, &frame{kind: kindAnswer, subject: f.subject, about: f.about, missing: missing})
	}
}

// leave tells the others that this member stops beating.
func (c *core) leave() {
	for _, l := range c.links {
		c.transmit(l, group, &frame{kind: kindLeave})
	}
}

// transmit sends one frame, and reports whether that worked.
func (c *core) transmit(l *link, to hardwareAddr, f *frame) bool {
	c.sequence++
	f.sender, f.instance, f.sequence, f.link = c.name, c.instance, c.sequence, uint32(l.Index)
	c.buffer = c.codec.append(c.buffer[:0], route{l.HardwareAddr, to}, f)
	c.count.sent.Add(1)
	return c.out.send(l.Index, to, c.buffer, f.kind == kindBeat)
}

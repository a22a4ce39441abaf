package segment

import (
	"net/netip"
	"slices"
	"time"

	"github.com/l2vip/l2vip/election"
)

// member is one start of another member, or of one with this member's name.
type member struct {
	name     string
	instance uint64
	tag      tag
	own      bool // it has this member's name
	left     bool // it has said that it stops, and its rows are forgotten
	// superseded says that a later start was admitted at the same station, and this
	// one was not heard since.
	superseded bool
	rows       []*row // by index of the link

	lastBeat

	offer    *election.Offer // as far as its beats have told of it
	held     uint64          // the digest of what that says is held
	arrived  *election.Offer // one of which no beat has told yet
	transfer transfer

	offerSize int // of the last one that arrived, in bytes on the wire
}

// lastBeat is what the last beat of a member said, on whatever link.
type lastBeat struct {
	sequence   uint64
	heard      time.Duration
	interval   time.Duration
	holds      bool
	fenced     bool
	lease      time.Duration
	membership string
	port       uint16 // open while its process runs; zero if none is
	revision   uint64
	digest     uint64
	epoch      uint64 // of this member, then
}

// row is a member on one link. Its state changes in one place, change:
//
//	from                  to           diagnosis
//	any                   Up           isHeard: it proves that it is alive now, or beats
//	Up, heard             Suspect      isMissing: no beat for its patience
//	Suspect               Up           othersHear: at least as many as miss it, too
//	Suspect               Ended        portClosed: and no other member hears it
//	Suspect               Stalled      hostAlive
//	Suspect               Up           isAlone: no other station was heard since; Stalled and Ended stay
//	Suspect               Unreachable  noAnswer
//	any but Left          Unreachable  cutOff: the link is isolated
//	any but Left          Suspect      rejoined: the link is not isolated any more
//	any                   Left         hasLeft
//
// Up without being heard, Stalled and Ended are looked at again after a while, and
// then go where Suspect does; but of Ended becomes no Stalled.
type row struct {
	link    *link
	hw      hardwareAddr // both fixed when it was admitted
	origin  uint32       // the member's own number for the link
	replays replays

	heardOn
	hearsUs hearsUs
	upSince time.Duration // since when hearsUs may be told

	state     PeerState
	diagnosis diagnosis
	leased    bool
	missedAt  time.Duration // when it began to be asked for without any answer since
	again     time.Duration // before this it is not asked for again
	inquiry
}

// heardOn is what the last beat of a member on a link said.
type heardOn struct {
	heard    time.Duration
	interval time.Duration
	addr     netip.Addr
	isolated bool
}

// inquiry is what comes of asking for a member on a link.
type inquiry struct {
	asking     bool
	asked      time.Duration
	until      time.Duration // when it is judged
	repeated   bool
	tries      int              // how often it was asked for again because of an answer that is missing
	answers    map[*member]bool // whether others miss it
	hostAlive  bool             // its kernel gave a sign of life
	portClosed bool             // and says that its process has ended
}

// diagnosis is why a row is in its state.
type diagnosis uint8

const (
	isHeard diagnosis = iota
	isMissing
	othersHear
	isAlone
	hostAlive
	portClosed
	noAnswer
	cutOff
	rejoined
	hasLeft
)

func (d diagnosis) String() string {
	return [...]string{
		"its beats arrive", "its beats are missing", "other members hear it", "no other station is heard either",
		"its kernel answers", "its process has ended", "no answer", "this node hears no station on the link",
		"this node hears stations on the link again", "it has said that it stops",
	}[d]
}

// hearsUs is whether a member hears this one on a link.
type hearsUs uint8

const (
	unknown hearsUs = iota
	yes
	no
)

// find returns a member, or nil.
func (c *core) find(name []byte, instance uint64) *member {
	for _, m := range c.byName[string(name)] {
		if m.instance == instance {
			return m
		}
	}
	return nil
}

// row returns what is known of the member on a link, or nil.
func (m *member) row(l *link) *row {
	for _, r := range m.rows {
		if r.link == l {
			return r
		}
	}
	return nil
}

// hearing says that the beats arrive.
func (r *row) hearing() bool { return r.state == Up && r.diagnosis == isHeard }

// listed says that the member is among those that this one says it hears.
func (r *row) listed() bool { return r.hearing() || r.state == Suspect && r.diagnosis == isMissing }

// gone says that the member has said that it stops.
func (m *member) gone() bool {
	if len(m.rows) == 0 {
		return m.left
	}
	return !slices.ContainsFunc(m.rows, func(r *row) bool { return r.state != Left })
}

// alive says that the member counts among those that use its name.
func (m *member) alive() bool {
	return !m.superseded && slices.ContainsFunc(m.rows, func(r *row) bool {
		return r.state == Up || r.state == Suspect || r.state == Stalled && r.leased
	})
}

// change changes the state of a row.
func (c *core) change(now time.Duration, m *member, r *row, to PeerState, why diagnosis) {
	from, before := r.state, r.diagnosis
	r.state, r.diagnosis = to, why
	if to != Suspect {
		r.asking = false
	}
	if from == to && before == why {
		return
	}
	c.changed, c.dirty = true, true
	level := c.logger.Info
	switch {
	case to == Suspect:
		c.count.suspicions.Add(1)
		level = c.logger.Debug
	case why == isHeard && before == isMissing:
		level = c.logger.Debug
	case why == isHeard:
		r.hearsUs, r.upSince = unknown, now
		c.count.returns.Add(1)
	case why == othersHear || why == isAlone:
		c.count.vetoed.Add(1)
	case to == Stalled:
		c.count.stalled.Add(1)
	case to == Ended:
		c.count.ended.Add(1)
	case why == noAnswer:
		c.count.unreachable.Add(1)
	}
	level("a member on a link", "member", m.name, "link", r.link.Index, "before", from, "now", to, "reason", why, "silent", now-r.heard)
}

// hear takes a beat.
func (c *core) hear(now time.Duration, m *member, r *row, f *frame) {
	r.heard, r.again = now, 0
	c.change(now, m, r, Up, isHeard)
	if r.isolated && !f.isolated {
		r.hearsUs, r.upSince = unknown, now // its link has just come up: this member is to prove itself there
	}
	if addr := f.addr(); r.addr != addr || r.isolated != f.isolated {
		r.addr, r.isolated = addr, f.isolated
		c.changed, c.dirty = true, true
	}
	r.interval = f.interval
	c.noteHearsUs(now, r, f)
	c.wake(now + c.patience(m, r))
	if m.superseded {
		m.superseded, c.changed, c.dirty = false, true, true
	}
	if m.own {
		c.count.namesakes.Add(1)
	}
	if f.sequence < m.sequence {
		return // it said more on another link since
	}
	m.sequence, m.heard = f.sequence, now
	if m.holds != f.holds || m.lease != f.lease {
		m.holds, m.lease, c.dirty = f.holds, f.lease, true
	}
	if m.interval != f.interval || m.fenced != f.fenced || m.revision != f.revision || m.digest != f.digest || m.epoch != c.epoch {
		m.interval, m.fenced, m.revision, m.digest, m.epoch = f.interval, f.fenced, f.revision, f.digest, c.epoch
		c.changed = true
	}
	m.port = f.port
	if m.membership != string(f.membership) {
		m.membership, c.changed = string(f.membership), true
	}
	c.adopt(m)
	c.fetch(now, m)
}

// noteHearsUs takes note whether a member lists this one among those that it hears.
func (c *core) noteHearsUs(now time.Duration, r *row, f *frame) {
	hears := no
	for b := f.hears; len(b) >= tagLen; b = b[tagLen:] {
		if tag(b) == c.tag {
			hears = yes
			break
		}
	}
	if hears == no && r.hearsUs == unknown && now-r.upSince < listTime(c.interval(), f.interval) {
		return
	}
	if r.hearsUs != hears {
		r.hearsUs, c.changed, c.dirty = hears, true, true
	}
}

// patience is after how long without a beat a member is suspected on a link.
func (c *core) patience(m *member, r *row) time.Duration {
	if m.holds {
		return patience(r.interval, c.config.Misses)
	}
	return idlePatience(r.interval, c.config.Interval, c.config.Misses)
}

// judge does for a row what is due.
func (c *core) judge(now time.Duration, m *member, r *row) {
	wait := askTime(r.interval)
	switch {
	case r.state == Left || m.superseded || r.link.isolated:
	case r.asking && now >= r.until:
		c.conclude(now, m, r)
		c.wake(r.again)
	case r.asking:
		if half := r.asked + wait/2; now < half {
			c.wake(half)
			return
		} else if !r.repeated {
			r.repeated = true
			c.question(now, m, r) // a frame may be lost
		}
		c.wake(r.until)
	case r.state == Unreachable:
	default:
		if due := max(r.heard+c.patience(m, r), r.again); now < due {
			c.wake(due)
			return
		}
		if r.diagnosis != isAlone {
			r.missedAt = now
		}
		if r.hearing() {
			c.change(now, m, r, Suspect, isMissing)
		}
		c.ask(now, m, r, wait)
	}
}

// ask begins to ask for a row, which is judged after wait.
func (c *core) ask(now time.Duration, m *member, r *row, wait time.Duration) {
	r.asking, r.asked, r.until = true, now, now+wait
	r.repeated, r.tries, r.hostAlive, r.portClosed = false, 0, false, false
	if r.answers == nil {
		r.answers = make(map[*member]bool)
	}
	clear(r.answers)
	c.question(now, m, r)
	c.wake(now + askTime(r.interval)/2)
}

// question asks for a member: the others whether they hear it, its own kernel for a
// sign of life, and other stations for one of theirs.
func (c *core) question(now time.Duration, m *member, r *row) {
	c.capture(r.link, true)
	c.transmit(r.link, group, &frame{kind: kindAsk, subject: []byte(m.name), about: m.instance})
	if r.addr.IsValid() {
		c.out.probe(r.link.Index, r.hw, r.addr)
	}
	if r.addr.IsValid() && m.port != 0 {
		c.out.probePort(netip.AddrPortFrom(r.addr, m.port))
	}
	c.provoke(now, r.link, provokeLeast)
}

// conclude judges a row that was asked for.
func (c *core) conclude(now time.Duration, m *member, r *row) {
	agree, object := 0, 0
	for _, missing := range r.answers {
		if missing {
			agree++
		} else {
			object++
		}
	}
	r.asking = false
	waited := c.patience(m, r)
	switch {
	case object > 0 && object >= agree:
		r.again = now + waited
		c.change(now, m, r, Up, othersHear)
	case r.portClosed && object == 0:
		r.again = now + recheck*waited
		c.change(now, m, r, Ended, portClosed)
	case r.state == Ended && r.hostAlive:
		r.again = now + recheck*waited // kernels tell of closed ports now and then only
	case r.hostAlive || r.portClosed:
		r.again = now + recheck*waited
		c.change(now, m, r, Stalled, hostAlive)
	case agree == 0 && r.link.recent.besides(r.hw) <= r.missedAt:
		// It may be this member that is cut off.
		r.again = now + waited
		to := Up
		if r.state == Stalled || r.state == Ended {
			to = r.state
		}
		c.change(now, m, r, to, isAlone)
	case object == 0 && r.tries < maxTries && c.unanswered(m, r):
		// An answer that was lost may be a veto.
		r.tries++
		r.asking, r.asked, r.until, r.repeated = true, now, now+askTime(r.interval), false
		c.question(now, m, r)
		c.wake(now + askTime(r.interval)/2)
	default:
		r.again = now + reviewEvery
		c.change(now, m, r, Unreachable, noAnswer)
	}
}

// unanswered reports whether a member that is heard on the link, and hears this one,
// has not answered the question for another one.
func (c *core) unanswered(m *member, r *row) bool {
	return slices.ContainsFunc(c.members, func(other *member) bool {
		o := other.row(r.link)
		_, answered := r.answers[other]
		return other != m && !other.own && !other.superseded && !answered &&
			o != nil && o.hearing() && !o.isolated && o.hearsUs == yes
	})
}

// portClosed takes note that a kernel says that no process listens at the address.
func (c *core) portClosed(at netip.AddrPort) {
	for _, m := range c.members {
		for _, r := range m.rows {
			r.portClosed = r.portClosed || r.asking && m.port == at.Port() && r.addr == at.Addr()
		}
	}
}

// reviewLease notes whether a row is leased. The last beat that was sent may be one
// that was lost.
func (c *core) reviewLease(now time.Duration, m *member, r *row) {
	over := r.heard + m.lease + c.patience(m, r)
	leased := m.holds && m.lease > 0 && now < over && r.state != Unreachable && r.state != Left
	if leased {
		c.wake(over)
	}
	if r.leased != leased {
		r.leased, c.changed = leased, true
	}
}

// forget forgets members that were not heard for long.
func (c *core) forget(now time.Duration) {
	for _, m := range c.members {
		isolated := slices.ContainsFunc(m.rows, func(r *row) bool { return r.link.isolated })
		if now-m.heard > forgetAfter && !m.alive() && !isolated {
			c.remove(m)
		}
	}
}

// remove forgets a member.
func (c *core) remove(m *member) {
	same := func(other *member) bool { return other == m }
	c.members = slices.DeleteFunc(slices.Clone(c.members), same)
	if left := slices.DeleteFunc(c.byName[m.name], same); len(left) > 0 {
		c.byName[m.name] = left
	} else {
		delete(c.byName, m.name)
	}
	c.changed, c.dirty = true, true
}

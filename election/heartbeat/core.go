package heartbeat

import (
	"cmp"
	"log/slog"
	"net/netip"
	"slices"
	"time"
)

// output is what the core acts through.
type output interface {
	// send sends a payload out of a link, to a station or to the group.
	send(link int, to hardwareAddr, payload []byte)
	// ask asks the kernel of a station for a sign of life: who has addr?
	ask(link int, to hardwareAddr, addr netip.Addr)
	// provoke asks other stations on the link for one: the gateway, neighbors.
	provoke(link int)
	// knock asks the kernel at an address, which a member has told, whether the
	// member's process still listens there. It may tell by refused.
	knock(membership string)
}

// Link is an interface to beat on.
type Link struct {
	// Index is the kernel's number for it.
	Index int
	// HardwareAddr is its Ethernet address.
	HardwareAddr [6]byte
	// Addr is an address of this host on the link that its kernel answers for
	// by ARP or NDP: proof that the host is alive when this process is not
	// scheduled. Invalid if there is none.
	Addr netip.Addr
}

// core decides. It has no clock, no sockets and no goroutine, and is not for
// concurrent use. Times count from any moment, and are never zero.
type core struct {
	config Config
	codec  *codec
	out    output
	random func() uint64
	logger *slog.Logger
	count  *counters

	self     string
	instance uint64
	sequence uint64
	state    State // what this member says of itself

	peers    map[string]*peer
	suitors  map[string]*suitor
	changed  bool            // the picture of the peers has
	keen     bool            // signs of life are waited for
	voices   map[int]*voices // by link
	expected time.Duration   // when advance was to be called; zero before the first time
	beatAt   time.Duration   // when the next beat is due
	late     lateness
	buffer   []byte
}

// suitor is a member, or an instance of one, that has not proven yet that it is
// alive now.
type suitor struct {
	nonce uint64        // of the challenge
	asked time.Duration // when that was sent
}

// peer is another member as its frames show it.
type peer struct {
	name     string
	instance uint64
	sequence uint64 // the highest seen

	link       int
	hw         hardwareAddr
	addr       netip.Addr
	membership string
	interval   time.Duration
	holds      bool
	lease      time.Duration
	heard      time.Duration // the last frame
	silent     bool          // that was long ago

	state   state
	since   time.Duration // since when it is suspected
	again   time.Duration // before this it is not suspected again
	repeat  bool          // the question was repeated
	agree   int           // others that miss it too
	object  int           // others that hear it
	excused bool          // its kernel gave a sign of life
	refused bool          // and says that its process is gone
	verdict verdict
	leased  bool
}

// verdict is what was found out about a peer since it was last heard.
type verdict uint8

const (
	unjudged   verdict = iota
	stalled            // its kernel answers
	gone               // its kernel answers, and says that its process has ended
	unanswered         // its kernel does not answer
)

// state is what is thought of a peer.
type state uint8

const (
	alive     state = iota
	suspected       // its beats are missing, and the others are asked
	dead
)

const (
	// maxPeers bounds the members that are remembered; those that were silent
	// for forgetAfter are forgotten. Of suitors there may be as many.
	maxPeers    = 1024
	forgetAfter = time.Minute
	// challengeEvery bounds how often a member is asked for a proof.
	challengeEvery = 20 * time.Millisecond
	// A member is silent after silentBeats of its beats have not come, and
	// silentLeast at the least.
	silentBeats = 4
	silentLeast = 400 * time.Millisecond
	// recheck is after how many thresholds a member that was excused is looked
	// at again.
	recheck = 5
)

// newCore returns a core for one start of the member self.
func newCore(c Config, self string, instance uint64, out output, random func() uint64, count *counters) (*core, error) {
	codec, err := newCodec(&c)
	if err != nil {
		return nil, err
	}
	return &core{
		config: c, codec: codec, out: out, random: random, logger: c.Logger, count: count,
		self: self, instance: instance, peers: make(map[string]*peer), suitors: make(map[string]*suitor), voices: make(map[int]*voices),
	}, nil
}

// picture returns what is known of the others.
func (c *core) picture() []Peer {
	peers := make([]Peer, 0, len(c.peers))
	for _, p := range c.peers {
		peers = append(peers, Peer{
			Node: p.name, Instance: p.instance, Holds: p.holds, Membership: p.membership,
			Silent: p.silent, Dead: p.state == dead, Stalled: p.verdict == stalled || p.verdict == gone, Gone: p.verdict == gone, Leased: p.leased,
			Interval: p.interval, HardwareAddr: p.hw,
		})
	}
	slices.SortFunc(peers, func(a, b Peer) int { return cmp.Compare(a.Node, b.Node) })
	return peers
}

// set takes what this member is to say of itself.
func (c *core) set(now time.Duration, s State) {
	if s.Holds != c.state.Holds {
		c.beatAt = now // the others learn at once which interval counts
	}
	c.state = s
}

// interval is the time to this member's next beat.
func (c *core) interval() time.Duration {
	if !c.state.Holds {
		return c.config.Idle
	}
	return max(c.config.Interval, min(c.late.usual(), c.config.Idle))
}

// advance does what is due, and returns when to call it again. Everything that has
// arrived must have been given to receive and sign before: so a process that did
// not run in time accuses nobody for it, because it first reads what came
// meanwhile, and then asks, and reads again.
func (c *core) advance(now time.Duration) (next time.Duration) {
	if c.expected > 0 {
		late := max(0, now-c.expected)
		c.late.note(late) // a wider interval may follow
		if late > c.config.Interval {
			c.count.late.Add(1)
		}
	}
	next = now + time.Second
	sooner := func(at time.Duration) {
		if at < next {
			next = at
		}
	}
	if now >= c.beatAt {
		interval := c.interval()
		c.broadcast(&frame{kind: kindBeat, interval: interval, holds: c.state.Holds, membership: c.state.Membership, lease: c.state.Lease})
		c.beatAt = now + interval
	}
	sooner(c.beatAt)
	c.keen = false
	for name, p := range c.peers {
		if now-p.heard > forgetAfter {
			delete(c.peers, name)
			c.changed = true
			continue
		}
		if at := c.watch(now, p); at > 0 {
			sooner(at)
		}
		c.keen = c.keen || p.state == suspected
	}
	c.expected = next
	return next
}

// watch notes whether a peer is silent, judges it, and returns when to do so
// again; zero for when it is heard.
func (c *core) watch(now time.Duration, p *peer) (next time.Duration) {
	if quiet := p.heard + max(silentBeats*p.interval, silentLeast); !p.silent && now >= quiet {
		p.silent, c.changed = true, true
	} else if !p.silent {
		next = quiet
	}
	if at := c.judge(now, p); at > 0 && (next == 0 || at < next) {
		next = at
	}
	// The last beat that was sent may be one that was lost.
	over := p.heard + p.lease + threshold(p.interval, c.config.Misses)
	leased := p.holds && p.lease > 0 && now < over && (p.verdict == unjudged || p.verdict == stalled)
	c.changed = c.changed || p.leased != leased
	if p.leased = leased; leased && (next == 0 || over < next) {
		next = over
	}
	return next
}

// judge judges a peer that holds addresses, and returns when to do so again; zero
// for when it is heard.
func (c *core) judge(now time.Duration, p *peer) time.Duration {
	if !p.holds || p.state == dead {
		return 0
	}
	patience := threshold(p.interval, c.config.Misses)
	wait := askTime(p.interval)
	if p.state == alive {
		if due := max(p.heard+patience, p.again); now < due {
			return due
		}
		p.state, p.since = suspected, now
		p.repeat, p.agree, p.object, p.excused, p.refused = false, 0, 0, false, false
		c.count.suspicions.Add(1)
		c.question(p)
		return now + wait/2
	}
	if now < p.since+wait/2 {
		return p.since + wait/2
	}
	if !p.repeat {
		p.repeat = true
		c.question(p) // a frame may be lost
	}
	if due := p.since + wait; now < due {
		return due
	}
	p.state = alive
	before := p.verdict
	p.verdict = unanswered
	switch {
	case p.refused && p.object == 0:
		p.verdict, p.again = gone, now+recheck*patience
		c.count.gone.Add(1)
		if before != gone {
			c.logger.Info("the process of a member has ended", "member", p.name, "silent", now-p.heard)
		}
	case p.excused:
		p.verdict, p.again = stalled, now+recheck*patience
		c.count.excused.Add(1)
	case p.agree+p.object > 0 && p.agree <= p.object,
		p.agree+p.object == 0 && c.voices[p.link].besides(p.hw) <= p.heard:
		// The others hear it; or nobody answers, and nobody was heard since:
		// then it may be this member that is cut off.
		p.again = now + patience
		c.count.vetoed.Add(1)
	default:
		p.state = dead
		c.count.deaths.Add(1)
		c.logger.Info("a member fell silent", "member", p.name, "silent", now-p.heard, "agreed", p.agree, "objected", p.object)
		c.changed = true
		return 0
	}
	c.changed = c.changed || p.verdict != before
	return p.again
}

// question asks everybody for a peer: the others whether they hear it, its own
// kernel for a sign of life, and other stations for one of theirs.
func (c *core) question(p *peer) {
	c.transmit(p.link, group, &frame{kind: kindAsk, subject: p.name})
	if p.addr.IsValid() {
		c.out.ask(p.link, p.hw, p.addr)
	}
	if p.membership != "" {
		c.out.knock(p.membership)
	}
	c.out.provoke(p.link)
}

// refused takes note that a kernel says that nobody listens at the address.
func (c *core) refused(membership string) {
	for _, p := range c.peers {
		if p.state == suspected && p.membership == membership {
			p.refused = true
		}
	}
}

// sign takes note that a station was heard, by whatever frame: a kernel that
// answers is alive, whether its processes run or not.
func (c *core) sign(now time.Duration, link int, from hardwareAddr) {
	c.voice(now, link, from)
	for _, p := range c.peers {
		if p.state == suspected && p.link == link && p.hw == from {
			p.excused = true
		}
	}
}

// receive takes a payload.
func (c *core) receive(now time.Duration, link int, from hardwareAddr, payload []byte) {
	var f frame
	if err := c.codec.parse(payload, &f); err != nil {
		c.count.drop(err)
		return
	}
	if f.sender == c.self {
		if f.instance != c.instance {
			c.count.namesakes.Add(1)
		}
		return
	}
	if f.kind == kindChallenge {
		c.transmit(link, from, &frame{kind: kindProof, nonce: f.nonce})
	}
	p := c.peers[f.sender]
	if p == nil || p.instance != f.instance {
		if p = c.admit(now, link, from, &f); p == nil {
			c.count.unproven.Add(1)
			return
		}
	}
	if f.sequence <= p.sequence {
		c.count.replayed.Add(1)
		return
	}
	p.sequence = f.sequence
	c.voice(now, link, from)
	c.hear(now, p, link, from, &f)
}

// voice notes that a station was heard on a link.
func (c *core) voice(now time.Duration, link int, from hardwareAddr) {
	v := c.voices[link]
	if v == nil {
		v = new(voices)
		c.voices[link] = v
	}
	v.note(now, from)
}

// admit returns the peer that f is from if f proves that it is alive now. All else
// from an instance that is not known may be a replay, and is answered with a
// challenge.
func (c *core) admit(now time.Duration, link int, from hardwareAddr, f *frame) *peer {
	s := c.suitors[f.sender]
	if s != nil && f.kind == kindProof && f.nonce == s.nonce {
		delete(c.suitors, f.sender)
		if len(c.peers) >= maxPeers && c.peers[f.sender] == nil {
			c.count.unknown.Add(1)
			return nil
		}
		p := &peer{name: f.sender, instance: f.instance, interval: c.config.Idle}
		c.peers[f.sender], c.changed = p, true
		return p
	}
	if s != nil && now-s.asked < challengeEvery {
		return nil
	}
	if s == nil {
		if len(c.suitors) >= maxPeers {
			clear(c.suitors) // who is alive comes again
			c.count.unknown.Add(1)
		}
		s = &suitor{nonce: c.random()}
		c.suitors[f.sender] = s
	}
	s.asked = now
	c.transmit(link, from, &frame{kind: kindChallenge, nonce: s.nonce})
	return nil
}

// hear takes a frame that is authentic, proven and new.
func (c *core) hear(now time.Duration, p *peer, link int, from hardwareAddr, f *frame) {
	p.heard, p.link, p.hw, p.again = now, link, from, 0
	if p.state == dead {
		c.count.revivals.Add(1)
		c.logger.Info("a member is heard again", "member", p.name)
		c.changed = true
	}
	c.changed = c.changed || p.silent || p.verdict != unjudged
	p.state, p.silent, p.verdict = alive, false, unjudged
	switch f.kind {
	case kindBeat:
		c.changed = c.changed || p.holds != f.holds || p.membership != f.membership
		p.interval, p.holds, p.membership, p.lease = f.interval, f.holds, f.membership, f.lease
		p.addr, _ = netip.AddrFromSlice(f.address)
	case kindLeave:
		p.holds, p.silent, c.changed = false, true, true
	case kindAsk:
		c.answer(now, p, f.subject)
	case kindAnswer:
		if q := c.peers[f.subject]; q != nil && q.state == suspected {
			if f.missing {
				q.agree++
			} else {
				q.object++
			}
		}
	}
}

// answer tells who asks whether the subject is heard. The subject itself gives a
// sign of life.
func (c *core) answer(now time.Duration, to *peer, subject string) {
	if subject == c.self {
		c.beatAt = now
		return
	}
	q := c.peers[subject]
	if q == nil {
		return // nothing is known of it
	}
	missing := now-q.heard > threshold(q.interval, c.config.Misses)/2
	c.transmit(to.link, to.hw, &frame{kind: kindAnswer, subject: subject, missing: missing})
}

// leave tells the others that this member stops beating.
func (c *core) leave() { c.broadcast(&frame{kind: kindLeave}) }

// broadcast sends a frame to the group on all links.
func (c *core) broadcast(f *frame) {
	for i := range c.state.Links {
		f.address = c.state.Links[i].Addr.AsSlice()
		c.transmit(c.state.Links[i].Index, group, f)
	}
}

// transmit sends one frame.
func (c *core) transmit(link int, to hardwareAddr, f *frame) {
	c.sequence++
	f.sender, f.instance, f.sequence = c.self, c.instance, c.sequence
	c.buffer = c.codec.append(c.buffer[:0], f)
	c.out.send(link, to, c.buffer)
	c.count.sent.Add(1)
}

// voices are the last two different stations that were heard, so that it is known
// when any other than a given one was.
type voices [2]struct {
	hw hardwareAddr
	at time.Duration
}

func (v *voices) note(now time.Duration, hw hardwareAddr) {
	if v[0].hw != hw {
		v[1] = v[0]
	}
	v[0].hw, v[0].at = hw, now
}

// besides returns when a station other than hw was last heard; zero for never.
func (v *voices) besides(hw hardwareAddr) time.Duration {
	if v[0].hw != hw {
		return v[0].at
	}
	return v[1].at
}

// lateness is by how much the thread was late on average, where what is long ago
// counts less and less.
type lateness struct{ average time.Duration }

func (l *lateness) note(late time.Duration) {
	const share = 16
	l.average += (min(late, MaxInterval) - l.average) / share
}

// usual returns an interval that the thread mostly keeps.
func (l *lateness) usual() time.Duration { return 4 * l.average }

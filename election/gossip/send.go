package gossip

import (
	"cmp"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/l2vip/l2vip/election"
)

const (
	// Budgets for the offers in a push/pull: all of them when a member joins, and what
	// costs little in between, where versions suffice, as a member asks for what it
	// misses.
	joinBudget   = maxMessage - 1<<20
	repairBudget = 64 << 10
	// maxSenders bounds the goroutines that send large offers.
	maxSenders = 64
	// repairPause is the pause between two members that are told what is known.
	repairPause = time.Second
)

// publication is the offer of this member. The engine's lock guards it.
type publication struct {
	pending   *election.Offer // what was published, until loop takes it
	published *election.Offer // the last one that loop took
	revision  uint64          // of published
	asked     bool            // another member takes only a newer one than that
	data      []byte          // its binary form; nil: none, or too large
}

// again notes that another member takes only an offer that is newer than v: it has taken
// this member for dead. report makes its Runner publish once more.
func (p *publication) again(v version) {
	if v.revision >= p.revision && v.revision-p.revision <= maxLeap {
		p.asked, p.revision = true, v.revision
	}
}

// encode makes the newest offer of this member ready to be sent. An unchanged one is not
// published again, unless another member asks for that.
func (e *engine) encode() {
	e.mu.Lock()
	p := &e.own
	o := p.pending
	p.pending = nil
	if o == nil || p.published != nil && !p.asked && same(o, p.published) {
		e.mu.Unlock()
		return
	}
	p.published, p.asked = o, false
	p.revision++
	e.mu.Unlock()

	own := *o
	own.Node = e.self
	var data []byte
	if len(own.Entries) <= election.MaxEntries {
		data, _ = own.AppendBinary(nil) // never fails
	}
	if len(data) == 0 || len(data) > maxOffer {
		e.drop(dropTooLarge, netip.Addr{}, "member", e.self, "entries", len(own.Entries), "bytes", len(data))
		data = nil
	}

	e.mu.Lock()
	defer e.mu.Unlock()
	p.data = data
	for _, m := range e.table.all() {
		m.outbox[e.self] = struct{}{}
	}
}

// same reports whether two offers of this member are one.
func same(a, b *election.Offer) bool {
	return a.Instance == b.Instance && a.Revision == b.Revision && a.Equal(b)
}

// recordOf returns the newest offer of a member. The lock is held.
func (e *engine) recordOf(name string) (record, bool) {
	if name == e.self {
		return record{e.self, version{e.instance, e.own.revision}, e.own.data}, e.own.data != nil
	}
	m := e.table.alive(name)
	if m == nil || m.offer == nil {
		return record{}, false
	}
	return record{name, m.have, m.data}, true
}

// packet is a datagram to a member.
type packet struct {
	name string
	to   netip.AddrPort
	msg  []byte
}

// send sends the members what their outboxes have, and asks for what is missing. Unless all
// members beat, on segments that carry their offers as well, it repairs what was lost. It
// returns when to look again.
func (e *engine) send(beating bool) time.Time {
	now := time.Now()
	next := now.Add(memory)
	var packets []packet
	e.mu.Lock()
	e.table.forget(now)
	for _, m := range e.table.all() {
		packets = append(packets, e.emptyOutbox(m)...)
		if !m.missing() {
			continue
		}
		if !now.Before(m.askAt) {
			packets = append(packets, e.askFor(m)...)
			m.askAt = now.Add(m.askPause)
			m.askPause = min(2*m.askPause, lastAsk)
		}
		if m.askAt.Before(next) {
			next = m.askAt
		}
	}
	if !beating {
		packets = append(packets, e.repair(now)...)
		if e.repairAt.Before(next) {
			next = e.repairAt
		}
	}
	e.mu.Unlock()
	for _, p := range packets {
		_ = e.trans.send(kindEngine, p.name, p.to, p.msg) // what is lost is asked for
	}
	return next
}

// repair returns what tells a random member, once a second, which versions of which offers
// are known here, so that it asks for what it misses. The lock is held.
func (e *engine) repair(now time.Time) []packet {
	if now.Before(e.repairAt) {
		return nil
	}
	e.repairAt = now.Add(repairPause)
	all := e.table.all()
	if len(all) == 0 {
		return nil
	}
	to := all[rand.IntN(len(all))]
	msg := message{kind: kindOffer}
	room := packetSize - overhead(e.cluster, e.self, to.name) - 2
	add := func(name string) {
		if r, ok := e.recordOf(name); ok && name != to.name {
			r.data = nil
			if room -= 4 + r.size(); room >= 0 {
				msg.records = append(msg.records, r)
			}
		}
	}
	add(e.self)
	for _, i := range rand.Perm(len(all)) {
		add(all[i].name)
	}
	if len(msg.records) == 0 {
		return nil
	}
	return []packet{{to.name, to.addr, msg.append(nil)}}
}

// askFor returns the requests for a member's offer: to itself, and to the member that
// spoke of it. The lock is held.
func (e *engine) askFor(m *member) []packet {
	request := message{kind: kindRequest, wants: []string{m.name}}
	var packets []packet
	if other := e.table.alive(m.by); other != nil {
		packets = append(packets, packet{other.name, other.addr, request.append(nil)})
	}
	if m.offer == nil && m.said.revision > 0 {
		// What it offered before it was taken for dead does not count.
		request.records = []record{{node: m.name, version: m.said}}
	}
	return append(packets, packet{m.name, m.addr, request.append(nil)})
}

// emptyOutbox returns the small offers in a member's outbox, and lets a goroutine send the large
// ones. The lock is held.
func (e *engine) emptyOutbox(m *member) []packet {
	var packets []packet
	for name := range m.outbox {
		msg := e.offerOf(name)
		if msg == nil {
			delete(m.outbox, name)
		} else if len(msg)+overhead(e.cluster, e.self, m.name) <= packetSize {
			delete(m.outbox, name)
			packets = append(packets, packet{m.name, m.addr, msg})
		}
	}
	if len(m.outbox) > 0 && !m.streaming && e.senders < maxSenders {
		if m.streaming = e.trans.tasks.spawn(func() { e.stream(m) }); m.streaming {
			e.senders++
		}
	}
	return packets
}

// offerOf returns the message with the newest offer of a member, or nil if none is known.
// The lock is held.
func (e *engine) offerOf(name string) []byte {
	r, ok := e.recordOf(name)
	if !ok {
		return nil
	}
	msg := message{kind: kindOffer, records: []record{r}}
	return msg.append(make([]byte, 0, len(r.data)+maxName+64))
}

// stream sends a member the large offers in its outbox, always the newest. What cannot
// be sent is repaired by the next push/pull.
func (e *engine) stream(m *member) {
	for {
		e.mu.Lock()
		var msg []byte
		for name := range m.outbox {
			delete(m.outbox, name)
			if msg = e.offerOf(name); msg != nil {
				break
			}
		}
		addr := m.addr
		if msg == nil {
			m.streaming = false
			e.senders--
			e.wake() // others may wait for their turn
			e.mu.Unlock()
			return
		}
		e.mu.Unlock()
		if err := e.trans.sendStream(m.name, addr, msg); err != nil {
			e.log.Debug("an offer was not sent", "member", m.name, "error", err)
		}
	}
}

// state returns this side of a push/pull.
func (e *engine) state(join bool) []byte {
	budget := repairBudget
	if join {
		budget = joinBudget
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	msg := message{kind: kindState, sender: e.self, instance: e.instance}
	names := []string{e.self}
	for _, m := range e.table.all() {
		names = append(names, m.name)
	}
	for _, name := range names {
		if r, ok := e.recordOf(name); ok {
			msg.records = append(msg.records, r)
		}
	}
	// This member's own offer first, as no other is as sure to have it; then the small
	// ones.
	order := make([]*record, len(msg.records))
	for i := range msg.records {
		order[i] = &msg.records[i]
	}
	own := func(r *record) int {
		if r.node == e.self {
			return 0
		}
		return 1
	}
	slices.SortFunc(order, func(a, b *record) int {
		return cmp.Or(own(a)-own(b), len(a.data)-len(b.data), strings.Compare(a.node, b.node))
	})
	for _, r := range order {
		if len(r.data) > budget {
			r.data = nil
			continue
		}
		budget -= len(r.data)
	}
	return msg.append(nil)
}

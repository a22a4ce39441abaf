package gossip

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/memberlist"
)

const (
	// Budgets for the offers in a push/pull: all of them when a member joins,
	// and what costs little in between, where versions suffice, as a member
	// asks for what it misses. memberlist carries 20 MiB at the most.
	joinBudget   = 12 << 20
	repairBudget = 64 << 10
	// largest is how long an offer may be to be sent at all.
	largest = 16 << 20

	// A large offer is tried this often, with pauses that double.
	streamTries = 4
	streamPause = 50 * time.Millisecond
)

// packet is a datagram to a member.
type packet struct {
	to  memberlist.Node
	msg []byte
}

// send sends what the outboxes have and asks for what is missing. It returns
// when to look again.
func (e *engine) send(ctx context.Context) time.Time {
	now := time.Now()
	next := now.Add(memory)
	var packets []packet
	cache := make(map[string][]byte)

	e.mu.Lock()
	e.table.forget(now)
	if e.remembered >= e.instance {
		next = e.nextUp
	}
	for name, m := range e.table.nodes {
		if !m.live {
			continue
		}
		packets = append(packets, e.empty(ctx, name, m, cache)...)
		if !m.missing() {
			continue
		}
		if !now.Before(m.askAt) {
			packets = append(packets, e.askFor(name, m)...)
			m.askAt = now.Add(m.askPause)
			m.askPause = min(2*m.askPause, lastAsk)
		}
		if m.askAt.Before(next) {
			next = m.askAt
		}
	}
	e.mu.Unlock()

	for i := range packets {
		// Best effort: what is lost is asked for.
		_ = e.list.SendBestEffort(&packets[i].to, packets[i].msg)
	}
	return next
}

// askFor returns the requests for a member's offer: to itself, and to the member
// that spoke of it. The lock is held.
func (e *engine) askFor(name string, m *member) []packet {
	request := message{kind: kindRequest, sender: e.self, instance: e.instance, wants: []string{name}}
	var packets []packet
	if other := e.table.alive(m.newestFrom); other != nil && m.newestFrom != name {
		packets = append(packets, packet{other.node, request.append(nil, e.cluster)})
	}
	if m.offer == nil && m.have.revision > 0 {
		// What it offered before it was taken for dead does not count.
		void := version{m.have.instance, m.have.revision - 1}
		request.records = []record{{node: name, version: void}}
	}
	return append(packets, packet{m.node, request.append(nil, e.cluster)})
}

// empty takes the small offers out of a member's outbox, and lets a goroutine
// send the large ones. The lock is held.
func (e *engine) empty(ctx context.Context, name string, m *member, cache map[string][]byte) []packet {
	var packets []packet
	for whose := range m.outbox {
		msg, ok := cache[whose]
		if !ok {
			msg = e.offerOf(whose)
			cache[whose] = msg
		}
		switch {
		case msg == nil:
			delete(m.outbox, whose)
		case len(msg) > largest:
			delete(m.outbox, whose)
			e.drop(dropTooLarge, "member", whose, "bytes", len(msg))
		case len(msg) <= e.datagram:
			delete(m.outbox, whose)
			packets = append(packets, packet{m.node, msg})
		}
	}
	if len(m.outbox) > 0 && !m.streaming {
		select {
		case e.slots <- struct{}{}:
			m.streaming = e.spawn(func() { e.stream(ctx, name) })
			if !m.streaming {
				<-e.slots
			}
		default: // a goroutine that ends wakes loop
		}
	}
	return packets
}

// stream sends a member the large offers in its outbox, always the newest.
func (e *engine) stream(ctx context.Context, to string) {
	defer func() {
		<-e.slots
		e.wake()
	}()
	pause := streamPause
	for tries := 0; ; {
		e.mu.Lock()
		m := e.table.nodes[to]
		if m == nil {
			e.mu.Unlock()
			return
		}
		if !m.live || len(m.outbox) == 0 || ctx.Err() != nil {
			m.streaming = false
			e.mu.Unlock()
			return
		}
		var whose string
		for whose = range m.outbox {
			break
		}
		delete(m.outbox, whose)
		msg, node := e.offerOf(whose), m.node
		e.mu.Unlock()
		if msg == nil {
			continue
		}
		if e.list.SendReliable(&node, msg) == nil {
			tries, pause = 0, streamPause
			continue
		}
		if tries++; tries == streamTries {
			tries, pause = 0, streamPause
			continue // the next push/pull tells the member what it misses
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
		pause *= 2
		e.mu.Lock()
		if m := e.table.alive(to); m != nil {
			m.outbox[whose] = struct{}{}
		}
		e.mu.Unlock()
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
	for _, name := range append([]string{e.self}, e.table.names()...) {
		if r, ok := e.recordOf(name); ok {
			msg.records = append(msg.records, r)
		}
	}
	// This member's own offer first, as no other is as sure to have it; then the
	// small ones.
	order := make([]*record, len(msg.records))
	for i := range msg.records {
		order[i] = &msg.records[i]
	}
	slices.SortStableFunc(order, func(a, b *record) int {
		switch {
		case a.node == e.self:
			return -1
		case b.node == e.self:
			return 1
		case len(a.data) != len(b.data):
			return len(a.data) - len(b.data)
		}
		return strings.Compare(a.node, b.node)
	})
	for _, r := range order {
		if len(r.data) > budget {
			r.data = nil
			continue
		}
		budget -= len(r.data)
	}
	return msg.append(nil, e.cluster)
}

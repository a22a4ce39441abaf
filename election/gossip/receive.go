package gossip

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/l2vip/l2vip/election"
)

// receive takes a message of an instance of a member, which has proven itself or else
// does not count. It is where source says, which has no port if that is not where the
// member listens.
func (e *engine) receive(from string, instance uint64, b []byte, source netip.AddrPort) {
	msg, err := parseMessage(b)
	addr := source.Addr()
	if err != nil {
		e.drop(dropMalformed, addr, "error", err, "member", from)
		return
	}
	if instance != e.trans.links.proven(from) {
		e.drop(dropStale, netip.Addr{})
		return
	}
	e.started(from, instance)
	goOn, differ := e.note(from, &msg)
	if differ {
		e.reconcile(from, source)
	}
	if !goOn {
		return
	}
	for i := range msg.records {
		r := &msg.records[i]
		first := r.node == from && r.instance == instance
		if r.data == nil || !e.wants(r, first) {
			continue
		}
		o := new(election.Offer)
		if err := o.UnmarshalBinary(r.data); err != nil {
			e.drop(dropMalformed, addr, "error", err, "member", r.node)
			continue
		}
		if o.Node != r.node {
			e.drop(dropMalformed, addr, "error", "the record is about another member than the offer in it", "member", r.node)
			continue
		}
		e.take(o, r, first)
	}
}

// note takes from a message what it says beside the offers, and reports whether to go on,
// and whether the sender knows other members than this one.
func (e *engine) note(from string, msg *message) (goOn, differ bool) {
	now := time.Now()
	e.mu.Lock()
	defer e.mu.Unlock()
	sender := e.table.alive(from)
	if sender == nil {
		// A datagram may overtake what tells memberlist of a member.
		e.drop(dropUnknown, netip.Addr{})
		return false, e.table.members[from] == nil && msg.kind != kindLeave
	}
	switch msg.kind {
	case kindLeave:
		e.gone(sender, "left")
		return false, false
	case kindRequest:
		if len(msg.wants) == 0 {
			msg.wants = []string{e.self}
		}
		for _, name := range msg.wants {
			if name == e.self || e.table.alive(name) != nil {
				sender.outbox[name] = struct{}{}
			}
		}
		e.wake()
	case kindOffer, kindState:
	default:
		return false, false // of a later version
	}
	for i := range msg.records {
		r := &msg.records[i]
		switch m := e.table.alive(r.node); {
		case r.node == e.self:
			if msg.kind == kindRequest {
				e.own.again(r.version)
				e.changed()
			}
		case m == nil:
			e.drop(dropUnknown, netip.Addr{})
			differ = differ || e.table.members[r.node] == nil
		case r.node != from || r.data == nil:
			m.mention(r.version, from, now)
			e.wake()
		}
	}
	return msg.kind != kindRequest, differ && msg.kind == kindOffer
}

// reconcile exchanges everything with a member that knows others than this one does, lest
// they wait for the next push/pull: one that is not known itself, as it knows this member
// from before a restart that it has not noticed, or that has met the others first.
func (e *engine) reconcile(name string, source netip.AddrPort) {
	now := time.Now()
	addr, live := e.located(name)
	e.mu.Lock()
	due := now.Sub(e.reconciled) >= repairPause
	if live && due {
		e.reconciled = now
	}
	e.mu.Unlock()
	switch {
	case live && due:
		e.trans.tasks.spawn(func() { _ = e.exchange(addr) })
	case !live && source.Port() != 0:
		e.seeds.addSome(source, now)
	}
}

// wants reports whether an offer is worth to be read.
func (e *engine) wants(r *record, first bool) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	m := e.table.alive(r.node)
	if m == nil {
		return false // this member itself, or counted already
	}
	if first && r.version.less(m.said) {
		e.drop(dropStale, netip.Addr{})
	}
	return m.wants(r.version, first)
}

// take takes an offer if it is still newer than the known one.
func (e *engine) take(o *election.Offer, r *record, first bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	m := e.table.alive(r.node)
	if m == nil || !m.wants(r.version, first) {
		return
	}
	if !e.table.take(m, o, append([]byte(nil), r.data...), r.version, first) {
		e.drop(dropOverloaded, netip.Addr{}, "member", r.node, "entries", len(o.Entries))
		return
	}
	e.count.offers.Add(1)
	e.changed()
}

// started notes an instance of a member that has proven itself.
func (e *engine) started(name string, instance uint64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	m := e.table.alive(name)
	if m == nil || instance <= m.instance {
		return
	}
	if e.table.started(m, instance, time.Now()) {
		e.count.restarts.Add(1)
	}
	e.changed()
}

// gone notes that a live member is gone; its offer is void at once. The lock is held.
func (e *engine) gone(m *member, how string) {
	e.table.leave(m, time.Now())
	e.changed()
	e.seeds.wake()
	e.count.leaves.Add(1)
	e.log.Info("member gone", "member", m.name, "address", m.addr, "how", how)
}

// conflict notes that two members have one name, perhaps this one's.
func (e *engine) conflict(name string, other netip.Addr) {
	e.count.conflicts.Add(1)
	e.local.Refuse(other.String(), fmt.Sprintf("the name of another member, %q", name))
}

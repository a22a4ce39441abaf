package gossip

import (
	"errors"
	"net/netip"
	"time"

	"github.com/hashicorp/memberlist"

	"github.com/l2vip/l2vip/election"
)

// delegate is the engine as memberlist sees it. memberlist calls most of it under
// its own lock, so nothing here waits or calls memberlist; and it may do so
// before Create has returned, and after Shutdown.
type delegate struct{ *engine }

var (
	_ memberlist.Delegate         = delegate{}
	_ memberlist.EventDelegate    = delegate{}
	_ memberlist.AliveDelegate    = delegate{}
	_ memberlist.ConflictDelegate = delegate{}
)

// NodeMeta returns the metadata of this member.
func (d delegate) NodeMeta(int) []byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	return appendMeta(nil, d.instance)
}

// NotifyAlive refuses members that this engine cannot work with. It is also
// where the instance comes by that others remember of this member.
func (d delegate) NotifyAlive(n *memberlist.Node) error {
	if err := badName(n.Name); err != nil {
		d.drop(dropMalformed)
		return err
	}
	addr, ok := netip.AddrFromSlice(n.Addr)
	if !ok || addr.IsUnspecified() || addr.IsMulticast() || n.Port == 0 {
		d.drop(dropMalformed)
		return errors.New("no address")
	}
	// A member that speaks no common version would make every exchange fail.
	if n.PMin > memberlist.ProtocolVersion2Compatible || n.PMax < memberlist.ProtocolVersion2Compatible ||
		n.PCur < n.PMin || n.PCur > n.PMax || n.DMin > 0 || n.DCur > n.DMax {
		d.drop(dropVersion)
		return errVersion
	}
	instance, err := parseMeta(n.Meta)
	if err != nil {
		d.drop(reasonOf(err))
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if n.Name == d.self {
		d.remember(instance)
		return nil
	}
	if !d.table.admit(n.Name, time.Now()) {
		d.drop(dropOverloaded)
		return errors.New("too many members")
	}
	return nil
}

// NotifyJoin greets a new member: it gets this member's offer and is asked for
// its own.
func (d delegate) NotifyJoin(n *memberlist.Node) {
	if n.Name == d.self {
		return
	}
	now := time.Now()
	instance, _ := parseMeta(n.Meta)
	d.mu.Lock()
	m := d.table.join(n)
	m.start(instance, now)
	m.ask(now)
	m.outbox[d.self] = struct{}{}
	d.changed()
	d.mu.Unlock()
	d.count.joins.Add(1)
	d.log.Info("member joined", "member", n.Name, "address", n.Address())
}

// NotifyUpdate sees a member that has moved or was started again.
func (d delegate) NotifyUpdate(n *memberlist.Node) {
	if n.Name == d.self {
		return
	}
	instance, _ := parseMeta(n.Meta)
	d.mu.Lock()
	m := d.table.alive(n.Name)
	if m != nil {
		m.locate(n)
		d.started(m, instance)
	}
	d.mu.Unlock()
	if m == nil {
		// It said farewell, and was started again before memberlist knew.
		d.NotifyJoin(n)
	}
}

// NotifyLeave sees a member that memberlist has declared dead, or that has left
// and whose farewell was lost.
func (d delegate) NotifyLeave(n *memberlist.Node) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if m := d.table.alive(n.Name); m != nil {
		d.gone(m, "failed")
	}
}

// gone notes that a live member is gone; its offer is void at once. The lock is
// held.
func (e *engine) gone(m *member, how string) {
	e.table.leave(m.node.Name, time.Now())
	e.changed()
	e.count.leaves.Add(1)
	e.log.Info("member gone", "member", m.node.Name, "address", m.node.Address(), "how", how)
}

// NotifyConflict sees a second member of one name.
func (d delegate) NotifyConflict(known, other *memberlist.Node) {
	d.count.conflicts.Add(1)
	key := conflict{known.Name, other.Address()}
	now := time.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	for k, at := range d.conflicts {
		if now.Sub(at) > warnPause {
			delete(d.conflicts, k)
		}
	}
	_, told := d.conflicts[key]
	if !told && len(d.conflicts) >= maxMembers {
		return
	}
	d.conflicts[key] = now
	if told {
		return
	}
	text := "two members have one name"
	if known.Name == d.self {
		text = "another member has this member's name"
	}
	d.log.Warn(text, "member", known.Name, "address", known.Address(), "other", other.Address())
}

// conflict is a name, and the address that contests it.
type conflict struct{ name, addr string }

// NotifyMsg takes a message that was sent to this member, or gossip.
func (d delegate) NotifyMsg(b []byte) { d.receive(b) }

// GetBroadcasts returns gossip to send along.
func (d delegate) GetBroadcasts(overhead, limit int) [][]byte {
	return d.queue.GetBroadcasts(overhead, limit)
}

// LocalState returns this side of a push/pull.
func (d delegate) LocalState(join bool) []byte { return d.state(join) }

// MergeRemoteState takes the other side of a push/pull.
func (d delegate) MergeRemoteState(b []byte, _ bool) { d.receive(b) }

// reasonOf returns why a message with the error is dropped.
func reasonOf(err error) reason {
	switch {
	case errors.Is(err, errForeign):
		return dropForeign
	case errors.Is(err, errVersion):
		return dropVersion
	case errors.Is(err, errCluster):
		return dropCluster
	}
	return dropMalformed
}

func (e *engine) drop(why reason, args ...any) { e.count.drop(e.log.Logger, why, args...) }

// receive takes a message.
func (e *engine) receive(b []byte) {
	m, err := parseMessage(b, e.cluster)
	if err != nil {
		e.drop(reasonOf(err), "error", err)
		return
	}
	if !e.note(&m) {
		return
	}
	for i := range m.records {
		r := &m.records[i]
		if r.data == nil || !e.wanted(r) {
			continue
		}
		o := new(election.Offer)
		if err := o.UnmarshalBinary(r.data); err != nil {
			e.drop(dropMalformed, "error", err, "member", r.node)
			continue
		}
		if o.Node != r.node {
			e.drop(dropMalformed, "error", "the record is about another member than the offer in it", "member", r.node)
			continue
		}
		if e.take(o, r) && m.kind == kindOffer && len(b) <= e.datagram {
			e.queue.QueueBroadcast(&broadcast{r.node, append([]byte(nil), b...)})
		}
	}
}

// note takes from a message what it says beside the offers, and reports whether
// to go on.
func (e *engine) note(msg *message) bool {
	now := time.Now()
	e.mu.Lock()
	defer e.mu.Unlock()
	sender := e.table.alive(msg.sender)
	switch {
	case msg.sender == e.self:
		e.remember(msg.instance)
		if msg.kind == kindRequest {
			return false
		}
	case sender == nil:
		// Gossip and push/pull may bring a member before memberlist has
		// accepted it; what it says of others is of use all the same.
		if msg.kind != kindState {
			e.drop(dropUnknown)
			return false
		}
	default:
		e.started(sender, msg.instance)
	}
	if msg.kind == kindLeave {
		if sender != nil && msg.instance == sender.have.instance {
			e.gone(sender, "left")
		}
		return false
	}
	for i := range msg.records {
		r := &msg.records[i]
		if r.node == e.self {
			e.echo(r.version)
			if msg.kind == kindRequest && !r.version.less(version{e.instance, e.revision}) {
				// It was taken for dead, and must say again what it offers:
				// report makes its Runner do that.
				e.asked = true
				e.changed()
			}
		} else if m := e.table.alive(r.node); m != nil {
			m.mention(r.version, msg.sender, now)
			if r.data == nil && m.missing() {
				e.wake()
			}
		} else {
			e.drop(dropUnknown)
		}
	}
	if msg.kind == kindRequest && sender != nil {
		if len(msg.wants) == 0 {
			msg.wants = []string{e.self}
		}
		for _, name := range msg.wants {
			if name == e.self || e.table.alive(name) != nil {
				sender.outbox[name] = struct{}{}
			}
		}
		e.wake()
	}
	return true
}

// wanted reports whether an offer is worth to be read.
func (e *engine) wanted(r *record) bool {
	if r.node == e.self {
		return false
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	m := e.table.alive(r.node)
	if m == nil {
		return false // counted already
	}
	if r.version.less(m.have) {
		e.drop(dropStale)
	}
	return m.takes(r.version)
}

// take takes an offer if it is newer than the known one.
func (e *engine) take(o *election.Offer, r *record) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	m := e.table.alive(r.node)
	if m == nil || !m.takes(r.version) {
		return false
	}
	if m.have.instance != 0 && m.have.instance < r.instance {
		e.count.restarts.Add(1)
	}
	m.offer, m.data, m.have = o, append([]byte(nil), r.data...), r.version
	e.count.offers.Add(1)
	e.changed()
	return true
}

// started notes an instance of a live member. The lock is held.
func (e *engine) started(m *member, instance uint64) {
	now := time.Now()
	before := m.have.instance
	if instance <= before {
		return
	}
	if m.start(instance, now) {
		e.count.restarts.Add(1)
	}
	e.changed()
}

// remember notes an instance that this member had, for all that others know. The
// lock is held.
func (e *engine) remember(instance uint64) {
	if instance > e.instance && instance > e.remembered {
		e.remembered = instance
		e.wake()
	}
}

// echo notes a version of this member's own offer that another member has. The lock is
// held.
func (e *engine) echo(v version) {
	e.remember(v.instance)
	if v.instance == e.instance && e.revision < v.revision && e.remembered < e.instance {
		// Two starts in the same microsecond.
		e.remembered = e.instance
		e.wake()
	}
}

package gossip

import (
	"bytes"
	"errors"
	"net/netip"
	"time"

	"github.com/hashicorp/memberlist"
)

// delegate is the engine as memberlist sees it. memberlist calls most of it under its own
// lock, so nothing here waits or calls memberlist; and it may do so before Create has
// returned, and after Shutdown.
type delegate struct{ *engine }

var (
	_ memberlist.Delegate         = delegate{}
	_ memberlist.EventDelegate    = delegate{}
	_ memberlist.AliveDelegate    = delegate{}
	_ memberlist.ConflictDelegate = delegate{}
)

// NodeMeta returns the metadata of this member.
func (d delegate) NodeMeta(int) []byte { return meta[:] }

// NotifyAlive refuses members that this engine cannot work with.
func (d delegate) NotifyAlive(n *memberlist.Node) error {
	addr, ok := netip.AddrFromSlice(n.Addr)
	if badName(n.Name) != nil || !ok || addr.IsUnspecified() || addr.IsMulticast() || n.Port == 0 {
		d.drop(dropMalformed, netip.Addr{})
		return errMalformed
	}
	// A member that speaks no common version would make every exchange fail.
	if n.PMin > memberlist.ProtocolVersion2Compatible || n.PMax < memberlist.ProtocolVersion2Compatible ||
		n.PCur < n.PMin || n.PCur > n.PMax || n.DMin > 0 || n.DCur > n.DMax || !bytes.Equal(n.Meta, meta[:]) {
		d.drop(dropVersion, netip.Addr{}, "member", n.Name)
		return errVersion
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if n.Name != d.self && !d.table.admit(n.Name, time.Now()) {
		d.drop(dropOverloaded, netip.Addr{}, "member", n.Name)
		return errors.New("too many members")
	}
	return nil
}

// NotifyJoin greets a new member: it gets this member's offer and is asked for its own.
func (d delegate) NotifyJoin(n *memberlist.Node) {
	if n.Name == d.self {
		return
	}
	now, instance := time.Now(), d.trans.links.proven(n.Name)
	d.mu.Lock()
	m := d.table.join(n)
	d.table.started(m, instance, now)
	m.ask(now)
	m.outbox[d.self] = struct{}{}
	d.changed()
	d.mu.Unlock()
	d.trans.holder.release()
	d.count.joins.Add(1)
	d.log.Info("member joined", "member", n.Name, "address", n.Address())
}

// NotifyUpdate sees a member that has moved.
func (d delegate) NotifyUpdate(n *memberlist.Node) {
	if n.Name == d.self {
		return
	}
	d.mu.Lock()
	m := d.table.alive(n.Name)
	if m != nil {
		m.locate(n)
	}
	d.mu.Unlock()
	if m == nil {
		// It said farewell, and was started again before memberlist knew.
		d.NotifyJoin(n)
	}
}

// NotifyLeave sees a member that memberlist has declared dead, or that has left and whose
// farewell was lost.
func (d delegate) NotifyLeave(n *memberlist.Node) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if m := d.table.alive(n.Name); m != nil {
		d.gone(m, "failed")
	}
}

// NotifyConflict sees a second member of one name.
func (d delegate) NotifyConflict(known, other *memberlist.Node) {
	addr, _ := netip.AddrFromSlice(other.Addr)
	d.conflict(known.Name, addr.Unmap())
}

// NotifyMsg is not used: engines send each other their messages without memberlist.
func (d delegate) NotifyMsg([]byte) {}

// GetBroadcasts is not used.
func (d delegate) GetBroadcasts(int, int) [][]byte { return nil }

// LocalState returns this side of a push/pull.
func (d delegate) LocalState(join bool) []byte { return d.state(join) }

// MergeRemoteState takes the other side of a push/pull. The transport has seen to it that
// it is its sender's.
func (d delegate) MergeRemoteState(b []byte, _ bool) {
	sender, instance, err := stateOf(b)
	if err == nil && badName(sender) == nil {
		d.receive(sender, instance, b, netip.AddrPort{})
	}
}

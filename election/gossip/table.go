package gossip

import (
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/hashicorp/memberlist"

	"github.com/l2vip/l2vip/election"
)

const (
	// maxMembers bounds the members that are known, live ones and those that are not
	// forgotten yet.
	maxMembers = 1024
	// maxOffer bounds an offer in its form on the wire, in bytes, and maxOffers what all
	// of them take in memory, where an entry takes about entrySize.
	maxOffer, maxOffers, entrySize = 4 << 20, 192 << 20, 160
	// maxLeap is by how many revisions the word of another member may be ahead of a
	// member's own.
	maxLeap = 1 << 32
	// memory is how long a member that is gone is remembered: memberlist's
	// GossipToTheDeadTime.
	memory = 30 * time.Second

	// A member whose offer is missing is asked for it at once, then with pauses that
	// double.
	firstAsk = 100 * time.Millisecond
	lastAsk  = 2 * time.Second
)

// member is what is known of another member.
type member struct {
	name string
	addr netip.AddrPort
	live bool
	left time.Time

	// What the member itself says of its offer counts, and nothing else does once it has
	// said more. What others say of it is worth to be asked for, and stands in until then.
	instance  uint64          // that has proven itself; zero: none has yet
	said      version         // the latest of its own
	mentioned version         // the latest that another spoke of since
	by        string          // that other
	offer     *election.Offer // nil: not known
	data      []byte          // its binary form
	have      version         // of it
	ownWord   bool            // it has been gone: only its own word counts, until it comes
	askAt     time.Time       // when to ask for the offer if it is missing
	askPause  time.Duration
	outbox    map[string]struct{} // whose offers to send to this member
	streaming bool                // a goroutine sends the large ones
}

// table has the other members. It has no lock of its own: the engine's guards it, through
// the methods of engine.
type table struct {
	members map[string]*member
	bytes   int          // that the offers take
	live    atomic.Int64 // how many are live; read without the lock
}

// join notes that a member is live, and returns it.
func (t *table) join(n *memberlist.Node) *member {
	m := t.members[n.Name]
	if m == nil {
		m = &member{name: n.Name}
		t.members[n.Name] = m
	}
	m.locate(n)
	if !m.live {
		m.live = true
		t.live.Add(1)
		m.outbox = make(map[string]struct{})
	}
	return m
}

// leave notes that a member is gone; its offer is void at once.
func (t *table) leave(m *member, now time.Time) {
	have := m.have
	m.live, m.left, m.outbox = false, now, nil
	t.void(m)
	// What it offered before is void for good, even if it returns and all others still
	// have it: it may have been stopped, and not know yet that it lost what it held. Only
	// what it says from now on counts.
	m.ownWord = true
	if m.instance != 0 && m.said.less(have) {
		m.said = have
	}
	t.live.Add(-1)
}

// void forgets the member's offer.
func (t *table) void(m *member) {
	t.bytes -= m.size()
	m.offer, m.data, m.have = nil, nil, version{}
}

// size is what the member's offer takes.
func (m *member) size() int {
	if m.offer == nil {
		return 0
	}
	return len(m.data) + entrySize*len(m.offer.Entries)
}

// started notes an instance of the member that has proven itself. A later one makes the
// offer void; it reports whether that is so.
func (t *table) started(m *member, instance uint64, now time.Time) (restarted bool) {
	if instance <= m.instance {
		return false
	}
	restarted = m.instance != 0 || m.offer != nil && m.have.instance < instance
	m.instance, m.said, m.mentioned, m.ownWord = instance, version{instance: instance}, version{}, false
	if m.have.instance != instance {
		t.void(m)
	}
	m.ask(now)
	return restarted
}

// wants reports whether an offer of that version replaces the known one. first says that
// it is the member's own word.
func (m *member) wants(v version, first bool) bool {
	switch {
	case first:
		return v.instance == m.instance && m.said.less(v)
	case m.ownWord || !m.plausible(v):
		return false
	}
	return m.have.less(v)
}

// plausible reports whether what another member says of the member's version may be so,
// and is news.
func (m *member) plausible(v version) bool {
	if m.instance == 0 {
		return true
	}
	return m.instance == v.instance && m.said.revision < v.revision && v.revision-m.said.revision <= maxLeap
}

// take takes an offer, and reports whether there was room for it.
func (t *table) take(m *member, o *election.Offer, data []byte, v version, first bool) bool {
	grown := t.bytes - m.size() + len(data) + entrySize*len(o.Entries)
	if grown > maxOffers {
		return false
	}
	t.bytes = grown
	m.offer, m.data, m.have = o, data, v
	if first {
		m.said, m.mentioned, m.ownWord = v, version{}, false
	}
	return true
}

// mention notes that another member knows a version of the member's offer.
func (m *member) mention(v version, by string, now time.Time) {
	if m.plausible(v) && m.mentioned.less(v) {
		m.mentioned, m.by = v, by
		m.ask(now)
	}
}

// ask makes the member be asked for its offer now, if that is missing.
func (m *member) ask(now time.Time) { m.askAt, m.askPause = now, firstAsk }

// missing reports whether no offer is known, or the member itself has not told a newer
// one that others know.
func (m *member) missing() bool { return m.live && (m.offer == nil || m.said.less(m.mentioned)) }

// locate notes where a member is.
func (m *member) locate(n *memberlist.Node) {
	addr, _ := netip.AddrFromSlice(n.Addr)
	m.addr = netip.AddrPortFrom(addr.Unmap(), n.Port)
}

// forget removes those that are gone for long.
func (t *table) forget(now time.Time) {
	for name, m := range t.members {
		if !m.live && now.Sub(m.left) > memory {
			delete(t.members, name)
		}
	}
}

// admit reports whether there is room for a member.
func (t *table) admit(name string, now time.Time) bool {
	if t.members[name] != nil || len(t.members) < maxMembers {
		return true
	}
	t.forget(now)
	return len(t.members) < maxMembers
}

// alive returns the member if it is live.
func (t *table) alive(name string) *member {
	if m := t.members[name]; m != nil && m.live {
		return m
	}
	return nil
}

// has reports whether a live member has the address, and that its offer is known if
// complete is set.
func (t *table) has(addr netip.AddrPort, complete bool) bool {
	for _, m := range t.members {
		if m.live && m.addr == addr {
			return !complete || !m.missing()
		}
	}
	return false
}

// all returns the live members in order of their names.
func (t *table) all() []*member {
	all := make([]*member, 0, t.live.Load())
	for _, m := range t.members {
		if m.live {
			all = append(all, m)
		}
	}
	slices.SortFunc(all, func(a, b *member) int { return strings.Compare(a.name, b.name) })
	return all
}

// offers returns the offers of the live members.
func (t *table) offers() []election.Offer {
	all := t.all()
	offers := make([]election.Offer, len(all))
	for i, m := range all {
		if offers[i].Node = m.name; m.offer != nil {
			offers[i] = *m.offer
		}
	}
	return offers
}

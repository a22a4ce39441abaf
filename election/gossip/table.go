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
	// maxMembers bounds the members that are known, live ones and those that
	// are not forgotten yet.
	maxMembers = 1024
	// memory is how long a member that is gone is remembered: memberlist's
	// GossipToTheDeadTime.
	memory = 30 * time.Second

	// A member whose offer is missing is asked for it at once, then with
	// pauses that double.
	firstAsk = 100 * time.Millisecond
	lastAsk  = 2 * time.Second
)

// member is what is known of another member.
type member struct {
	node memberlist.Node // a copy; without metadata
	addr netip.AddrPort
	live bool
	left time.Time

	offer      *election.Offer // nil: not known
	data       []byte          // its binary form
	have       version         // of the offer, or what an offer must be at the least
	newest     version         // the highest that a member spoke of
	newestFrom string          // that member

	askAt    time.Time // when to ask for the offer if it is missing
	askPause time.Duration

	outbox    map[string]struct{} // whose offers to send to this member
	streaming bool                // a goroutine sends the large ones
}

// table has the other members. It has no lock of its own: the engine's guards
// it, through the methods of engine.
type table struct {
	nodes map[string]*member
	live  atomic.Int64 // how many are live; read without the lock
}

// join notes that a member is live, and returns it.
func (t *table) join(n *memberlist.Node) *member {
	m := t.nodes[n.Name]
	if m == nil {
		m = &member{}
		t.nodes[n.Name] = m
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
func (t *table) leave(name string, now time.Time) bool {
	m := t.nodes[name]
	if m == nil || !m.live {
		return false
	}
	m.live, m.left = false, now
	m.offer, m.data, m.outbox = nil, nil, nil
	// What it offered before is void for good, even if it returns and all others
	// still have it: it may have been stopped, and not know yet that it
	// lost what it held. Only what it says from now on counts.
	m.have.revision++
	t.live.Add(-1)
	return true
}

// forget removes those that are gone for long.
func (t *table) forget(now time.Time) {
	for name, m := range t.nodes {
		if !m.live && now.Sub(m.left) > memory {
			delete(t.nodes, name)
		}
	}
}

// admit reports whether there is room for a member.
func (t *table) admit(name string, now time.Time) bool {
	if t.nodes[name] != nil || len(t.nodes) < maxMembers {
		return true
	}
	t.forget(now)
	return len(t.nodes) < maxMembers
}

// alive returns the member if it is live.
func (t *table) alive(name string) *member {
	if m := t.nodes[name]; m != nil && m.live {
		return m
	}
	return nil
}

// names returns the live members in order.
func (t *table) names() []string {
	names := make([]string, 0, t.live.Load())
	for name, m := range t.nodes {
		if m.live {
			names = append(names, name)
		}
	}
	slices.SortFunc(names, strings.Compare)
	return names
}

// offers returns the offers of the live members.
func (t *table) offers() []election.Offer {
	offers := make([]election.Offer, 0, t.live.Load())
	for _, name := range t.names() {
		if o := t.nodes[name].offer; o != nil {
			offers = append(offers, *o)
		} else {
			offers = append(offers, election.Offer{Node: name})
		}
	}
	return offers
}

// locate notes where a member is.
func (m *member) locate(n *memberlist.Node) {
	m.node = *n
	m.node.Meta = nil
	m.node.Addr = slices.Clone(n.Addr)
	addr, _ := netip.AddrFromSlice(n.Addr)
	m.addr = netip.AddrPortFrom(addr.Unmap(), n.Port)
}

// start notes an instance of the member. A later one than that of its offer
// makes the offer void; it reports whether that is so.
func (m *member) start(instance uint64, now time.Time) bool {
	if instance <= m.have.instance {
		return false
	}
	restarted := m.have.instance != 0
	m.have = version{instance: instance}
	if m.newest.less(m.have) {
		m.newest = m.have
	}
	m.offer, m.data = nil, nil
	m.ask(now)
	return restarted
}

// mention notes that another member has a version of the member's offer.
func (m *member) mention(v version, from string, now time.Time) {
	if m.newest.less(v) {
		m.newest, m.newestFrom = v, from
		m.ask(now)
	}
}

// ask makes the member be asked for its offer now, if that is missing.
func (m *member) ask(now time.Time) { m.askAt, m.askPause = now, firstAsk }

// missing reports whether there is a newer offer than the known one, or none is
// known.
func (m *member) missing() bool { return m.live && (m.offer == nil || m.have.less(m.newest)) }

// takes reports whether an offer of the version replaces the known one.
func (m *member) takes(v version) bool {
	if m.offer == nil {
		return !v.less(m.have)
	}
	return m.have.less(v)
}

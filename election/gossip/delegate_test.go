package gossip

import (
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/hashicorp/memberlist"
	"github.com/stretchr/testify/require"

	"github.com/l2vip/l2vip/election"
)

// quietEngine is an engine named self that does not run, and knows the member other, in
// its instance 1.
func quietEngine(t testing.TB) *engine {
	t.Helper()
	g, err := New(Config{})
	require.NoError(t, err)
	e := newEngine(g, &election.Local{Name: "self"}, defaultCluster, nil)
	e.trans = &transport{
		links: newLinks(defaultCluster, "self", e.instance, time.Now), engine: e,
		keys: func() *election.Keys { return nil }, sockets: sockets{packet: new(sink), own: make(map[netip.AddrPort]bool)},
		packets: make(chan *memberlist.Packet, 100), inbound: inbound{names: make(map[string]int)},
	}
	e.trans.links.located = e.located
	e.trans.current.Store(newRing(defaultCluster, nil))
	e.trans.tasks.ctx = t.Context()
	e.trans.tasks.end() // no goroutines
	delegate{e}.NotifyJoin(peerNode("other"))
	e.trans.links.noteProven(&greeting{head: head{sender: "other", instance: 1, ids: []keyID{noKey}}}, simAddr(0), token{1}, token{2})
	e.started("other", 1)
	return e
}

// sink is a socket that keeps what is sent.
type sink struct {
	net.PacketConn
	sent []envelope
	to   []netip.AddrPort
}

func (s *sink) WriteTo(b []byte, to net.Addr) (int, error) {
	if e, _, err := parseEnvelope(b, defaultCluster); err == nil {
		s.sent, s.to = append(s.sent, e), append(s.to, addrPort(to))
	}
	return len(b), nil
}

// peerNode is a member as memberlist describes it.
func peerNode(name string) *memberlist.Node {
	return &memberlist.Node{
		Name: name, Addr: net.IPv4(10, 0, 0, 1).To4(), Port: 7946, Meta: meta[:],
		PMin: 1, PMax: 5, PCur: 2,
	}
}

func TestOnlySuitableMembersAreAdmitted(t *testing.T) {
	e := quietEngine(t)
	d := delegate{e}
	require.NoError(t, d.NotifyAlive(peerNode("fine")))
	for name, change := range map[string]func(*memberlist.Node){
		"no name":           func(n *memberlist.Node) { n.Name = "" },
		"a broken name":     func(n *memberlist.Node) { n.Name = "\xff" },
		"no address":        func(n *memberlist.Node) { n.Addr = nil },
		"a broken address":  func(n *memberlist.Node) { n.Addr = n.Addr[:3] },
		"no port":           func(n *memberlist.Node) { n.Port = 0 },
		"no metadata":       func(n *memberlist.Node) { n.Meta = nil },
		"other metadata":    func(n *memberlist.Node) { n.Meta = []byte("consul") },
		"an earlier engine": func(n *memberlist.Node) { n.Meta = []byte("l2vG\x01") },
		"no common version": func(n *memberlist.Node) { n.PMin, n.PCur = 3, 3 },
	} {
		n := peerNode("bad")
		change(n)
		require.Error(t, d.NotifyAlive(n), name)
	}
}

func TestMembersAreBounded(t *testing.T) {
	e := quietEngine(t)
	d := delegate{e}
	for i := range 2 * maxMembers {
		n := peerNode(fmt.Sprint("m", i))
		if d.NotifyAlive(n) == nil {
			d.NotifyJoin(n)
		}
	}
	require.Len(t, e.table.members, maxMembers)
	require.EqualValues(t, maxMembers+1, e.count.dropped[dropOverloaded].Load())
}

// offerRecord returns a record with an offer in it.
func offerRecord(node string, v version, config uint64) record {
	o := offer(config)
	o.Node = node
	data, _ := o.AppendBinary(nil)
	return record{node, v, data}
}

// has reports the Config of the offer that an engine has of a member; zero for none.
func (e *engine) has(name string) uint64 {
	if m := e.table.alive(name); m != nil && m.offer != nil {
		return m.offer.Config
	}
	return 0
}

// told feeds an engine a message.
func (e *engine) told(from string, instance uint64, k kind, records ...record) {
	m := message{kind: k, records: records}
	e.receive(from, instance, m.append(nil), netip.AddrPort{})
}

// A member's own word counts more than what another says of it, whatever that is.
func TestNobodySpeaksForAnother(t *testing.T) {
	e := quietEngine(t)
	delegate{e}.NotifyJoin(peerNode("liar"))
	e.trans.links.noteProven(&greeting{head: head{sender: "liar", instance: 5}}, simAddr(1), token{3}, token{4})
	e.told("other", 1, kindOffer, offerRecord("other", version{1, 1}, 1))
	require.EqualValues(t, 1, e.has("other"))

	e.told("liar", 5, kindOffer, offerRecord("other", version{1, 100}, 66))
	require.EqualValues(t, 66, e.has("other"), "it may have heard what was lost on the way here")
	require.True(t, e.table.alive("other").missing(), "so the member is asked")
	e.told("other", 1, kindOffer, offerRecord("other", version{1, 2}, 2))
	require.EqualValues(t, 2, e.has("other"))
	require.False(t, e.table.alive("other").missing())

	for _, v := range []version{{1, 1 << 63}, {2, 1}, {1<<63 - 1, 1}} {
		e.told("liar", 5, kindOffer, offerRecord("other", v, 66))
		require.EqualValues(t, 2, e.has("other"), v)
		require.False(t, e.table.alive("other").missing(), v)
	}
	e.told("liar", 4, kindOffer, offerRecord("liar", version{4, 9}, 9))
	require.Zero(t, e.has("liar"), "an earlier start of the liar itself")

	e.told("liar", 5, kindOffer, offerRecord("self", version{1 << 62, 99}, 99))
	require.Len(t, e.table.members, 2)
	require.NotEqualValues(t, 1<<62, e.instance)

	e.table.leave(e.table.alive("other"), time.Now())
	delegate{e}.NotifyJoin(peerNode("other"))
	e.told("liar", 5, kindOffer, offerRecord("other", version{1, 3}, 66))
	require.Zero(t, e.has("other"), "it has been gone: only its own word counts")
	e.told("other", 1, kindOffer, offerRecord("other", version{1, 2}, 2))
	require.Zero(t, e.has("other"), "what it offered before is void")
	e.told("other", 1, kindOffer, offerRecord("other", version{1, 3}, 3))
	require.EqualValues(t, 3, e.has("other"))
}

func TestOffersAreBoundedTogether(t *testing.T) {
	e := quietEngine(t)
	o := largeOffer(1, election.MaxEntries)
	count := 0
	for i := 0; e.count.dropped[dropOverloaded].Load() == 0; i++ {
		require.Less(t, i, maxMembers)
		name := fmt.Sprint("m", i)
		delegate{e}.NotifyJoin(peerNode(name))
		e.trans.links.noteProven(&greeting{head: head{sender: name, instance: 1}}, simAddr(1), token{3}, token{4})
		o.Node = name
		data, _ := o.AppendBinary(nil)
		e.told(name, 1, kindOffer, record{name, version{1, 1}, data})
		count++
	}
	require.LessOrEqual(t, e.table.bytes, maxOffers)
	require.Greater(t, count, 40)
	for _, m := range e.table.all() {
		e.table.leave(m, time.Now())
	}
	require.Zero(t, e.table.bytes)
}

func TestStateKeepsItsBudget(t *testing.T) {
	e := quietEngine(t)
	e.own.data = make([]byte, repairBudget+1)
	full, err := parseMessage(e.state(true))
	require.NoError(t, err)
	require.Len(t, full.records, 1)
	require.Len(t, full.records[0].data, repairBudget+1)
	repair, err := parseMessage(e.state(false))
	require.NoError(t, err)
	require.Len(t, repair.records, 1)
	require.Nil(t, repair.records[0].data, "the version alone")
}

func TestOffersThatAreTooLargeAreNotSent(t *testing.T) {
	e := quietEngine(t)
	o := largeOffer(1, election.MaxEntries+1)
	e.publish(&o)
	e.encode()
	require.Nil(t, e.own.data)
	require.EqualValues(t, 1, e.count.dropped[dropTooLarge].Load())
	fits := largeOffer(2, election.MaxEntries)
	e.publish(&fits)
	e.encode()
	require.NotNil(t, e.own.data)
}

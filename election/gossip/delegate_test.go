package gossip

import (
	"fmt"
	"net"
	"testing"

	"github.com/hashicorp/memberlist"
	"github.com/stretchr/testify/require"
)

// quietEngine is an engine named self that does not run, and knows the member
// other.
func quietEngine(t *testing.T) *engine {
	t.Helper()
	g, err := New(Config{})
	require.NoError(t, err)
	e := newEngine(g, "self", defaultCluster, nil, nil)
	e.datagram = packetSize
	e.close() // no goroutines
	delegate{e}.NotifyJoin(peerNode("other", 1))
	return e
}

// peerNode is a member as memberlist describes it.
func peerNode(name string, instance uint64) *memberlist.Node {
	return &memberlist.Node{
		Name: name, Addr: net.IPv4(10, 0, 0, 1).To4(), Port: 7946, Meta: appendMeta(nil, instance),
		PMin: 1, PMax: 5, PCur: 2,
	}
}

func TestOnlySuitableMembersAreAdmitted(t *testing.T) {
	e := quietEngine(t)
	d := delegate{e}
	require.NoError(t, d.NotifyAlive(peerNode("fine", 1)))
	for name, change := range map[string]func(*memberlist.Node){
		"no name":           func(n *memberlist.Node) { n.Name = "" },
		"a broken name":     func(n *memberlist.Node) { n.Name = "\xff" },
		"no address":        func(n *memberlist.Node) { n.Addr = nil },
		"a broken address":  func(n *memberlist.Node) { n.Addr = n.Addr[:3] },
		"no port":           func(n *memberlist.Node) { n.Port = 0 },
		"no metadata":       func(n *memberlist.Node) { n.Meta = nil },
		"other metadata":    func(n *memberlist.Node) { n.Meta = []byte("consul") },
		"a later version":   func(n *memberlist.Node) { n.Meta = []byte("l2vG\x02") },
		"no common version": func(n *memberlist.Node) { n.PMin, n.PCur = 3, 3 },
	} {
		n := peerNode("bad", 1)
		change(n)
		require.Error(t, d.NotifyAlive(n), name)
	}
}

func TestMembersAreBounded(t *testing.T) {
	e := quietEngine(t)
	d := delegate{e}
	for i := range 2 * maxMembers {
		n := peerNode(fmt.Sprint("m", i), 1)
		if d.NotifyAlive(n) == nil {
			d.NotifyJoin(n)
		}
	}
	require.Len(t, e.table.nodes, maxMembers)
	require.EqualValues(t, maxMembers+1, e.count.dropped[dropOverloaded].Load())
}

func TestOthersCannotSpeakForThisMember(t *testing.T) {
	e := quietEngine(t)
	e.instance = 100
	ours := offer(1)
	e.published, e.own, e.revision = &ours, []byte("ours"), 1

	forged := offer(99)
	forged.Node, forged.Instance = "self", 500
	data, _ := forged.AppendBinary(nil)
	m := message{kind: kindOffer, sender: "other", instance: 1, records: []record{{"self", version{500, 99}, data}}}
	delegate{e}.NotifyMsg(m.append(nil, "l2vip"))
	require.Len(t, e.table.nodes, 1)
	require.Equal(t, "ours", string(e.own))

	e.encode()
	require.EqualValues(t, 501, e.instance, "its own offers are of a later instance now")
	require.EqualValues(t, 1, e.revision)

	// Not for ever: two members of one name must not drive each other up.
	m.records[0].instance = 600
	delegate{e}.NotifyMsg(m.append(nil, "l2vip"))
	e.encode()
	require.EqualValues(t, 501, e.instance)
}

func TestStateKeepsItsBudget(t *testing.T) {
	e := quietEngine(t)
	e.own = make([]byte, repairBudget+1)
	full, err := parseMessage(e.state(true), "l2vip")
	require.NoError(t, err)
	require.Len(t, full.records, 1)
	require.Len(t, full.records[0].data, repairBudget+1)
	repair, err := parseMessage(e.state(false), "l2vip")
	require.NoError(t, err)
	require.Len(t, repair.records, 1)
	require.Nil(t, repair.records[0].data, "the version alone")
}

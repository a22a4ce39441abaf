package announce

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/mdlayher/packet"
	"github.com/stretchr/testify/require"

	"github.com/l2vip/l2vip/internal/neighbor"
	"github.com/l2vip/l2vip/internal/testnet"
)

// What the kernel has no room for, because a responder does not read for a while,
// is counted; afterwards it answers as before.
func TestOverrunsAreCounted(t *testing.T) {
	testnet.Require(t)
	lab, err := testnet.NewLab()
	require.NoError(t, err)
	defer lab.Close()
	node, err := lab.AddNode("speaker", netip.MustParsePrefix("192.168.122.10/24"))
	require.NoError(t, err)
	client, err := lab.AddNode("client", netip.MustParsePrefix("192.168.122.50/24"))
	require.NoError(t, err)
	conn, err := client.Frames()
	require.NoError(t, err)
	defer conn.Close()

	vip := addr("192.168.122.100")
	s := newSimulation(t, Config{}, 1)
	s.links[0] = link{name: node.Interface, index: node.Index, hw: hardwareAddr(node.HardwareAddr)}
	var p *port
	require.NoError(t, node.Do(func() (err error) {
		p, err = s.openPort(s.links[0], false, new(hearing))
		return err
	}))
	p.fill([]Assignment{{Addr: vip, Interfaces: []string{node.Interface}, Mode: Answer}}, None)
	s.ports = []*port{p}

	question, err := neighbor.Probe(vip, [6]byte(client.HardwareAddr))
	require.NoError(t, err)
	ask := func() {
		_, err := conn.WriteTo(question, &packet.Addr{HardwareAddr: net.HardwareAddr(question[:6])})
		require.NoError(t, err)
	}
	dropped := func() uint64 { return s.Announcer.Stats().Dropped[DropOverrun] }
	require.Zero(t, dropped())
	asked := uint64(0)
	for deadline := time.Now().Add(20 * time.Second); dropped() == 0; asked++ {
		require.True(t, time.Now().Before(deadline), "an overrun")
		ask()
	}
	require.Less(t, dropped(), asked)

	p.start()
	defer p.close()
	for n := range uint64(10) { // each is answered, and so was what waited before it
		before := s.Stats().Replies
		for deadline := time.Now().Add(20 * time.Second); s.Stats().Replies < before+n+1; time.Sleep(time.Millisecond) {
			require.True(t, time.Now().Before(deadline), "answers")
			ask()
			asked++
		}
	}
	require.LessOrEqual(t, s.Stats().Replies+dropped(), asked, "none is both answered and counted")
}

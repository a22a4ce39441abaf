package segment_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/l2vip/l2vip/election"
	"github.com/l2vip/l2vip/election/segment"
)

// cable is an Ethernet segment in memory.
type cable struct {
	mu    sync.Mutex
	nics  []*nic
	block func(from, to *nic) bool
}

// nic is a host's way to the cable.
type nic struct {
	*cable
	link     segment.Link
	frames   chan []byte   // not nil once it was opened
	broken   chan struct{} // closed when the open port breaks
	paused   chan struct{} // closed when it goes on; nil while it runs
	fails    int           // so many times Open fails
	noKernel bool          // its kernel answers nothing
	ended    bool          // its kernel says that the process has
}

var errClosed = errors.New("closed")

func (c *cable) plug() *nic {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := byte(len(c.nics) + 1)
	n := &nic{cable: c, link: segment.Link{Index: 1, HardwareAddr: [6]byte{2, 0, 0, 0, 0, i}, Addr: netip.AddrFrom4([4]byte{192, 0, 2, i})}}
	c.nics = append(c.nics, n)
	return n
}

func (n *nic) Open(l segment.Link) (segment.Port, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.fails > 0 {
		n.fails--
		return nil, errors.New("no such link")
	}
	n.frames, n.broken = make(chan []byte, 1000), make(chan struct{})
	return &nicPort{n, make(chan struct{}), n.broken, n.frames}, nil
}

func (n *nic) Neighbors(int) (all []segment.Neighbor) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, o := range n.nics {
		if o != n && o.frames == nil { // a station, no member
			all = append(all, segment.Neighbor{Addr: o.link.Addr, HardwareAddr: o.link.HardwareAddr})
		}
	}
	return all
}

func (*nic) Listen() (uint16, error) { return 50000, nil }

func (n *nic) ProbePort(to netip.AddrPort, closed func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, o := range n.nics {
		if o.link.Addr == to.Addr() && o.ended && !n.blocked(n, o) {
			go closed()
		}
	}
}

func (c *cable) blocked(from, to *nic) bool { return c.block != nil && c.block(from, to) }

// pause stops a process: what it writes waits, and what arrives waits for it.
func (n *nic) pause() (resume func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	paused := make(chan struct{})
	n.paused = paused
	return func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.paused = nil
		close(paused)
	}
}

func (n *nic) runs() {
	n.mu.Lock()
	paused := n.paused
	n.mu.Unlock()
	if paused != nil {
		<-paused
	}
}

type nicPort struct {
	*nic
	closed chan struct{}
	broken chan struct{}
	frames chan []byte
}

func (p *nicPort) Read(b []byte) (int, error) {
	select {
	case frame := <-p.frames:
		p.runs()
		return copy(b, frame), nil
	case <-p.closed:
		return 0, errClosed
	case <-p.broken:
		return 0, errors.New("broken")
	}
}

func (p *nicPort) Close() error {
	close(p.closed)
	return nil
}

func (p *nicPort) Write(frame []byte) (int, error) {
	p.runs()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.send(frame)
	return len(frame), nil
}

// send takes a frame to all that it is for, and answers for their kernels.
func (n *nic) send(frame []byte) {
	to := [6]byte(frame)
	for _, o := range n.nics {
		if o == n || n.blocked(n, o) || to[0]&1 == 0 && to != o.link.HardwareAddr {
			continue
		}
		if o.frames != nil {
			select {
			case o.frames <- slices.Clone(frame):
			default:
			}
		}
		if ether := binary.BigEndian.Uint16(frame[12:]); ether == 0x0806 && !o.noKernel && frame[21] == 1 && netip.AddrFrom4([4]byte(frame[38:])) == o.link.Addr {
			reply := make([]byte, 60)
			copy(reply, frame[6:12])
			copy(reply[6:], o.link.HardwareAddr[:])
			copy(reply[12:], frame[12:21])
			reply[21] = 2
			o.send(reply)
		}
	}
}

// onCable runs members on a cable in a bubble.
func onCable(t *testing.T, n int, c segment.Config, f func(t *testing.T, cable *cable, all []*cableMember)) {
	synctest.Test(t, func(t *testing.T) {
		cable := new(cable)
		var all []*cableMember
		for i := range n {
			m := newCableMember(t, cable, c, fmt.Sprint("node-", i))
			m.start(t)
			all = append(all, m)
		}
		cable.plug() // the gateway
		all[0].set(all[0].said, 1, true)
		time.Sleep(time.Second)
		synctest.Wait()
		for _, m := range all {
			require.Len(t, m.picture().Peers, n-1)
		}
		f(t, cable, all)
	})
}

type cableMember struct {
	*watcher
	nic *nic
}

func newCableMember(t *testing.T, cable *cable, c segment.Config, name string) *cableMember {
	n := cable.plug()
	c.Ethernet = n
	m := &cableMember{newWatcher(t, c, name, []byte("sixteen bytes or more"), func(run func() error) error { return run() }), n}
	m.set(segment.State{Links: []segment.Link{n.link}, Lease: time.Second}, 1, false)
	return m
}

// after lets time pass, and everything that is due then happen.
func after(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func TestEthernetAHolderThatIsCutOff(t *testing.T) {
	onCable(t, 3, segment.Config{}, func(t *testing.T, cable *cable, all []*cableMember) {
		cut := all[0].nic
		cable.setBlock(func(from, to *nic) bool { return from == cut || to == cut })
		after(all[0].Detection() + 2*time.Millisecond)
		for _, m := range all[1:] {
			require.Equal(t, segment.Unreachable, m.row("node-0").State)
		}
		after(time.Second)
		require.True(t, all[0].picture().Links[0].Isolated)
		cable.setBlock(nil)
		after(time.Second)
		for _, m := range all[1:] {
			require.Equal(t, segment.Up, m.row("node-0").State)
		}
		require.False(t, all[0].picture().Links[0].Isolated)
	})
}

func (c *cable) setBlock(block func(from, to *nic) bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.block = block
}

func (m *cableMember) peer(name string) segment.Peer {
	for _, p := range m.picture().Peers {
		if p.Node == name {
			return p
		}
	}
	return segment.Peer{}
}

func (m *cableMember) row(name string) segment.Row { return m.peer(name).Rows[0] }

// A process that was stopped is stalled as long as its kernel answers, is not made to
// look alive by a write that waited, and suspects no member when it goes on.
func TestEthernetAStoppedProcess(t *testing.T) {
	onCable(t, 3, segment.Config{}, func(t *testing.T, cable *cable, all []*cableMember) {
		var longestAgo time.Duration
		s := all[0].said
		s.Sent = func(ago time.Duration) { longestAgo = max(longestAgo, ago) }
		all[0].set(s, 1, true)
		after(100 * time.Millisecond)
		require.Less(t, longestAgo, time.Millisecond)
		resume := all[0].nic.pause()
		after(500 * time.Millisecond)
		require.Equal(t, segment.Stalled, all[1].row("node-0").State)
		require.True(t, all[1].row("node-0").Leased)
		after(time.Second)
		require.False(t, all[1].row("node-0").Leased)
		suspicions := all[0].Stats().Suspicions
		resume()
		after(time.Second)
		require.GreaterOrEqual(t, longestAgo, time.Second, "the beat began before")
		require.Equal(t, segment.Up, all[1].row("node-0").State)
		require.Equal(t, suspicions, all[0].Stats().Suspicions, "it reads before it judges")
	})
}

func TestEthernetAProcessThatEnded(t *testing.T) {
	onCable(t, 3, segment.Config{}, func(t *testing.T, cable *cable, all []*cableMember) {
		n := all[0].nic
		cable.mu.Lock()
		n.ended = true
		cable.mu.Unlock()
		all[0].Set(segment.State{})
		after(20 * time.Millisecond)
		require.Equal(t, segment.Ended, all[1].row("node-0").State)
		require.Empty(t, all[0].picture().Links)
	})
}

func TestEthernetALargeOffer(t *testing.T) {
	onCable(t, 3, segment.Config{}, func(t *testing.T, cable *cable, all []*cableMember) {
		all[0].set(all[0].said, 10_000, true)
		after(time.Second)
		for _, m := range all[1:] {
			require.Len(t, m.peer("node-0").Offer.Entries, 10_000)
			require.True(t, m.peer("node-0").HoldsAsOffered)
		}
	})
}

func TestEthernetALinkThatCannotBeOpenedOrBreaks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cable := new(cable)
		a, b := newCableMember(t, cable, segment.Config{}, "a"), newCableMember(t, cable, segment.Config{}, "b")
		b.nic.fails = 2
		a.start(t)
		b.start(t)
		after(1900 * time.Millisecond)
		require.Empty(t, b.picture().Links)
		after(200 * time.Millisecond)
		require.Len(t, b.picture().Links, 1)
		require.NotZero(t, b.picture().Links[0].Since)
		require.Equal(t, segment.Up, a.row("b").State)

		since := b.picture().Links[0].Since
		cable.mu.Lock()
		close(b.nic.broken)
		cable.mu.Unlock()
		after(1500 * time.Millisecond)
		require.Greater(t, b.picture().Links[0].Since, since, "it was opened again")
		require.Equal(t, segment.Up, a.row("b").State)
		require.Equal(t, segment.Up, b.row("a").State)
	})
}

func TestEthernetEnds(t *testing.T) {
	onCable(t, 2, segment.Config{}, func(t *testing.T, cable *cable, all []*cableMember) {
		require.NoError(t, all[0].stop())
		synctest.Wait()
		require.Equal(t, segment.Left, all[1].row("node-0").State)
		require.Error(t, all[0].Run(context.Background(), all[0].local, all[0].report), "twice")
	})
}

// What lay unread when a new Epoch was set does not count for it.
func TestEthernetEpoch(t *testing.T) {
	onCable(t, 2, segment.Config{}, func(t *testing.T, cable *cable, all []*cableMember) {
		set := func(epoch uint64) {
			s := all[1].said
			s.Epoch = epoch
			all[1].said = s
			all[1].Set(s)
		}
		set(1)
		after(10 * time.Millisecond)
		require.Equal(t, uint64(1), all[1].peer("node-0").Epoch)

		resume := all[1].nic.pause()
		after(100 * time.Millisecond)
		cut := all[0].nic
		cable.setBlock(func(from, to *nic) bool { return from == cut })
		after(10 * time.Millisecond)
		set(2)
		resume()
		after(time.Second)
		require.Equal(t, uint64(1), all[1].peer("node-0").Epoch, "its beats had come before")
		cable.setBlock(nil)
		after(200 * time.Millisecond)
		require.Equal(t, uint64(2), all[1].peer("node-0").Epoch)
	})
}

func TestRunRefuses(t *testing.T) {
	for _, local := range []election.Local{
		{Instance: 1},
		{Name: string(make([]byte, 129)), Instance: 1},
		{Name: "\xff", Instance: 1},
		{Name: "a"},
		{Name: "a", Instance: 1, Cluster: string(make([]byte, 129))},
	} {
		s, err := segment.New(segment.Config{Ethernet: new(cable).plug()})
		require.NoError(t, err)
		require.ErrorContains(t, s.Run(context.Background(), local, nil), "segment: ")
	}
}

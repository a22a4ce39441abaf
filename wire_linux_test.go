package l2vip_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mdlayher/arp"
	"github.com/mdlayher/ethernet"
	"github.com/mdlayher/packet"
	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
	"go.uber.org/goleak"

	"github.com/l2vip/l2vip"
	"github.com/l2vip/l2vip/announce"
	"github.com/l2vip/l2vip/election/gossip"
	"github.com/l2vip/l2vip/internal/testnet"
)

// speakerEnv makes the test binary a speaker in a lab instead: the node's name,
// its peers, the gossip port and the address, joined by spaces.
const speakerEnv = "L2VIP_TEST_SPEAKER"

// patience bounds the wait for something that must happen, on a slow machine.
const patience = 30 * time.Second

func TestMain(m *testing.M) {
	if args := os.Getenv(speakerEnv); args != "" {
		if err := speak(strings.Fields(args)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(testnet.Main(func() int {
		status := m.Run()
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return status
	}))
}

// speak runs a Runner and prints its events, one JSON object a line, until it is
// interrupted.
func speak(args []string) error {
	name, peers, address := args[0], strings.Split(args[1], ","), args[3]
	port := 0
	if _, err := fmt.Sscan(args[2], &port); err != nil {
		return err
	}
	g, err := gossip.New(gossip.Config{Cluster: "port " + args[2], Peers: peers, Port: port})
	if err != nil {
		return err
	}
	r, err := l2vip.New(l2vip.Config{
		Name: name, Interfaces: []string{"eth0"}, Membership: g,
		Services: []l2vip.Service{{Addresses: []netip.Addr{netip.MustParseAddr(address)}}},
	})
	if err != nil {
		return err
	}
	events, stopEvents := context.WithCancel(context.Background())
	printed := make(chan struct{})
	go func() {
		defer close(printed)
		for e := range r.Events(events, 0) {
			_ = json.NewEncoder(os.Stdout).Encode(e)
		}
	}()
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // until the test closes it
		cancel()
	}()
	err = r.Run(ctx)
	stopEvents()
	<-printed
	return err
}

// fronts is a lab with a client and speakers.
type fronts struct {
	*testing.T
	lab    *testnet.Lab
	client *testnet.Node
	nodes  []*testnet.Node
}

func newFronts(t *testing.T, n int) *fronts {
	testnet.Require(t)
	lab, err := testnet.NewLab()
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, lab.Close()) })
	f := &fronts{T: t, lab: lab}
	f.client, err = lab.AddNode("client", netip.MustParsePrefix("192.168.122.50/24"))
	require.NoError(t, err)
	for i := range n {
		node, err := lab.AddNode(fmt.Sprintf("front-%d", i), netip.PrefixFrom(nodeAddr(i), 24))
		require.NoError(t, err)
		f.nodes = append(f.nodes, node)
	}
	return f
}

// speaker is a process that runs speak.
type speaker struct {
	*exec.Cmd
	node   *testnet.Node
	stdin  io.Closer
	events chan l2vip.Event
}

// speak starts a speaker on a node.
func (f *fronts) speak(node *testnet.Node, port int, address netip.Addr) *speaker {
	f.Helper()
	var peers []string
	for _, n := range f.nodes {
		peers = append(peers, n.Addrs[0].String())
	}
	s := &speaker{Cmd: exec.Command("/proc/self/exe"), node: node, events: make(chan l2vip.Event, 1024)}
	s.Env = append(os.Environ(), fmt.Sprintf("%s=%s %s %d %s", speakerEnv, node.Name, strings.Join(peers, ","), port, address))
	s.Stderr = os.Stderr
	stdin, err := s.StdinPipe()
	require.NoError(f, err)
	s.stdin = stdin
	stdout, err := s.StdoutPipe()
	require.NoError(f, err)
	require.NoError(f, node.Start(s.Cmd))
	go func() {
		defer close(s.events)
		for lines := bufio.NewScanner(stdout); lines.Scan(); {
			var e l2vip.Event
			if json.Unmarshal(lines.Bytes(), &e) == nil {
				s.events <- e
			}
		}
	}()
	return s
}

// speakers starts one on each node, and returns the one that holds the address
// and the others.
func (f *fronts) speakers() (holder *speaker, others []*speaker) {
	f.Helper()
	all := make([]*speaker, len(f.nodes))
	for i, node := range f.nodes {
		all[i] = f.speak(node, 7946, vip)
	}
	for _, s := range all {
		// Every speaker hears who holds it, the holder itself included.
		if e := s.wait(f.T, l2vip.HolderChanged); e.Node == s.node.Name {
			holder = s
		} else {
			others = append(others, s)
		}
	}
	require.NotNil(f, holder)
	return holder, others
}

// wait returns the next event of the kind that names a member, if any is to.
func (s *speaker) wait(t *testing.T, kind l2vip.Kind) l2vip.Event {
	t.Helper()
	timeout := time.After(patience)
	for {
		select {
		case e, ok := <-s.events:
			require.True(t, ok, "%s ended before %q", s.node.Name, kind)
			if e.Kind == kind && (kind != l2vip.HolderChanged || e.Node != "") {
				return e
			}
		case <-timeout:
			require.Fail(t, "no event", "%s waited for %q", s.node.Name, kind)
		}
	}
}

// neighbor returns the hardware address that the client's kernel has for vip,
// after it has asked for it if it had none.
func (f *fronts) neighbor() (hw string) {
	f.Helper()
	require.NoError(f, f.client.Do(func() error {
		c, err := net.Dial("udp", netip.AddrPortFrom(vip, 9).String())
		if err != nil {
			return err
		}
		defer c.Close()
		for began := time.Now(); time.Since(began) < patience; time.Sleep(10 * time.Millisecond) {
			if _, err := c.Write([]byte("anybody there?")); err != nil {
				continue // refused: there is a host, at least
			}
			neighbors, err := netlink.NeighList(f.client.Index, netlink.FAMILY_V4)
			if err != nil {
				return err
			}
			for _, n := range neighbors {
				if n.IP.String() == vip.String() && n.State&(netlink.NUD_REACHABLE|netlink.NUD_STALE|netlink.NUD_DELAY|netlink.NUD_PROBE) != 0 {
					hw = n.HardwareAddr.String()
					return nil
				}
			}
		}
		return fmt.Errorf("nobody answers for %v", vip)
	}))
	return hw
}

func TestWireFailover(t *testing.T) {
	f := newFronts(t, 3)
	holder, others := f.speakers()
	require.Equal(t, holder.node.HardwareAddr.String(), f.neighbor())

	require.NoError(t, holder.node.Unplug())
	successor := others[0]
	name := successor.wait(t, l2vip.HolderChanged).Node
	if name != successor.node.Name {
		successor = others[1]
	}
	require.Equal(t, vip, successor.wait(t, l2vip.Claimed).Addr)
	// The client's kernel had an entry: only the announcement can change it.
	require.Eventually(t, func() bool { return f.neighbor() == successor.node.HardwareAddr.String() }, patience, 10*time.Millisecond)

	// The node returns and disturbs nothing: its speaker sees the successor
	// hold the address, and nobody has claimed it since.
	require.NoError(t, holder.node.Plug())
	require.Equal(t, name, holder.wait(t, l2vip.HolderChanged).Node)
	require.Equal(t, successor.node.HardwareAddr.String(), f.neighbor())

	// None of this is taken for a conflict.
	for _, s := range append(others, holder) {
		for _, kind := range pending(s.events) {
			require.NotContains(t, []l2vip.Kind{l2vip.RivalSighted, l2vip.KernelAnswers, l2vip.Defended, l2vip.AddressDisputed}, kind)
		}
	}

	// Told to stop, the successor hands over before it ends.
	require.NoError(t, successor.stdin.Close())
	require.Equal(t, vip, successor.wait(t, l2vip.Released).Addr)
	require.NoError(t, successor.Wait())
	require.Eventually(t, func() bool { return f.neighbor() != successor.node.HardwareAddr.String() }, patience, 10*time.Millisecond)
}

func TestWireStoppedProcessIsSilentWhenItComesBack(t *testing.T) {
	f := newFronts(t, 3)
	holder, others := f.speakers()
	// It is not to be stopped in the middle of its first announcement: between
	// a look at the lease and the call that sends there is nothing to be done.
	require.Equal(t, holder.node.HardwareAddr.String(), f.neighbor())
	require.NoError(t, syscall.Kill(holder.Process.Pid, syscall.SIGSTOP))
	name := others[0].wait(t, l2vip.HolderChanged).Node
	require.NotEqual(t, holder.node.Name, name)

	// From now on a client asks all the time, so the stopped process finds its
	// socket full of requests when it goes on.
	port, err := f.client.Frames()
	require.NoError(t, err)
	defer port.Close()
	asking := make(chan struct{})
	asked := make(chan struct{})
	go func() {
		defer close(asked)
		for {
			select {
			case <-asking:
				return
			case <-time.After(2 * time.Millisecond):
				_, _ = port.WriteTo(request(t, f.client), &packet.Addr{HardwareAddr: ethernet.Broadcast})
			}
		}
	}()
	time.Sleep(100 * time.Millisecond) // some are waiting by now; more or fewer make no difference
	require.NoError(t, syscall.Kill(holder.Process.Pid, syscall.SIGCONT))
	require.Equal(t, name, holder.wait(t, l2vip.HolderChanged).Node, "it yields to the one that took over")
	time.Sleep(time.Second)
	close(asking)
	<-asked

	// Nothing that came after the process was stopped is from it.
	require.NoError(t, port.SetReadDeadline(time.Now().Add(time.Second)))
	answers := 0
	for buf := make([]byte, 2048); ; {
		n, _, err := port.ReadFrom(buf)
		if err != nil {
			break
		}
		if from := sender(buf[:n]); from != nil {
			require.NotEqual(t, holder.node.HardwareAddr.String(), from.String(), "the stopped process has answered or announced")
			answers++
		}
	}
	require.NotZero(t, answers)
	for _, s := range others {
		require.NotContains(t, pending(s.events), l2vip.Released, "the successor never gave way")
	}
}

// pending returns the kinds of the events that have come already.
func pending(events <-chan l2vip.Event) (kinds []l2vip.Kind) {
	for {
		select {
		case e := <-events:
			kinds = append(kinds, e.Kind)
		default:
			return kinds
		}
	}
}

// request returns a frame in which the client asks for vip.
func request(t *testing.T, client *testnet.Node) []byte {
	p, err := arp.NewPacket(arp.OperationRequest, client.HardwareAddr, client.Addrs[0], make(net.HardwareAddr, 6), vip)
	require.NoError(t, err)
	payload, err := p.MarshalBinary()
	require.NoError(t, err)
	frame := ethernet.Frame{Destination: ethernet.Broadcast, Source: client.HardwareAddr, EtherType: ethernet.EtherTypeARP, Payload: payload}
	b, err := frame.MarshalBinary()
	require.NoError(t, err)
	return b
}

// sender returns the hardware address of the station that claims vip in an ARP
// frame, or nil.
func sender(b []byte) net.HardwareAddr {
	var frame ethernet.Frame
	var p arp.Packet
	if frame.UnmarshalBinary(b) != nil || frame.EtherType != ethernet.EtherTypeARP ||
		p.UnmarshalBinary(frame.Payload) != nil || p.SenderIP != vip {
		return nil
	}
	return p.SenderHardwareAddr
}

func TestWireKilledSpeakerIsReplacedAndItsSuccessorFindsWhatItLeft(t *testing.T) {
	f := newFronts(t, 2)
	holder, others := f.speakers()
	require.NoError(t, holder.Process.Kill())
	_ = holder.Wait()
	require.Equal(t, others[0].node.Name, others[0].wait(t, l2vip.HolderChanged).Node)
	require.True(t, bound(t, holder.node), "the kernel keeps the address, and does not answer for it")

	again := f.speak(holder.node, 7946, vip)
	require.Equal(t, others[0].node.Name, again.wait(t, l2vip.HolderChanged).Node)
	require.NoError(t, again.stdin.Close())
	require.NoError(t, again.Wait())
	require.False(t, bound(t, holder.node), "what the killed process left is taken back")
}

// bound reports whether vip is on lo.
func bound(t *testing.T, node *testnet.Node) (ok bool) {
	require.NoError(t, node.Do(func() error {
		addrs, err := netlink.AddrList(nil, netlink.FAMILY_V4)
		for _, a := range addrs {
			ok = ok || a.IP.String() == vip.String() && a.Scope == int(netlink.SCOPE_HOST)
		}
		return err
	}))
	return ok
}

// give gives vip to a node's interface, as ip address add does.
func give(t *testing.T, node *testnet.Node) {
	require.NoError(t, node.Do(func() error {
		link, err := netlink.LinkByIndex(node.Index)
		if err != nil {
			return err
		}
		return netlink.AddrAdd(link, &netlink.Addr{IPNet: &net.IPNet{IP: vip.AsSlice(), Mask: net.CIDRMask(32, 32)}})
	}))
}

func TestWireStrangerThatSaysNothingIsReported(t *testing.T) {
	f := newFronts(t, 2)
	holder, others := f.speakers()
	give(t, f.client)
	sighted := holder.wait(t, l2vip.RivalSighted)
	require.Equal(t, f.client.HardwareAddr.String(), sighted.Hardware)
	require.Empty(t, sighted.Node)
	require.Equal(t, sighted.Hardware, holder.wait(t, l2vip.Defended).Hardware)
	require.NotContains(t, pending(holder.events), l2vip.Released)
	require.NotContains(t, pending(others[0].events), l2vip.Claimed)
}

func TestWireMemberWhoseKernelAnswersIsNamed(t *testing.T) {
	f := newFronts(t, 2)
	holder, others := f.speakers()
	wrong := others[0].node
	give(t, wrong) // now arp_ignore lets the kernel answer
	answers := holder.wait(t, l2vip.KernelAnswers)
	require.Equal(t, wrong.Name, answers.Node)
	require.Equal(t, wrong.HardwareAddr.String(), answers.Hardware)
}

func TestWireTwoRunnersOnOneHost(t *testing.T) {
	f := newFronts(t, 1)
	first := f.speak(f.nodes[0], 7946, vip)
	second := f.speak(f.nodes[0], 7947, addr("192.168.122.101"))
	require.Equal(t, vip, first.wait(t, l2vip.Claimed).Addr)
	require.Equal(t, addr("192.168.122.101"), second.wait(t, l2vip.Claimed).Addr)
	require.NoError(t, second.stdin.Close())
	require.NoError(t, second.Wait())
	require.True(t, bound(t, f.nodes[0]), "the other's address stays")
	require.Equal(t, f.nodes[0].HardwareAddr.String(), f.neighbor())
}

var _ l2vip.Announcer = (*announce.Announcer)(nil)

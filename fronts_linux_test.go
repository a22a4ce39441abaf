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
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
	"go.uber.org/goleak"

	"github.com/l2vip/l2vip"
	"github.com/l2vip/l2vip/announce"
	"github.com/l2vip/l2vip/election/gossip"
	"github.com/l2vip/l2vip/internal/testnet"
)

// speakerEnv makes the test binary a speaker in a lab instead: its name, its peers by
// gossip (or - for none, and no gossip), the number of its cluster, the address and the
// interfaces, joined by spaces.
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

// said is a line that a speaker prints.
type said struct {
	Event  *l2vip.Event  `json:",omitempty"`
	Status *l2vip.Status `json:",omitempty"`
}

// speak runs a Runner and prints its events, and its status for each line that it
// reads, until there are none any more.
func speak(args []string) error {
	config := l2vip.Config{
		Name: args[0], Cluster: "cluster " + args[2], Interfaces: strings.Split(args[4], ","),
		Services: []l2vip.Service{{Addresses: []netip.Addr{netip.MustParseAddr(args[3])}}},
	}
	if args[1] != "-" {
		g, err := gossip.New(gossip.Config{Peers: strings.Split(args[1], ",")})
		if err != nil {
			return err
		}
		config.Membership = g
	}
	r, err := l2vip.New(config)
	if err != nil {
		return err
	}
	events, stopEvents := context.WithCancel(context.Background())
	printed := make(chan struct{})
	go func() {
		defer close(printed)
		for e := range r.Events(events, 0) {
			_ = json.NewEncoder(os.Stdout).Encode(said{Event: &e})
		}
	}()
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
			_ = json.NewEncoder(os.Stdout).Encode(said{Status: r.Status()})
		}
		cancel() // the test has closed it
	}()
	err = r.Run(ctx)
	stopEvents()
	<-printed
	return err
}

// families runs a test once for an address of each family, side by side: each waits
// for most of the time.
func families(t *testing.T, test func(t *testing.T, vip netip.Addr)) {
	for name, vip := range map[string]netip.Addr{"IPv4": vip, "IPv6": vip6} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, vip)
		})
	}
}

// vip6 is the address of the scenario, in the other family.
var vip6 = addr("2001:db8::100")

// fronts is a lab with a client and nodes, on which speakers announce vip.
type fronts struct {
	testing.TB
	vip        netip.Addr
	lab        *testnet.Lab
	client     *testnet.Node
	nodes      []*testnet.Node
	interfaces string // that speakers announce on
	gossips    bool   // speakers have a membership engine besides
}

// newFronts returns a lab with n nodes. What happens is all in vip's family.
func newFronts(t testing.TB, n int, vip netip.Addr) *fronts {
	testnet.Require(t)
	lab, err := testnet.NewLab()
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, lab.Close()) })
	f := &fronts{TB: t, vip: vip, lab: lab, interfaces: "eth0"}
	on := func(host int) netip.Prefix {
		if vip.Is6() {
			return netip.PrefixFrom(addr(fmt.Sprintf("2001:db8::%d", host)), 64)
		}
		return netip.PrefixFrom(addr(fmt.Sprintf("192.168.122.%d", host)), 24)
	}
	f.client, err = lab.AddNode("client", on(50))
	require.NoError(t, err)
	for i := range n {
		node, err := lab.AddNode(fmt.Sprintf("front-%d", i), on(10+i))
		require.NoError(t, err)
		f.nodes = append(f.nodes, node)
	}
	return f
}

// speaker is a process that runs speak.
type speaker struct {
	*exec.Cmd
	node     *testnet.Node
	stdin    io.WriteCloser
	events   chan l2vip.Event
	statuses chan *l2vip.Status
}

// speak starts a speaker of a cluster on a node, under the node's name.
func (f *fronts) speak(node *testnet.Node, cluster int, address netip.Addr) *speaker {
	f.Helper()
	return f.speakAs(node.Name, node, cluster, address)
}

func (f *fronts) speakAs(name string, node *testnet.Node, cluster int, address netip.Addr) *speaker {
	f.Helper()
	s := &speaker{
		Cmd: exec.Command("/proc/self/exe"), node: node,
		events: make(chan l2vip.Event, 1024), statuses: make(chan *l2vip.Status, 1),
	}
	peers := "-"
	if f.gossips {
		var all []string
		for _, n := range f.nodes {
			all = append(all, n.Addrs[0].String())
		}
		peers = strings.Join(all, ",")
	}
	args := fmt.Sprintf("%s %s %d %s %s", name, peers, cluster, address, f.interfaces)
	s.Env = append(os.Environ(), speakerEnv+"="+args)
	s.Stderr = os.Stderr
	stdin, err := s.StdinPipe()
	require.NoError(f, err)
	s.stdin = stdin
	stdout, err := s.StdoutPipe()
	require.NoError(f, err)
	require.NoError(f, node.Start(s.Cmd))
	go func() {
		defer close(s.events)
		for out := json.NewDecoder(stdout); ; {
			var line said
			if out.Decode(&line) != nil {
				return
			}
			if line.Event != nil {
				s.events <- *line.Event
			} else {
				s.statuses <- line.Status
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
		all[i] = f.speak(node, 1, f.vip)
	}
	for _, s := range all {
		// Every speaker hears who holds it, the holder itself included.
		if e := s.wait(f.TB, l2vip.HolderChanged); e.Node == s.node.Name {
			holder = s
		} else {
			others = append(others, s)
		}
	}
	require.NotNil(f, holder)
	return holder, others
}

// wait returns the next event of the kind that names a member, if any is to.
func (s *speaker) wait(t testing.TB, kind l2vip.Kind) l2vip.Event {
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

// status asks for the speaker's status.
func (s *speaker) status(t testing.TB) *l2vip.Status {
	t.Helper()
	_, err := fmt.Fprintln(s.stdin)
	require.NoError(t, err)
	select {
	case status := <-s.statuses:
		return status
	case <-time.After(patience):
		require.Fail(t, "no status", s.node.Name)
		return nil
	}
}

// await waits until what the speaker says of its address is as wanted.
func (s *speaker) await(t testing.TB, want func(l2vip.AddressStatus) bool, what string) (a l2vip.AddressStatus) {
	t.Helper()
	for began := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		if a = s.status(t).Addresses[0]; want(a) {
			return a
		}
		if time.Since(began) > patience {
			require.Fail(t, what, "%s: %+v", s.node.Name, a)
		}
	}
}

// awaitHolder waits until one of the speakers holds the address and no other does,
// and returns it and the others.
func (f *fronts) awaitHolder(all []*speaker) (holder *speaker, others []*speaker) {
	f.Helper()
	for began := time.Now(); time.Since(began) < patience; time.Sleep(10 * time.Millisecond) {
		holder, others = nil, nil
		for _, s := range all {
			if holder == nil && s.status(f.TB).Addresses[0].Holds {
				holder = s
			} else {
				others = append(others, s)
			}
		}
		if holder != nil && !slices.ContainsFunc(others, func(s *speaker) bool { return s.status(f.TB).Addresses[0].Holds }) {
			return holder, others
		}
	}
	require.Fail(f, "not one holder")
	return nil, nil
}

// entry returns the hardware address that the client's kernel has for vip; empty
// if it has none.
func (f *fronts) entry() (hw string) {
	f.Helper()
	require.NoError(f, f.client.Do(func() error {
		neighbors, err := netlink.NeighList(f.client.Index, family(f.vip))
		for _, n := range neighbors {
			if n.IP.Equal(f.vip.AsSlice()) && n.State&(netlink.NUD_REACHABLE|netlink.NUD_STALE|netlink.NUD_DELAY|netlink.NUD_PROBE) != 0 {
				hw = n.HardwareAddr.String()
			}
		}
		return err
	}))
	return hw
}

// family returns netlink's number for the family of an address.
func family(a netip.Addr) int {
	if a.Is6() {
		return netlink.FAMILY_V6
	}
	return netlink.FAMILY_V4
}

// neighbor returns the hardware address that the client's kernel has for vip,
// after it has asked for it if it had none.
func (f *fronts) neighbor() (hw string) {
	f.Helper()
	c := f.dial()
	defer c.Close()
	for began := time.Now(); time.Since(began) < patience; time.Sleep(10 * time.Millisecond) {
		_, _ = c.Write([]byte("anybody there?")) // refused: there is a host, at least
		if hw = f.entry(); hw != "" {
			return hw
		}
	}
	require.Fail(f, "nobody answers", f.vip)
	return ""
}

// dial opens a socket of the client to vip, where nobody listens.
func (f *fronts) dial() net.Conn {
	f.Helper()
	c, err := f.client.DialContext(f.Context(), "udp", netip.AddrPortFrom(f.vip, 9).String())
	require.NoError(f, err)
	return c
}

// follows waits until the client's kernel has the speaker's hardware address for
// vip: it believed another one, and only what it hears can change that.
func (f *fronts) follows(s *speaker) {
	f.Helper()
	require.Eventually(f, func() bool { return f.entry() == s.node.HardwareAddr.String() }, patience, 10*time.Millisecond,
		"the client's entry is not that of %s", s.node.Name)
}

// believes lets the client's kernel rely on what it knows of its neighbors for an
// hour, so that it asks for none anew.
func (f *fronts) believes() {
	f.Helper()
	name := "ipv4"
	if f.vip.Is6() {
		name = "ipv6"
	}
	f.set(f.client, name+"/neigh/eth0/base_reachable_time_ms", "3600000")
}

// set sets a setting of a node's kernel, below net.
func (f *fronts) set(node *testnet.Node, name, value string) {
	f.Helper()
	require.NoError(f, node.Do(func() error { return os.WriteFile("/proc/sys/net/"+name, []byte(value), 0) }))
}

var _ l2vip.Announcer = (*announce.Announcer)(nil)

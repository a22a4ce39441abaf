package l2vip_test

import (
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/l2vip/l2vip"
	"github.com/l2vip/l2vip/election"
	"github.com/l2vip/l2vip/internal/testnet"
)

func TestWireFailover(t *testing.T) { families(t, testFailover) }

// testFailover is a failover and all that comes after it.
func testFailover(t *testing.T, vip netip.Addr) {
	f := newFronts(t, 3, vip)
	holder, others := f.speakers()
	require.Equal(t, holder.node.HardwareAddr.String(), f.neighbor())

	require.NoError(t, holder.node.Unplug())
	successor, _ := f.awaitHolder(others)
	// The client's kernel had an entry: only the announcement can change it.
	f.follows(successor)

	// The node returns and disturbs nothing: its speaker sees the successor
	// hold the address, and nobody has claimed it since.
	require.NoError(t, holder.node.Plug())
	require.Equal(t, successor.node.Name, holder.wait(t, l2vip.HolderChanged).Node)
	require.Equal(t, successor.node.HardwareAddr.String(), f.neighbor())

	// None of this is taken for a conflict.
	for _, s := range append(others, holder) {
		for _, kind := range pending(s.events) {
			require.NotContains(t, conflicts, kind)
		}
	}

	// Told to stop, the successor hands over before it ends.
	require.NoError(t, successor.stdin.Close())
	require.Equal(t, vip, successor.wait(t, l2vip.Released).Addr)
	require.NoError(t, successor.Wait())
	require.Eventually(t, func() bool { return f.neighbor() != successor.node.HardwareAddr.String() }, patience, 10*time.Millisecond)
}

// conflicts are the events that a failover is no reason for.
var conflicts = []l2vip.Kind{l2vip.RivalSighted, l2vip.KernelAnswers, l2vip.Defended, l2vip.AddressDisputed}

func TestWireStoppedProcessIsSilentWhenItComesBack(t *testing.T) {
	families(t, func(t *testing.T, vip netip.Addr) {
		f := newFronts(t, 3, vip)
		holder, others := f.speakers()
		// It is not to be stopped in the middle of its first announcement: between
		// a look at the lease and the call that sends there is nothing to be done.
		require.Equal(t, holder.node.HardwareAddr.String(), f.neighbor())
		require.NoError(t, syscall.Kill(holder.Process.Pid, syscall.SIGSTOP))
		name := others[0].wait(t, l2vip.HolderChanged).Node
		require.NotEqual(t, holder.node.Name, name)

		// From now on a client asks all the time, so the stopped process finds its
		// socket full of requests when it goes on.
		w := f.wire()
		asking := make(chan struct{})
		asked := make(chan struct{})
		go func() {
			defer close(asked)
			for {
				select {
				case <-asking:
					return
				case <-time.After(2 * time.Millisecond):
					_ = w.ask()
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
		answers := 0
		for deadline := time.Now().Add(time.Second); ; answers++ {
			c, err := w.next(deadline)
			if err != nil {
				break
			}
			require.NotEqual(t, holder.node.HardwareAddr.String(), c.station, "the stopped process has answered or announced")
		}
		require.NotZero(t, answers)
		for _, s := range others {
			require.NotContains(t, pending(s.events), l2vip.Released, "the successor never gave way")
		}
	})
}

func TestWireKilledSpeakerIsReplacedAndItsSuccessorFindsWhatItLeft(t *testing.T) {
	families(t, func(t *testing.T, vip netip.Addr) {
		f := newFronts(t, 2, vip)
		holder, others := f.speakers()
		require.Equal(t, holder.node.HardwareAddr.String(), f.neighbor())
		require.NoError(t, holder.Process.Kill())
		_ = holder.Wait()
		require.Equal(t, others[0].node.Name, others[0].wait(t, l2vip.HolderChanged).Node)
		f.follows(others[0])
		left := bound(t, holder.node, vip)
		require.NotEmpty(t, left, "the kernel keeps the address, and does not answer for it")

		again := f.speak(holder.node, 1, vip)
		require.Equal(t, others[0].node.Name, again.wait(t, l2vip.HolderChanged).Node)
		require.Equal(t, left, bound(t, holder.node, vip), "what was left is taken over as it is")
		require.NoError(t, again.stdin.Close())
		require.NoError(t, again.Wait())
		require.Empty(t, bound(t, holder.node, vip), "what the killed process left is taken back")
	})
}

// bound returns the mark of an address on lo, as the ip command shows it: in the
// label of an IPv4 address, in the metric of an IPv6 address. It is empty if the
// address is not there.
func bound(t *testing.T, node *testnet.Node, address netip.Addr) (mark string) {
	cmd := exec.Command("ip", "-json", "address", "show", "dev", "lo")
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, node.Start(cmd))
	var links []struct {
		Addresses []struct {
			Local     netip.Addr
			PrefixLen int
			Label     string
			Metric    uint32
		} `json:"addr_info"`
	}
	require.NoError(t, json.NewDecoder(stdout).Decode(&links))
	require.NoError(t, cmd.Wait())
	for _, a := range links[0].Addresses {
		if a.Local != address {
			continue
		}
		require.Equal(t, address.BitLen(), a.PrefixLen)
		if address.Is6() {
			a.Label = fmt.Sprintf("lo:l2-%08x", a.Metric)
		}
		require.Regexp(t, "^lo:l2-6c32[0-9a-f]{4}$", a.Label)
		mark = a.Label
	}
	return mark
}

// give gives an address to a node's interface, as ip address add does.
func give(t *testing.T, node *testnet.Node, address netip.Addr, flags int) {
	require.NoError(t, node.Do(func() error {
		link, err := netlink.LinkByIndex(node.Index)
		if err != nil {
			return err
		}
		mask := net.CIDRMask(address.BitLen(), address.BitLen())
		return netlink.AddrAdd(link, &netlink.Addr{IPNet: &net.IPNet{IP: address.AsSlice(), Mask: mask}, Flags: flags})
	}))
}

func TestWireStrangerThatSaysNothingIsReported(t *testing.T) {
	t.Parallel() // it waits for most of the time
	families(t, func(t *testing.T, vip netip.Addr) {
		f := newFronts(t, 2, vip)
		holder, others := f.speakers()
		began := time.Now()
		give(t, f.client, vip, unix.IFA_F_NODAD) // without it IPv6 would ask first
		sighted := holder.wait(t, l2vip.RivalSighted)
		t.Logf("reported after %v", sighted.Time.Sub(began).Round(time.Millisecond))
		require.Equal(t, f.client.HardwareAddr.String(), sighted.Hardware)
		require.Empty(t, sighted.Node)
		require.Equal(t, sighted.Hardware, holder.wait(t, l2vip.Defended).Hardware)
		require.NotContains(t, pending(holder.events), l2vip.Released)
		require.NotContains(t, pending(others[0].events), l2vip.Claimed)
	})
}

// A host that asks first, as IPv6 does, finds the address in use and leaves it;
// that is no conflict.
func TestWireStrangerThatAsksFirstLeavesTheAddress(t *testing.T) {
	f := newFronts(t, 2, vip6)
	holder, _ := f.speakers()
	w := f.wire()
	w.answered(holder)
	f.set(f.client, "ipv6/conf/eth0/accept_dad", "1")
	f.set(f.client, "ipv6/conf/eth0/dad_transmits", "1")
	f.set(f.client, "ipv6/conf/eth0/router_solicitation_delay", "0") // nor a detection's
	give(t, f.client, vip6, 0)
	require.Eventually(t, func() (failed bool) {
		require.NoError(t, f.client.Do(func() error {
			addrs, err := netlink.AddrList(nil, netlink.FAMILY_V6)
			for _, a := range addrs {
				failed = failed || a.IP.Equal(vip6.AsSlice()) && a.Flags&unix.IFA_F_DADFAILED != 0
			}
			return err
		}))
		return failed
	}, patience, 10*time.Millisecond, "dadfailed")
	status := holder.status(t).Addresses[0]
	require.True(t, status.Holds)
	require.Zero(t, status.Sightings)
	for _, kind := range pending(holder.events) {
		require.NotContains(t, conflicts, kind)
	}
}

func TestWireMemberWhoseKernelAnswersIsNamed(t *testing.T) {
	t.Parallel() // it waits for most of the time
	families(t, func(t *testing.T, vip netip.Addr) {
		f := newFronts(t, 2, vip)
		holder, others := f.speakers()
		wrong := others[0].node
		give(t, wrong, vip, unix.IFA_F_NODAD) // now arp_ignore lets the kernel answer, too
		answers := holder.wait(t, l2vip.KernelAnswers)
		require.Equal(t, wrong.Name, answers.Node)
		require.Equal(t, wrong.HardwareAddr.String(), answers.Hardware)
	})
}

func TestWireTwoRunnersOnOneHost(t *testing.T) {
	families(t, func(t *testing.T, vip netip.Addr) {
		f := newFronts(t, 1, vip)
		first := f.speak(f.nodes[0], 1, vip)
		second := f.speak(f.nodes[0], 2, vip.Next())
		require.Equal(t, vip, first.wait(t, l2vip.Claimed).Addr)
		require.Equal(t, vip.Next(), second.wait(t, l2vip.Claimed).Addr)
		require.NotEqual(t, bound(t, f.nodes[0], vip), bound(t, f.nodes[0], vip.Next()), "each has its own mark")
		require.NoError(t, second.stdin.Close())
		require.NoError(t, second.Wait())
		require.NotEmpty(t, bound(t, f.nodes[0], vip), "the other's address stays")
		require.Empty(t, bound(t, f.nodes[0], vip.Next()))
		require.Equal(t, f.nodes[0].HardwareAddr.String(), f.neighbor())
	})
}

// A switch that snoops forwards a solicitation only to who is in the address's
// group. The successor is, before it holds the address: the first solicitation
// that is sent after the takeover is answered.
func TestWireFailoverBehindASwitchThatSnoops(t *testing.T) {
	f := newFronts(t, 3, vip6)
	require.NoError(t, f.lab.Snoop())
	holder, others := f.speakers()
	require.Equal(t, holder.node.HardwareAddr.String(), f.neighbor())
	f.wire().answered(holder)

	require.NoError(t, holder.node.Unplug())
	successor, _ := f.awaitHolder(others)
	f.wire().answered(successor)
	f.follows(successor)

	// A client that has never heard of the address finds it by itself.
	stranger, err := f.lab.AddNode("client-2", netip.MustParsePrefix("2001:db8::51/64"))
	require.NoError(t, err)
	f.client = stranger
	require.Equal(t, successor.node.HardwareAddr.String(), f.neighbor())
}

func TestWireRename(t *testing.T) {
	families(t, func(t *testing.T, vip netip.Addr) {
		f := newFronts(t, 2, vip)
		f.interfaces = "eth*"
		holder, others := f.speakers()
		w := f.wire()
		w.answered(holder)
		rename := func(to string) {
			t.Helper()
			require.NoError(t, holder.node.Do(func() error {
				link, err := netlink.LinkByIndex(holder.node.Index)
				if err != nil {
					return err
				}
				return netlink.LinkSetName(link, to)
			}))
		}
		// The name changes, and is another one that the pattern stands for: the
		// address goes on being answered, at every moment.
		for _, name := range []string{"eth7", "eth12", "eth0"} {
			rename(name)
			for noticed := false; !noticed; {
				w.answered(holder)
				status := holder.status(t)
				noticed = len(status.Links) == 1 && status.Links[0].Name == name
			}
			w.answered(holder)
		}
		require.NotContains(t, pending(holder.events), l2vip.Released)
		require.NotContains(t, pending(others[0].events), l2vip.Claimed)

		// Another name is another interface, and the address moves.
		rename("lan0")
		require.Equal(t, vip, others[0].wait(t, l2vip.Claimed).Addr)
		holder.wait(t, l2vip.Released)
		w.answered(others[0])
		rename("eth0")
		holder.await(t, func(a l2vip.AddressStatus) bool { return a.Reason == election.Offered }, "it is a candidate again")
		require.Equal(t, others[0].node.Name, holder.status(t).Addresses[0].Holder, "it stays where it is")
	})
}

// filter lets nothing pass a node's interface for which the rules of nft say drop, at a
// hook of the network device: even packet sockets do not see it. If rules is empty,
// everything passes again.
func (f *fronts) filter(node *testnet.Node, hook, rules string) {
	f.Helper()
	script := "table netdev l2vip\ndelete table netdev l2vip\n"
	if rules != "" {
		script += fmt.Sprintf("table netdev l2vip { chain filter { type filter hook %s device \"eth0\" priority 0; policy accept;\n%s\n}\n}\n", hook, rules)
	}
	require.NoError(f, node.Do(func() error {
		cmd := exec.Command("nft", "-f", "-")
		cmd.Stdin = strings.NewReader(script)
		out, err := cmd.CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	}))
}

// What the membership says changes nothing while beats are exchanged.
func TestWirePortOfTheMembershipIsClosed(t *testing.T) {
	families(t, func(t *testing.T, vip netip.Addr) {
		f := newFronts(t, 3, vip)
		f.gossips = true
		holder, others := f.speakers()
		all := append(others, holder)
		for _, s := range all {
			s.awaitMembers(t, 3)
		}
		for _, s := range all {
			pending(s.events)
			f.filter(s.node, "ingress", "udp dport 7946 drop\ntcp dport 7946 drop")
		}
		time.Sleep(3 * time.Second) // four times what the membership takes to lose them all
		for _, s := range all {
			require.NotContains(t, pending(s.events), l2vip.HolderChanged, s.node.Name)
			status := s.status(t)
			require.Equal(t, holder.node.Name, status.Addresses[0].Holder)
			require.Len(t, status.Members, 3)
		}
		// A hand-over goes on being known.
		require.NoError(t, holder.stdin.Close())
		require.NoError(t, holder.Wait())
		successor, _ := f.awaitHolder(others)
		require.Equal(t, successor.node.HardwareAddr.String(), f.neighbor())
	})
}

// awaitMembers waits until the speaker sees so many members.
func (s *speaker) awaitMembers(t testing.TB, n int) {
	t.Helper()
	s.await(t, func(l2vip.AddressStatus) bool { return len(s.status(t).Members) == n }, "it sees the members")
}

// A holder that hears nothing is replaced, and says nothing that misleads clients.
func TestWireDeafHolderIsReplaced(t *testing.T) {
	families(t, func(t *testing.T, vip netip.Addr) {
		f := newFronts(t, 3, vip)
		f.believes()
		holder, others := f.speakers()
		require.Equal(t, holder.node.HardwareAddr.String(), f.neighbor())
		f.filter(holder.node, "ingress", "drop")
		successor, _ := f.awaitHolder(others)
		f.follows(successor)
		w := f.wire()
		for range 20 {
			for _, c := range w.answered(successor) {
				require.Equal(t, successor.node.HardwareAddr.String(), c.station)
			}
		}
		f.filter(holder.node, "ingress", "")
		holder.await(t, func(a l2vip.AddressStatus) bool { return !a.Holds && a.Holder == successor.node.Name }, "it yields to the one that served")
		f.follows(successor)
	})
}

// A holder that no member hears stops by itself.
func TestWireMuteHolderStops(t *testing.T) {
	families(t, func(t *testing.T, vip netip.Addr) {
		f := newFronts(t, 3, vip)
		f.believes()
		holder, others := f.speakers()
		require.Equal(t, holder.node.HardwareAddr.String(), f.neighbor())
		f.filter(holder.node, "egress", "drop")
		successor, _ := f.awaitHolder(others)
		f.follows(successor)
		holder.await(t, func(a l2vip.AddressStatus) bool { return !a.Holds && a.Reason == election.Unheard }, "it knows that no member hears it")
		f.filter(holder.node, "egress", "")
		holder.await(t, func(a l2vip.AddressStatus) bool {
			return a.Reason == election.Offered && a.Holder == successor.node.Name
		}, "it is a candidate again")
		f.follows(successor)
	})
}

// Of two nodes with one name the one that started later is no candidate.
func TestWireTwoNodesOfOneName(t *testing.T) {
	families(t, func(t *testing.T, vip netip.Addr) {
		f := newFronts(t, 2, vip)
		first := f.speakAs("clone", f.nodes[0], 1, vip)
		first.wait(t, l2vip.Claimed)
		second := f.speakAs("clone", f.nodes[1], 1, vip)
		require.Equal(t, f.nodes[0].HardwareAddr.String(), second.wait(t, l2vip.NameConflict).Hardware)
		require.Equal(t, f.nodes[1].HardwareAddr.String(), first.wait(t, l2vip.NameConflict).Hardware)
		second.await(t, func(a l2vip.AddressStatus) bool { return a.Reason == election.NameTaken && !a.Holds }, "its name is taken")
		require.True(t, first.status(t).Addresses[0].Holds)
		require.Equal(t, f.nodes[0].HardwareAddr.String(), f.neighbor())
		require.NotContains(t, pending(first.events), l2vip.Released)

		require.NoError(t, first.stdin.Close())
		require.NoError(t, first.Wait())
		second.wait(t, l2vip.Claimed)
		f.follows(second)
	})
}

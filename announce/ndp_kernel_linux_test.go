package announce_test

import (
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/l2vip/l2vip/announce"
	"github.com/l2vip/l2vip/internal/testnet"
)

// entry is what a kernel knows of a neighbor.
type entry struct {
	hw     string // empty if it knows none
	state  int
	router bool
}

func entryOf(t testing.TB, node *testnet.Node, addr netip.Addr) (e entry) {
	t.Helper()
	within(t, node, func() error {
		list, err := netlink.NeighList(node.Index, netlink.FAMILY_V6)
		for _, n := range list {
			if n.IP.Equal(addr.AsSlice()) {
				e = entry{n.HardwareAddr.String(), n.State, n.Flags&netlink.NTF_ROUTER != 0}
			}
		}
		return err
	})
	return e
}

// exchange sends a datagram from the node to the address, and waits until it has
// come to a listener there. The kernels may lose the first ones.
func exchange(t testing.TB, from *testnet.Node, to net.PacketConn) {
	t.Helper()
	conn, err := from.DialContext(t.Context(), "udp6", to.LocalAddr().String())
	require.NoError(t, err)
	defer conn.Close()
	buf := make([]byte, 16)
	eventually(t, func() bool {
		_, err := conn.Write([]byte("here?"))
		require.NoError(t, err)
		require.NoError(t, to.SetReadDeadline(time.Now().Add(50*time.Millisecond)))
		n, _, err := to.ReadFrom(buf)
		return err == nil && string(buf[:n]) == "here?"
	}, "a datagram to arrive")
}

// The kernel of a client finds the address, follows it to another speaker and back,
// and finds it reachable again whenever it looks: all by its own means.
func TestNDPKernelNeighbors(t *testing.T) {
	t.Parallel()
	b, client := newNDPBench(t)
	node := client.node
	second := b.addNode(t, "second", "2001:db8::11/64")
	speakers := []*speaker{
		start(t, b.node, announce.Config{}, answering(vip6)...),
		start(t, second, announce.Config{}, assigned(announce.Standby, vip6)...),
	}
	hardware := []net.HardwareAddr{b.node.HardwareAddr, second.HardwareAddr}
	var servers []net.PacketConn
	for i, s := range speakers {
		s.ready(t, 1)
		server, err := []*testnet.Node{b.node, second}[i].ListenPacket(t.Context(), "udp6", netip.AddrPortFrom(vip6, 7).String())
		require.NoError(t, err)
		defer server.Close()
		servers = append(servers, server)
	}
	sysctl6(t, node, "neigh/eth0/base_reachable_time_ms", "3600000")

	exchange(t, node, servers[0])
	e := entryOf(t, node, vip6)
	require.Equal(t, hardware[0].String(), e.hw)
	require.False(t, e.router)
	eventually(t, func() bool { return entryOf(t, node, vip6).state == unix.NUD_REACHABLE }, "to be reachable")

	t.Run("takeover", func(t *testing.T) {
		list := answering(vip6)
		for i := range 4 {
			holder, next := i%2, (i+1)%2
			state := []int{unix.NUD_REACHABLE, unix.NUD_STALE}[i/2]
			neighbor(t, node, vip6, state, hardware[holder])
			require.Equal(t, entry{hw: hardware[holder].String(), state: state}, entryOf(t, node, vip6))
			require.NoError(t, speakers[holder].Set(assigned(announce.Standby, vip6)))
			before := speakers[next].Stats().Requests
			list[0].Claim++
			require.NoError(t, speakers[next].Set(list))
			eventually(t, func() bool { return entryOf(t, node, vip6).hw == hardware[next].String() }, "the entry to follow")
			require.Equal(t, before, speakers[next].Stats().Requests, "nobody has asked")
			exchange(t, node, servers[next])
		}
	})

	// STALE, and when it is used DELAY, PROBE and REACHABLE (RFC 4861 section
	// 7.3.2): the kernel asks the neighbor alone, at the address that no
	// interface has.
	t.Run("unreachability detection", func(t *testing.T) {
		for name, value := range map[string]string{
			"base_reachable_time_ms": "100", "delay_first_probe_time": "0", "retrans_time_ms": "500",
		} {
			sysctl6(t, node, "neigh/eth0/"+name, value)
		}
		conn, err := node.DialContext(t.Context(), "udp6", servers[0].LocalAddr().String())
		require.NoError(t, err)
		defer conn.Close()
		eventually(t, func() bool { return entryOf(t, node, vip6).state == unix.NUD_STALE }, "to be stale")
		next, stop := entries(t, node, vip6)
		defer stop()
		wire := newAsker(t, node, node.HardwareAddr) // hears what the client's kernel sends
		for range 5 {
			_, err := conn.Write([]byte("x"))
			require.NoError(t, err)
			probe := wire.next(t, func(h heard6) bool { return h.solicits != nil && h.solicits.TargetAddress == vip6 }, nil)
			require.Equal(t, hardware[0], probe.dst)
			require.Equal(t, vip6, probe.dest)
			for _, state := range []int{unix.NUD_PROBE, unix.NUD_REACHABLE, unix.NUD_STALE} {
				require.Equal(t, entry{hw: hardware[0].String(), state: state}, next())
			}
		}
	})
}

// entries returns what tells of the changes of a node's entry one by one, from now
// on. That it is used for the first time, and so delayed, the kernel doesn't tell.
func entries(t testing.TB, node *testnet.Node, addr netip.Addr) (next func() entry, stop func()) {
	t.Helper()
	updates, done := make(chan netlink.NeighUpdate, 1024), make(chan struct{})
	within(t, node, func() error { return netlink.NeighSubscribe(updates, done) })
	next = func() entry {
		t.Helper()
		for timeout := time.After(patience); ; {
			select {
			case u := <-updates:
				if u.IP.Equal(addr.AsSlice()) {
					return entry{u.HardwareAddr.String(), u.State, u.Neigh.Flags&netlink.NTF_ROUTER != 0}
				}
			case <-timeout:
				require.FailNow(t, "no change of the entry")
			}
		}
	}
	return next, func() {
		close(done)
		for range updates { //nolint:revive // until its reader has ended
		}
	}
}

// A host that configures the address finds it in use, and leaves it (RFC 4862
// section 5.4.5); it finds nobody who has another one.
func TestNDPKernelDetection(t *testing.T) {
	b, client := newNDPBench(t)
	s := start(t, b.node, announce.Config{}, answering(vip6)...)
	s.ready(t, 1)
	sysctl6(t, client.node, "conf/eth0/accept_dad", "1")
	sysctl6(t, client.node, "conf/eth0/dad_transmits", "1")
	sysctl6(t, client.node, "conf/eth0/router_solicitation_delay", "0") // nor a detection's
	configure := func(addr netip.Addr) (flags int) {
		t.Helper()
		onLink(t, client.node, "eth0", func(l netlink.Link) error {
			if err := netlink.AddrAdd(l, addrOn(addr.String()+"/64")); err != nil {
				return err
			}
			eventually(t, func() bool {
				list, err := netlink.AddrList(l, netlink.FAMILY_V6)
				require.NoError(t, err)
				for _, a := range list {
					if a.IP.Equal(addr.AsSlice()) {
						flags = a.Flags
					}
				}
				return flags&unix.IFA_F_TENTATIVE == 0 || flags&unix.IFA_F_DADFAILED != 0
			}, "detection to end")
			return nil
		})
		return flags
	}
	require.NotZero(t, configure(vip6)&unix.IFA_F_DADFAILED)
	require.Zero(t, configure(marker6)&unix.IFA_F_DADFAILED)
	require.Zero(t, s.Stats().Sightings, "who asks first claims nothing")

	// The other way round: the host has what a speaker is about to claim.
	require.NoError(t, s.Set(assigned(announce.Probe, marker6)))
	f := s.await(t, func(f announce.Facts) bool { return about(f, marker6).Probe != announce.Unknown })
	require.Equal(t, announce.Conflict, about(f, marker6).Probe)
	require.Equal(t, client.node.HardwareAddr, about(f, marker6).Rival)
}

// ndisc6 is the field's tool to ask for a neighbor.
func TestNDPTools(t *testing.T) {
	t.Parallel()
	path, err := exec.LookPath("ndisc6")
	if err != nil {
		if os.Getenv("L2VIP_WIRE") == "require" {
			t.Fatal("needs ndisc6 (Debian: ndisc6)")
		}
		t.Skip("needs ndisc6 (Debian: ndisc6)")
	}
	b, client := newNDPBench(t)
	s := start(t, b.node, quiet, answering(vip6, marker6)...)
	client.quieten(t, s, 2) // an announcement would do for an answer
	run := func(args ...string) (string, error) {
		var out strings.Builder
		cmd := exec.Command(path, append(args, "eth0")...)
		cmd.Stdout, cmd.Stderr = &out, &out
		require.NoError(t, client.node.Start(cmd))
		err := cmd.Wait()
		return out.String(), err
	}
	hw := strings.ToUpper(b.node.HardwareAddr.String())
	for name, args := range map[string][]string{
		"plain":          {vip6.String()},
		"global source":  {"-s", client.node.Addrs[0].String(), vip6.String()},
		"link-local":     {"-s", client.node.LinkLocal.String(), vip6.String()},
		"first answer":   {"-1", vip6.String()},
		"all answers":    {"-m", "-r", "1", "-w", "300", vip6.String()},
		"quiet, numeric": {"-q", "-n", vip6.String()},
	} {
		out, err := run(args...)
		require.NoError(t, err, "%s: %s", name, out)
		require.Equal(t, 1, strings.Count(out, hw), "%s: %s", name, out)
	}
	out, err := run("-r", "1", "-w", "300", vip6.Next().String())
	require.Error(t, err, "nobody has that: %s", out)
}

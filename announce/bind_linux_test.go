package announce_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/l2vip/l2vip/announce"
	"github.com/l2vip/l2vip/internal/testnet"
)

// runSpeaker answers for vip until it is killed, and says when it does.
func runSpeaker() int { return speak(answering(vip, vip2)) }

// speak runs an announcer until it is killed, and says when all is well.
func speak(assignments []announce.Assignment) int {
	a, err := announce.New(announce.Config{})
	if err == nil {
		err = a.Set(assignments)
	}
	if err == nil {
		err = a.Run(context.Background(), func(f announce.Facts) {
			if !slices.ContainsFunc(f.Addresses, func(a announce.Address) bool { return a.Problem != announce.NoProblem }) {
				fmt.Println("ready")
			}
		})
	}
	fmt.Println(err)
	return 1
}

// runObedient answers for vip and marker, and does what it is told line by line.
func runObedient() int {
	a, err := announce.New(announce.Config{Refresh: time.Hour})
	if err == nil {
		err = a.Set(answering(vip, marker))
	}
	if err != nil {
		fmt.Println(err)
		return 1
	}
	go func() {
		var command string
		var n int
		for {
			if _, err := fmt.Scan(&command, &n); err != nil {
				return
			}
			if command == "renew" {
				a.Renew(time.Duration(n) * time.Millisecond)
			}
			fmt.Println(a.Stats().Dropped[announce.DropLease])
		}
	}()
	said := false
	err = a.Run(context.Background(), func(f announce.Facts) {
		if !said && len(f.Addresses) == 2 {
			said = true
			fmt.Println("ready")
		}
	})
	fmt.Println(err)
	return 1
}

// A process that is stopped for longer than its lease does not answer, when it
// goes on, what was asked meanwhile.
func TestStoppedProcess(t *testing.T) {
	b := newBench(t)
	in, commands, err := os.Pipe()
	require.NoError(t, err)
	defer commands.Close()
	child, out := startChild(t, b.node, "obedient", in)
	require.NoError(t, in.Close())
	tell := func(command string, n int) (expired int) {
		_, err := fmt.Fprintln(commands, command, n)
		require.NoError(t, err)
		_, err = fmt.Fscan(out, &expired)
		require.NoError(t, err)
		return expired
	}
	for range 3 {
		tell("renew", 3600_000)
		b.client.ask(t, vip)
		before := tell("renew", 50)
		require.NoError(t, child.Process.Signal(syscall.SIGSTOP))
		time.Sleep(60 * time.Millisecond) // the lease is over, however long this takes
		var asked []question
		for range 5 {
			q := b.client.request(vip)
			asked = append(asked, q)
			b.client.send(t, q)
		}
		require.NoError(t, child.Process.Signal(syscall.SIGCONT))
		eventually(t, func() bool { return tell("look", 0) >= before+5 }, "too late for all")
		tell("renew", 3600_000)
		for _, h := range b.client.heardUntilMarker(t) {
			for _, q := range asked {
				require.False(t, h.isReply(q))
			}
		}
	}
	require.NoError(t, child.Process.Kill())
	_ = child.Wait()
}

// startChild starts this program in a node, as another process with an announcer.
func startChild(t *testing.T, node *testnet.Node, role string, in *os.File) (*exec.Cmd, *bufio.Reader) {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), roleEnv+"="+role)
	if in != nil {
		cmd.Stdin = in
	}
	pipe, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, node.Start(cmd))
	out := bufio.NewReader(pipe)
	line, err := out.ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "ready\n", line)
	return cmd, out
}

// A /32 of host scope with a label of ours, behind settings that keep the kernel
// silent; and everything is as before at the end.
func TestBindLoopback(t *testing.T) {
	b := newBench(t)
	require.Equal(t, "0", sysctl(t, b.node, "arp_ignore"))
	for _, mode := range []announce.Mode{announce.Standby, announce.Probe, announce.Answer} {
		s := start(t, b.node, announce.Config{}, assigned(mode, vip)...)
		s.ready(t, 1)
		a := bound(t, b.node, "lo")[vip]
		require.NotNil(t, a.IPNet)
		require.Equal(t, int(netlink.SCOPE_HOST), a.Scope)
		require.Regexp(t, "^lo:l2-[0-9a-f]{8}$", a.Label)
		require.Equal(t, "1", sysctl(t, b.node, "arp_ignore"))
		require.Equal(t, "2", sysctl(t, b.node, "arp_announce"))
		require.NoError(t, s.stop())
		require.Empty(t, bound(t, b.node, "lo"))
		require.Equal(t, "0", sysctl(t, b.node, "arp_ignore"))
		require.Equal(t, "0", sysctl(t, b.node, "arp_announce"))
	}
}

// The kernel never answers for an address that is only bound.
func TestKernelIsSilentForBoundAddress(t *testing.T) {
	b := newBench(t)
	s := start(t, b.node, announce.Config{}, append(answering(marker), assigned(announce.Standby, vip)...)...)
	s.ready(t, 2)
	require.True(t, isBound(t, b.node, "lo", vip))
	b.client.refused(t, vip)
	q := b.client.request(vip)
	q.dst = b.node.HardwareAddr
	b.client.send(t, q)
	b.client.silent(t, vip)
}

func setSysctl(t *testing.T, node *testnet.Node, name, value string) {
	t.Helper()
	within(t, node, func() error {
		return os.WriteFile("/proc/sys/net/ipv4/conf/all/"+name, []byte(value), 0)
	})
}

// Settings that were strict before are left as they are; a reserved value hides
// nothing and is replaced.
func TestStrictSettingsAreKept(t *testing.T) {
	b := newBench(t)
	for before, during := range map[string]string{"1": "1", "2": "2", "8": "8", "5": "1", "0": "1"} {
		setSysctl(t, b.node, "arp_ignore", before)
		s := start(t, b.node, announce.Config{}, assigned(announce.Standby, vip)...)
		s.ready(t, 1)
		require.Equal(t, during, sysctl(t, b.node, "arp_ignore"))
		require.NoError(t, s.stop())
		require.Equal(t, before, sysctl(t, b.node, "arp_ignore"))
	}
}

// While a /32 of anyone's is on lo the settings stay, and what is not ours is
// never touched.
func TestForeignAddressIsLeftAlone(t *testing.T) {
	b := newBench(t)
	foreign := netip.MustParseAddr("192.168.122.77")
	onLink(t, b.node, "lo", func(l netlink.Link) error {
		return errors.Join(netlink.AddrAdd(l, addrOn(foreign.String()+"/32")), netlink.AddrAdd(l, addrOn(vip.String()+"/32")))
	})
	s := start(t, b.node, announce.Config{}, assigned(announce.Standby, vip, vip2)...)
	s.ready(t, 2)
	require.NoError(t, s.Set(assigned(announce.Standby, vip2)))
	s.ready(t, 1)
	require.NoError(t, s.stop())
	left := bound(t, b.node, "lo")
	require.Len(t, left, 2)
	require.Contains(t, left, foreign)
	require.Contains(t, left, vip)
	require.Equal(t, "1", sysctl(t, b.node, "arp_ignore"))
}

// Two announcers in one namespace: neither takes off what is the other's.
func TestTwoAnnouncersOnOneHost(t *testing.T) {
	b := newBench(t)
	one := start(t, b.node, announce.Config{}, assigned(announce.Standby, vip)...)
	one.ready(t, 1)
	two := start(t, b.node, announce.Config{}, assigned(announce.Standby, vip, vip2)...)
	two.ready(t, 2)
	require.Len(t, bound(t, b.node, "lo"), 2)
	require.NoError(t, two.Set([]announce.Assignment{}))
	two.ready(t, 0)
	eventually(t, func() bool { return !isBound(t, b.node, "lo", vip2) }, "what nobody wants is gone")
	require.True(t, isBound(t, b.node, "lo", vip))
	require.NoError(t, two.Set(assigned(announce.Standby, vip)))
	two.ready(t, 1)

	// When one ends, what both want is bound by the other, and the settings
	// that one made and the other needs stay.
	require.NoError(t, one.stop())
	eventually(t, func() bool { return isBound(t, b.node, "lo", vip) }, "bound by the other")
	two.ready(t, 1)
	require.Equal(t, "1", sysctl(t, b.node, "arp_ignore"))
	require.NoError(t, two.stop())
	require.Empty(t, bound(t, b.node, "lo"))
}

// A killed process leaves its addresses bound and silent. The next one keeps
// those it wants, without a moment unbound, and removes the others.
func TestLeftoversOfAKilledProcess(t *testing.T) {
	b := newBench(t)
	child, _ := startChild(t, b.node, "speaker", nil)
	b.client.ask(t, vip)
	require.NoError(t, child.Process.Kill())
	_ = child.Wait()
	require.Len(t, bound(t, b.node, "lo"), 2)
	label := bound(t, b.node, "lo")[vip].Label

	gone := make(chan netlink.AddrUpdate, 64)
	stop := make(chan struct{})
	within(t, b.node, func() error { return netlink.AddrSubscribe(gone, stop) })
	s := start(t, b.node, announce.Config{}) // and no Set yet
	require.NoError(t, s.Set(answering(vip, marker)))
	s.ready(t, 2)
	eventually(t, func() bool { return !isBound(t, b.node, "lo", vip2) }, "what is not asked for is removed")
	require.Equal(t, label, bound(t, b.node, "lo")[vip].Label)
	b.client.ask(t, vip)
	b.client.refused(t, vip2)
	require.NoError(t, s.stop())
	require.Empty(t, bound(t, b.node, "lo"))
	var removed, added []string
	for len(removed) < 3 {
		select {
		case update := <-gone:
			if update.NewAddr {
				added = append(added, update.LinkAddress.IP.String())
			} else {
				removed = append(removed, update.LinkAddress.IP.String())
			}
		case <-time.After(patience):
			require.FailNow(t, "not all was removed", "%v", removed)
		}
	}
	require.Equal(t, []string{marker.String()}, added, "what is wanted still was never taken off")
	require.Equal(t, vip2.String(), removed[0])
	require.ElementsMatch(t, []string{vip2.String(), vip.String(), marker.String()}, removed)
	close(stop)
	for range gone { //nolint:revive // until its reader has ended
	}
}

// What somebody takes off is reported, and bound again.
func TestRemovalIsNoticedAndRepaired(t *testing.T) {
	b := newBench(t)
	s := start(t, b.node, announce.Config{}, answering(vip, vip2)...)
	s.ready(t, 2)
	before := len(s.reports())
	onLink(t, b.node, "lo", func(l netlink.Link) error {
		a := bound(t, b.node, "lo")[vip]
		return netlink.AddrDel(l, &a)
	})
	eventually(t, func() bool { return isBound(t, b.node, "lo", vip) }, "bound again")
	s.await(t, func(announce.Facts) bool { return len(s.reports()) >= before+2 })
	s.ready(t, 2)
	f := s.reports()[before]
	require.Equal(t, announce.NotBound, about(f, vip).Problem)
	require.NotEmpty(t, about(f, vip).Detail)
	require.Equal(t, announce.NoProblem, about(f, vip2).Problem)
}

// With /proc/sys read-only nothing is bound, and the error says what to set.
func TestReadOnlySettings(t *testing.T) {
	b := newBench(t)
	a, err := announce.New(announce.Config{})
	require.NoError(t, err)
	require.NoError(t, a.Set(answering(vip)))
	err = b.node.Do(func() error {
		if err := readOnlySettings(); err != nil {
			return fmt.Errorf("read-only /proc/sys: %w", err)
		}
		return a.Run(t.Context(), func(announce.Facts) { t.Error("no facts") })
	})
	require.ErrorIs(t, err, unix.EROFS)
	require.ErrorContains(t, err, "set net.ipv4.conf.all.arp_ignore=1")
	require.Empty(t, bound(t, b.node, "lo"))

	// What is set already needs not be written.
	setSysctl(t, b.node, "arp_ignore", "1")
	setSysctl(t, b.node, "arp_announce", "2")
	a, err = announce.New(announce.Config{})
	require.NoError(t, err)
	require.NoError(t, a.Set(answering(vip)))
	ctx, cancel := context.WithCancel(t.Context())
	err = b.node.Do(func() error {
		return errors.Join(readOnlySettings(), a.Run(ctx, func(announce.Facts) { cancel() }))
	})
	require.NoError(t, err)
}

// readOnlySettings makes /proc/sys read-only for the calling thread, which is to
// end afterwards.
func readOnlySettings() error {
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return err
	}
	return errors.Join(
		unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""),
		unix.Mount("/proc/sys", "/proc/sys", "", unix.MS_BIND|unix.MS_REC, ""),
		unix.Mount("", "/proc/sys", "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""),
	)
}

// A missing capability is named.
func TestMissingCapability(t *testing.T) {
	for name, test := range map[string]struct {
		capability uint
		bind       announce.Bind
	}{
		"CAP_NET_RAW":                 {unix.CAP_NET_RAW, announce.None},
		"CAP_NET_ADMIN for loopback":  {unix.CAP_NET_ADMIN, announce.Loopback},
		"CAP_NET_ADMIN for interface": {unix.CAP_NET_ADMIN, announce.Interface},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			a, err := announce.New(announce.Config{Bind: test.bind})
			require.NoError(t, err)
			require.NoError(t, a.Set(answering(vip)))
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			err = b.node.Do(func() error {
				if err := dropCapability(test.capability); err != nil {
					return err
				}
				return a.Run(ctx, func(announce.Facts) {})
			})
			var missing *announce.CapabilityError
			require.ErrorAs(t, err, &missing)
			require.Equal(t, strings.Fields(name)[0], missing.Capability)
			require.ErrorIs(t, err, os.ErrPermission)
			require.ErrorContains(t, err, missing.Capability+" is missing")
			require.Empty(t, bound(t, b.node, "lo"))
		})
	}
}

// dropCapability takes a capability from the calling thread, which is to end
// afterwards.
func dropCapability(capability uint) error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return err
	}
	data[capability/32].Effective &^= 1 << (capability % 32)
	return unix.Capset(&header, &data[0])
}

// Without CAP_NET_ADMIN the mode None works.
func TestBindNoneNeedsNoAdmin(t *testing.T) {
	b := newBench(t)
	a, err := announce.New(announce.Config{Bind: announce.None})
	require.NoError(t, err)
	require.NoError(t, a.Set(answering(vip)))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		done <- b.node.Do(func() error {
			return errors.Join(dropCapability(unix.CAP_NET_ADMIN), a.Run(ctx, func(announce.Facts) {}))
		})
	}()
	b.client.next(t, func(h heard) bool { return h.isGratuitous(vip) }, nil)
	b.client.ask(t, vip)
	require.Empty(t, bound(t, b.node, "lo"))
	require.Equal(t, "0", sysctl(t, b.node, "arp_ignore"))
	cancel()
	require.NoError(t, <-done)
}

// On the interface an address is bound only while it is answered, and answered
// by the kernel; it is taken back at the withdrawal, and at the end.
func TestBindInterface(t *testing.T) {
	b := newBench(t)
	s := start(t, b.node, announce.Config{Bind: announce.Interface}, assigned(announce.Standby, vip)...)
	s.ready(t, 1)
	require.False(t, isBound(t, b.node, "eth0", vip))
	require.NoError(t, s.Set(answering(vip)))
	eventually(t, func() bool { return isBound(t, b.node, "eth0", vip) }, "bound")
	a := bound(t, b.node, "eth0")[vip]
	require.LessOrEqual(t, a.ValidLft, 3)
	require.Positive(t, a.ValidLft)
	require.NotZero(t, a.Flags&unix.IFA_F_NOPREFIXROUTE)
	require.Equal(t, "0", sysctl(t, b.node, "arp_ignore"))
	require.Zero(t, s.Stats().Replies)
	b.client.ask(t, vip)
	require.Zero(t, s.Stats().Replies, "the kernel answers")

	for name, gone := range map[string][]announce.Assignment{
		"standby": assigned(announce.Standby, vip), "not assigned": {},
	} {
		require.NoError(t, s.Set(answering(vip)))
		eventually(t, func() bool { return isBound(t, b.node, "eth0", vip) }, name)
		require.NoError(t, s.Set(gone))
		eventually(t, func() bool { return !isBound(t, b.node, "eth0", vip) }, name)
	}
	require.NoError(t, s.Set(answering(vip)))
	eventually(t, func() bool { return isBound(t, b.node, "eth0", vip) }, "bound")
	require.NoError(t, s.stop())
	require.False(t, isBound(t, b.node, "eth0", vip))
}

// The lifetime follows the lease: it is renewed while that holds, and then the
// kernel lets the address expire.
func TestBindInterfaceFollowsTheLease(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	s := start(t, b.node, announce.Config{Bind: announce.Interface}, answering(vip)...)
	s.ready(t, 1)
	updates, stop := make(chan netlink.AddrUpdate, 256), make(chan struct{})
	within(t, b.node, func() error { return netlink.AddrSubscribe(updates, stop) })
	defer func() {
		close(stop)
		for range updates { //nolint:revive // until its reader has ended
		}
	}()
	next := func() netlink.AddrUpdate {
		select {
		case u := <-updates:
			return u
		case <-time.After(patience):
			require.FailNow(t, "no change")
			return netlink.AddrUpdate{}
		}
	}
	for range 3 {
		u := next()
		require.True(t, u.NewAddr, "renewed before it expires")
	}
	s.Renew(-time.Second)
	for next().NewAddr { //nolint:revive // one may have been on its way
	}
	require.False(t, isBound(t, b.node, "eth0", vip))
	s.Renew(time.Hour)
	eventually(t, func() bool { return isBound(t, b.node, "eth0", vip) }, "bound again")
}

// An address that somebody bound for ever keeps its lifetime, and stays.
func TestBindInterfaceLeavesForeignAddress(t *testing.T) {
	b := newBench(t)
	onLink(t, b.node, "eth0", func(l netlink.Link) error { return netlink.AddrAdd(l, addrOn(vip.String()+"/32")) })
	s := start(t, b.node, announce.Config{Bind: announce.Interface}, answering(vip, vip2)...)
	s.ready(t, 2)
	eventually(t, func() bool { return isBound(t, b.node, "eth0", vip2) }, "bound")
	require.Equal(t, uint32(math.MaxUint32), uint32(bound(t, b.node, "eth0")[vip].ValidLft))
	require.NoError(t, s.Set(assigned(announce.Standby, vip, vip2)))
	eventually(t, func() bool { return !isBound(t, b.node, "eth0", vip2) }, "taken back")
	require.True(t, isBound(t, b.node, "eth0", vip))
}

// In the mode Interface the loop is not woken by what it binds itself.
func TestBindInterfaceIsQuiet(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	s := start(t, b.node, announce.Config{Bind: announce.Interface}, answering(vip)...)
	s.ready(t, 1)
	updates, stop := make(chan netlink.AddrUpdate, 1024), make(chan struct{})
	within(t, b.node, func() error { return netlink.AddrSubscribe(updates, stop) })
	// One renewal a second; the frames in between, and Set, bind nothing.
	for range 50 {
		require.NoError(t, s.Set(answering(vip)))
		b.client.ask(t, vip)
	}
	first := <-updates
	second := <-updates
	require.True(t, first.NewAddr && second.NewAddr)
	close(stop)
	rest := 0
	for range updates {
		rest++
	}
	require.Less(t, rest, 25)
}

// Ten thousand addresses are bound without holding up the announcements of any.
func TestManyAddresses(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	var addrs []netip.Addr
	many := 10_000
	if !b.client.hearsAll {
		many = 500 // what the buffer of an ordinary user holds
	}
	for addr := netip.MustParseAddr("10.0.0.0"); len(addrs) < many; addr = addr.Next() {
		addrs = append(addrs, addr)
	}
	standby := assigned(announce.Standby, addrs...)
	s := start(t, b.node, announce.Config{Refresh: time.Hour}, append(answering(vip, marker), standby...)...)
	b.client.next(t, func(h heard) bool { return h.isGratuitous(vip) }, nil)
	b.client.ask(t, vip)
	require.Empty(t, s.reports(), "binding is under way")
	began := time.Now()
	s.await(t, func(f announce.Facts) bool { return len(f.Addresses) == many+2 })
	t.Logf("%d addresses bound %v later, in %d reports", many, time.Since(began), len(s.reports()))
	require.LessOrEqual(t, len(s.reports()), 4)

	// All announced: the first of each before the second of any.
	seen := make(map[netip.Addr]int)
	require.NoError(t, s.Set(append(answering(vip, marker), answering(addrs...)...)))
	began = time.Now()
	count := 0
	b.client.next(t, func(h heard) bool {
		if !slices.Contains([]netip.Addr{vip, marker}, h.SenderIP) && h.isGratuitous(h.SenderIP) {
			count++
			seen[h.SenderIP]++
		}
		return len(seen) == len(addrs)
	}, nil)
	t.Logf("announced once in %v", time.Since(began))
	for addr, n := range seen {
		require.LessOrEqual(t, n, 2, "%v was repeated before the others were announced", addr)
	}
	b.client.ask(t, addrs[many-1])
	began = time.Now()
	require.NoError(t, s.stop())
	t.Logf("unbound in %v", time.Since(began))
	require.Empty(t, bound(t, b.node, "lo"))
}

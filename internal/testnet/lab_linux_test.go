package testnet_test

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/l2vip/l2vip/internal/testnet"
)

// roles are the programs that tests run in processes of their own.
var roles = map[string]func() int{
	"sleep":     func() int { select {} },
	"family":    family,
	"orphanage": orphanage,
	"signals":   signals,
	"refusal":   refusal,
	"reason":    reason,
}

// --- links

// carriers subscribes to the link of a node's interface, and returns a function
// that waits until the kernel reports it up or down.
func carriers(t *testing.T, n *testnet.Node) func(up bool) {
	t.Helper()
	updates := make(chan netlink.LinkUpdate, 100)
	done := make(chan struct{})
	require.NoError(t, n.Do(func() error { return netlink.LinkSubscribe(updates, done) }))
	t.Cleanup(func() {
		close(done)
		for range updates { // closed when the subscription has ended
		}
	})
	return func(up bool) {
		t.Helper()
		timeout := time.After(soon)
		for {
			select {
			case u := <-updates:
				if u.Attrs().Name == n.Interface && (u.Flags&unix.IFF_LOWER_UP != 0) == up {
					return
				}
			case <-timeout:
				require.Fail(t, "no change of the carrier reported", "up: %v", up)
			}
		}
	}
}

func operState(t *testing.T, n *testnet.Node) (state netlink.LinkOperState) {
	t.Helper()
	require.NoError(t, n.Do(func() error {
		link, err := netlink.LinkByName(n.Interface)
		if err == nil {
			state = link.Attrs().OperState
		}
		return err
	}))
	return state
}

func TestUnplugAndPlug(t *testing.T) {
	a, b := pair(t)
	pa, pb := nodePacket(t, a, a.Addrs[0]), nodePacket(t, b, b.Addrs[0])
	carrier := carriers(t, a)
	for range 3 {
		require.True(t, passes(t, pb, pa, soon))
		require.Equal(t, netlink.LinkOperState(netlink.OperUp), operState(t, a))
		require.NoError(t, a.Unplug())
		require.NoError(t, a.Unplug())
		require.NotEqual(t, netlink.LinkOperState(netlink.OperUp), operState(t, a))
		carrier(false)
		require.False(t, passes(t, pb, pa, 10*time.Millisecond))
		require.Equal(t, netlink.LinkOperState(netlink.OperUp), operState(t, b))
		require.NoError(t, a.Plug())
		require.NoError(t, a.Plug())
		carrier(true)
	}
	require.True(t, passes(t, pb, pa, soon))
}

func TestBlockAndUnblock(t *testing.T) {
	a, b := pair(t)
	pa, pb := nodePacket(t, a, a.Addrs[0]), nodePacket(t, b, b.Addrs[0])
	blocked := func() {
		t.Helper()
		require.Equal(t, netlink.LinkOperState(netlink.OperUp), operState(t, a))
		require.False(t, passes(t, pb, pa, 10*time.Millisecond))
		require.False(t, passes(t, pa, pb, 10*time.Millisecond))
	}
	require.True(t, passes(t, pa, pb, soon))
	require.NoError(t, a.Block())
	require.NoError(t, a.Block())
	blocked()
	require.NoError(t, a.Unblock())
	require.NoError(t, a.Unblock())
	require.True(t, passes(t, pb, pa, soon))

	// A cable that is pulled and put back changes nothing about the port.
	require.NoError(t, a.Block())
	require.NoError(t, a.Unplug())
	require.NoError(t, a.Plug())
	blocked()
	require.NoError(t, a.Unblock())
	require.True(t, passes(t, pb, pa, soon))

	require.NoError(t, a.Unplug())
	require.NoError(t, a.Block())
	require.NoError(t, a.Plug())
	blocked()
	require.NoError(t, a.Unplug())
	require.NoError(t, a.Unblock())
	require.NoError(t, a.Plug())
	require.True(t, passes(t, pa, pb, soon))
}

func TestFrames(t *testing.T) {
	a, b := pair(t)
	fa, err := a.Frames()
	require.NoError(t, err)
	defer fa.Close()
	fb, err := b.Frames()
	require.NoError(t, err)
	defer fb.Close()

	// An ARP request by hand; the other kernel answers it.
	request := append([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, a.HardwareAddr...)
	request = append(request, 0x08, 0x06, 0, 1, 8, 0, 6, 4, 0, 1)
	request = append(request, a.HardwareAddr...)
	request = append(request, a.Addrs[0].AsSlice()...)
	request = append(request, make([]byte, 6)...)
	request = append(request, b.Addrs[0].AsSlice()...)
	n, err := fa.WriteTo(request, fa.LocalAddr())
	require.NoError(t, err)
	require.Equal(t, len(request), n)

	find := func(c net.PacketConn, match func(frame []byte) bool) {
		t.Helper()
		require.NoError(t, c.SetReadDeadline(time.Now().Add(soon)))
		buf := make([]byte, 2000)
		for {
			n, _, err := c.ReadFrom(buf)
			require.NoError(t, err)
			if match(buf[:n]) {
				return
			}
		}
	}
	reply := func(frame []byte) bool {
		return len(frame) >= 42 && binary.BigEndian.Uint16(frame[12:]) == 0x0806 && frame[21] == 2 &&
			bytes.Equal(frame[22:28], b.HardwareAddr)
	}
	find(fb, func(frame []byte) bool { return bytes.Equal(frame, request) })
	find(fb, reply) // what the node itself sends is seen too
	find(fa, reply)
}

// --- functions inside

func TestDo(t *testing.T) {
	a, b := pair(t)
	outside, err := os.Readlink("/proc/thread-self/ns/net")
	require.NoError(t, err)
	seen := make(map[string]string)
	var mu sync.Mutex
	var group sync.WaitGroup
	// All at the same time, and each blocks until all are inside.
	var inside sync.WaitGroup
	inside.Add(40)
	for _, n := range []*testnet.Node{a, b} {
		for range 20 {
			group.Go(func() {
				err := n.Do(func() error {
					inside.Done()
					inside.Wait()
					host, err := os.Hostname()
					if err != nil || host != n.Name {
						return fmt.Errorf("host name %q, %w", host, err)
					}
					ns, err := os.Readlink("/proc/thread-self/ns/net")
					mu.Lock()
					defer mu.Unlock()
					if seen[n.Name] == "" {
						seen[n.Name] = ns
					}
					if seen[n.Name] != ns {
						return fmt.Errorf("in %s and in %s", seen[n.Name], ns)
					}
					return err
				})
				if err != nil {
					t.Error(err)
				}
			})
		}
	}
	group.Wait()
	require.NotEqual(t, seen["a"], seen["b"])
	require.NotEqual(t, outside, seen["a"])

	// Nested, errors, and a test that ends inside.
	failure := errors.New("failure")
	require.ErrorIs(t, a.Do(func() error {
		return b.Do(func() error { return failure })
	}), failure)
	exited := make(chan bool)
	go func() {
		defer close(exited)
		_ = a.Do(func() error { (&testing.T{}).SkipNow(); return nil })
		exited <- false
	}()
	_, returned := <-exited
	require.False(t, returned, "Do returns after Goexit")
	// Nobody has stayed inside.
	for range 100 {
		group.Go(func() {
			ns, err := os.Readlink("/proc/thread-self/ns/net")
			if err != nil || ns != outside {
				t.Errorf("%s, %v", ns, err)
			}
		})
	}
	group.Wait()
}

func TestSysctlsOfANode(t *testing.T) {
	a, b := pair(t)
	const setting = "/proc/sys/net/ipv4/conf/all/arp_ignore"
	read := func() (value string) {
		raw, err := os.ReadFile(setting)
		require.NoError(t, err)
		return strings.TrimSpace(string(raw))
	}
	before := read()
	require.NoError(t, a.Do(func() error { return os.WriteFile(setting, []byte("2"), 0) }))
	require.NoError(t, a.Do(func() error { require.Equal(t, "2", read()); return nil }))
	require.NoError(t, b.Do(func() error { require.Equal(t, "0", read()); return nil }))
	require.Equal(t, before, read())
}

// --- programs inside

// self is this test binary in one of its roles.
func self(role string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), roleEnv+"="+role)
	cmd.Stderr = os.Stderr
	return cmd
}

// family starts a child in a session of its own, tells its number and sleeps.
func family() int {
	child := self("sleep")
	child.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := child.Start(); err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println(child.Process.Pid)
	select {}
}

func TestCloseKillsWhatWasStarted(t *testing.T) {
	lab := newLab(t)
	a := addNode(t, lab, "a")
	out, in, err := os.Pipe()
	require.NoError(t, err)
	defer out.Close()
	cmd := self("family")
	cmd.Stdout = in
	require.NoError(t, a.Start(cmd))
	require.NoError(t, in.Close())
	var grandchild int
	_, err = fmt.Fscanln(out, &grandchild)
	require.NoError(t, err)
	died := watch(t, grandchild)

	host, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", cmd.Process.Pid))
	require.NoError(t, err)
	require.NoError(t, a.Do(func() error {
		ns, err := os.Readlink("/proc/thread-self/ns/net")
		require.Equal(t, host, ns)
		return err
	}))
	pgid, err := syscall.Getpgid(cmd.Process.Pid)
	require.NoError(t, err)
	require.Equal(t, cmd.Process.Pid, pgid)

	require.NoError(t, lab.Close())
	died()
	var exit *exec.ExitError
	require.ErrorAs(t, cmd.Wait(), &exit)
	require.Equal(t, syscall.SIGKILL, exit.Sys().(syscall.WaitStatus).Signal())
	require.ErrorIs(t, a.Start(self("sleep")), os.ErrClosed)
	gone(t, host)
}

// orphanage builds a lab with a family in it, says so and waits for its end.
func orphanage() int {
	return testnet.Main(func() int {
		lab, err := testnet.NewLab()
		if err != nil {
			fmt.Println(err)
			return 1
		}
		n, err := lab.AddNode("a")
		if err != nil {
			fmt.Println(err)
			return 1
		}
		cmd := self("family")
		out, err := cmd.StdoutPipe()
		if err != nil {
			fmt.Println(err)
			return 1
		}
		if err := n.Start(cmd); err != nil {
			fmt.Println(err)
			return 1
		}
		var grandchild int
		_, err = fmt.Fscanln(out, &grandchild)
		ns, _ := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", cmd.Process.Pid))
		fmt.Println(cmd.Process.Pid, grandchild, ns, err)
		select {}
	})
}

func TestKilledProgramLeavesNothing(t *testing.T) {
	testnet.Require(t)
	cmd := self("orphanage")
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	var child, grandchild int
	var ns, failed string
	_, err = fmt.Sscan(line, &child, &grandchild, &ns, &failed)
	require.NoError(t, err, line)
	require.Equal(t, "<nil>", failed, line)
	childDied, grandchildDied := watch(t, child), watch(t, grandchild)
	require.NotEmpty(t, holders(ns))

	require.NoError(t, cmd.Process.Kill())
	require.Error(t, cmd.Wait())
	childDied()
	grandchildDied()
	gone(t, ns)
}

// watch returns a function that waits until a process has died.
func watch(t *testing.T, pid int) (died func()) {
	t.Helper()
	fd, err := unix.PidfdOpen(pid, 0)
	require.NoError(t, err)
	t.Cleanup(func() { _ = unix.Close(fd) })
	return func() {
		t.Helper()
		deadline := time.Now().Add(soon)
		for {
			n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(time.Until(deadline).Milliseconds()))
			if errors.Is(err, unix.EINTR) {
				continue
			}
			require.NoError(t, err)
			require.Equal(t, 1, n, "process %d is alive", pid)
			return
		}
	}
}

// gone waits until nothing holds a namespace any more.
func gone(t *testing.T, ns string) {
	t.Helper()
	require.Eventually(t, func() bool { return len(holders(ns)) == 0 }, soon, time.Millisecond, "%s is held", ns)
}

// holders lists the threads and descriptors that hold a namespace.
func holders(ns string) (found []string) {
	for _, pattern := range []string{"/proc/[0-9]*/task/*/ns/net", "/proc/[0-9]*/fd/*"} {
		paths, _ := filepath.Glob(pattern)
		for _, path := range paths {
			if target, err := os.Readlink(path); err == nil && target == ns {
				found = append(found, path)
			}
		}
	}
	return found
}

package announce_test

import (
	"context"
	"log/slog"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/l2vip/l2vip/announce"
	"github.com/l2vip/l2vip/internal/testnet"
)

// arpSysctl is the path of an interface's setting.
func arpSysctl(ifname, name string) string {
	return "/proc/sys/net/ipv4/conf/" + ifname + "/" + name
}

// setARP changes a setting of an interface, and getARP returns it.
func setARP(t testing.TB, node *testnet.Node, ifname, name, value string) {
	t.Helper()
	within(t, node, func() error { return os.WriteFile(arpSysctl(ifname, name), []byte(value), 0) })
}

func getARP(t testing.TB, node *testnet.Node, ifname, name string) (value string) {
	t.Helper()
	within(t, node, func() error {
		b, err := os.ReadFile(arpSysctl(ifname, name))
		value = strings.TrimSpace(string(b))
		return err
	})
	return value
}

// warnings collects what is logged as a warning.
type warnings struct {
	mu   sync.Mutex
	text strings.Builder
}

func (w *warnings) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.Write(b)
}

func (w *warnings) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.String()
}

func (w *warnings) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelWarn}))
}

// What somebody sets so that the kernel would answer is noticed without anything
// else happening, and set again; at the end it is as they wanted it. The larger
// of the values for all and for the interface counts, so that a reserved one of
// an interface in use undoes the other.
func TestChangedSettingsAreRepaired(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ ifname, name, value, during string }{
		{"all", "arp_ignore", "0", "1"},
		{"all", "arp_ignore", "6", "1"},
		{"all", "arp_announce", "1", "2"},
		{"eth0", "arp_ignore", "5", "1"},
		{"eth0", "arp_announce", "3", "2"},
	} {
		t.Run(test.ifname+" "+test.name+" "+test.value, func(t *testing.T) {
			b := newBench(t)
			var log warnings
			s := start(t, b.node, announce.Config{Logger: log.logger()}, answering(vip, vip6, marker)...)
			require.Zero(t, s.await(t, func(f announce.Facts) bool { return len(f.Addresses) == 3 }).Repairs)
			require.Empty(t, log.String(), "what is set at the start is no repair")
			setARP(t, b.node, test.ifname, test.name, test.value)
			f := s.await(t, func(f announce.Facts) bool { return f.Repairs == 1 })
			require.Equal(t, test.during, getARP(t, b.node, test.ifname, test.name))
			require.Equal(t, announce.NoProblem, about(f, vip).Problem)
			require.Contains(t, log.String(), "sysctl=net.ipv4.conf."+test.ifname+"."+test.name+" found="+test.value)
			require.NoError(t, s.stop())
			require.Equal(t, test.value, getARP(t, b.node, test.ifname, test.name))
		})
	}
}

// The settings go back when this process ends, but not if others may count on them by
// then: for an address that has no subnet on another interface, or one on an interface
// without ARP. What somebody has changed since stays, too.
func TestSettingsStayWhereOthersNeedThem(t *testing.T) {
	for name, test := range map[string]struct {
		addr      string // on lan0 meanwhile
		noARP     bool
		set, want string // all.arp_ignore meanwhile, and at the end
	}{
		"nobody":                      {want: "0"},
		"a subnet of its own":         {addr: "10.1.2.1/24", want: "0"},
		"an address without a subnet": {addr: "192.168.122.200/32", want: "1"},
		"an interface without ARP":    {addr: "10.1.2.1/24", noARP: true, want: "1"},
		"stricter since":              {set: "2", want: "2"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			veth(t, b, "lan0", "peer0")
			up(t, b, "lan0", "peer0")
			if test.noARP {
				onLink(t, b.node, "lan0", netlink.LinkSetARPOff)
			}
			s := start(t, b.node, announce.Config{}, assigned(announce.Standby, vip)...)
			s.ready(t, 1)
			require.Equal(t, "1", getARP(t, b.node, "all", "arp_ignore"))
			if test.addr != "" {
				onLink(t, b.node, "lan0", func(l netlink.Link) error { return netlink.AddrAdd(l, addrOn(test.addr)) })
			}
			if test.set != "" {
				setARP(t, b.node, "all", "arp_ignore", test.set)
			}
			require.NoError(t, s.stop())
			require.Equal(t, test.want, getARP(t, b.node, "all", "arp_ignore"))
		})
	}
}

// Stricter settings are nobody's mistake, nor are those of an interface that is
// not in use, and without IPv4 addresses none is needed.
func TestSettingsThatDoNotMatter(t *testing.T) {
	b := newBench(t)
	veth(t, b, "lan0", "peer0")
	up(t, b, "lan0", "peer0")
	s := start(t, b.node, announce.Config{}, assigned(announce.Standby, vip)...)
	s.ready(t, 1)
	setARP(t, b.node, "all", "arp_ignore", "2")
	setARP(t, b.node, "eth0", "arp_ignore", "8")
	setARP(t, b.node, "lan0", "arp_ignore", "5")
	setARP(t, b.node, "eth0", "arp_announce", "3") // noticed, so that the others were seen
	s.await(t, func(f announce.Facts) bool { return f.Repairs == 1 })
	require.Equal(t, "2 8 5", getARP(t, b.node, "all", "arp_ignore")+" "+getARP(t, b.node, "eth0", "arp_ignore")+" "+getARP(t, b.node, "lan0", "arp_ignore"))

	require.NoError(t, s.Set(assigned(announce.Standby, vip6)))
	s.ready(t, 1)
	setARP(t, b.node, "all", "arp_ignore", "0")
	require.NoError(t, s.Set(assigned(announce.Standby, vip6, vip6.Next())))
	s.ready(t, 2)
	require.Equal(t, "0", getARP(t, b.node, "all", "arp_ignore"))
}

// Where the setting can't be set again no IPv4 address is left on lo, what to set
// is said, and IPv6 is not harmed; when somebody sets it, all are bound again.
func TestSettingsThatCannotBeRepaired(t *testing.T) {
	b, _ := newBench6(t)
	foreign := netip.MustParseAddr("192.168.122.77")
	onLink(t, b.node, "lo", func(l netlink.Link) error { return netlink.AddrAdd(l, addrOn(foreign.String()+"/32")) })
	setARP(t, b.node, "all", "arp_ignore", "1")
	setARP(t, b.node, "all", "arp_announce", "2")
	a, err := announce.New(announce.Config{})
	require.NoError(t, err)
	require.NoError(t, a.Set(assigned(announce.Standby, vip, vip2, foreign, vip6)))
	ctx, cancel := context.WithCancel(context.Background())
	s := &speaker{Announcer: a, cancel: cancel, done: make(chan struct{}), news: make(chan struct{}, 1)}
	go func() {
		defer close(s.done)
		s.err = b.node.Do(func() error {
			if err := readOnlySettings(); err != nil {
				return err
			}
			return a.Run(ctx, s.report)
		})
	}()
	t.Cleanup(func() { require.NoError(t, s.stop()) })
	s.ready(t, 4)

	for range 2 {
		setARP(t, b.node, "all", "arp_ignore", "0")
		f := s.await(t, func(f announce.Facts) bool { return about(f, vip).Problem == announce.NotBound })
		for _, addr := range []netip.Addr{vip, vip2, foreign} {
			require.Equal(t, announce.NotBound, about(f, addr).Problem)
			require.Contains(t, about(f, addr).Detail, "set net.ipv4.conf.all.arp_ignore=1")
			require.Contains(t, about(f, addr).Detail, unix.EROFS.Error())
		}
		require.Equal(t, announce.NoProblem, about(f, vip6).Problem)
		eventually(t, func() bool { return len(bound(t, b.node, "lo")) == 1 }, "ours are off lo")
		require.True(t, isBound(t, b.node, "lo", foreign))
		require.True(t, isBound6(t, b.node, "lo", vip6))
		setARP(t, b.node, "all", "arp_ignore", "1")
		s.ready(t, 4)
		require.Len(t, bound(t, b.node, "lo"), 3)
	}
}

package announce

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

// A mark is the same as a label and as a metric, and nothing else is one.
func TestMark(t *testing.T) {
	require.Equal(t, "lo:l2-6c32abcd", markWith(0xabcd).label())
	rapid.Check(t, func(t *rapid.T) {
		m := markWith(rapid.Uint16().Draw(t, "number"))
		require.Equal(t, m, markIn(m.label()))
		require.Equal(t, m, markOf(uint32(m)))
		require.Less(t, len(m.label()), unix.IFNAMSIZ)
	})
	for _, label := range []string{"", "lo", "lo:l2-", "lo:l2-00000001", "lo:l2-6c32ABCD", "lo:l2-06c32abcd", "eth0:l2-6c32abcd", "lo:l2-6c32abcdx"} {
		require.Zero(t, markIn(label), label)
	}
	for _, metric := range []uint32{0, 1, 256, 1024, 0x6c31ffff, 0x6c330000, math.MaxUint32} {
		require.Zero(t, markOf(metric))
	}
}

// linkMessage returns what the kernel tells of an interface.
func linkMessage(kind uint16, flags uint32, attrs ...*nl.RtAttr) []byte {
	msg := nl.NewIfInfomsg(unix.AF_UNSPEC)
	msg.Index, msg.Type, msg.Flags = 7, kind, flags
	b := msg.Serialize()
	for _, a := range attrs {
		b = append(b, a.Serialize()...)
	}
	return b
}

// Why an interface can't be used, the more lasting reason first.
func TestLinkProblems(t *testing.T) {
	const works = unix.IFF_UP | unix.IFF_RUNNING
	name := nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated("eth7"))
	hw := nl.NewRtAttr(unix.IFLA_ADDRESS, []byte{2, 0, 0, 0, 0, 7})
	master := nl.NewRtAttr(unix.IFLA_MASTER, nl.Uint32Attr(3))
	kind := func(kind string) *nl.RtAttr {
		info := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
		info.AddRtAttr(unix.IFLA_INFO_KIND, nl.ZeroTerminated("veth"))
		info.AddRtAttr(unix.IFLA_INFO_SLAVE_KIND, nl.ZeroTerminated(kind))
		return info
	}
	for _, test := range []struct {
		message []byte
		problem string
	}{
		{linkMessage(unix.ARPHRD_ETHER, works, name, hw), ""},
		{linkMessage(unix.ARPHRD_ETHER, works, name, hw, master, kind("vrf")), ""},
		{linkMessage(unix.ARPHRD_ETHER, works, name, hw, master, kind("bridge")), isPort},
		{linkMessage(unix.ARPHRD_ETHER, works, name, hw, kind("bond"), master), isPort},
		{linkMessage(unix.ARPHRD_ETHER, works, name, hw, master, kind("openvswitch")), isPort},
		{linkMessage(unix.ARPHRD_ETHER, works, name, hw, master), isPort},
		{linkMessage(unix.ARPHRD_ETHER, 0, name, hw, master, kind("team")), isPort},
		{linkMessage(unix.ARPHRD_ETHER, 0, name, hw), "down"},
		{linkMessage(unix.ARPHRD_ETHER, unix.IFF_RUNNING, name, hw), "down"},
		{linkMessage(unix.ARPHRD_ETHER, unix.IFF_UP, name, hw), "no carrier"},
		{linkMessage(unix.ARPHRD_ETHER, unix.IFF_NOARP, name, hw), "no ARP"},
		{linkMessage(unix.ARPHRD_ETHER, works, name), "no Ethernet"},
		{linkMessage(unix.ARPHRD_LOOPBACK, works|unix.IFF_LOOPBACK, name, hw), "no Ethernet"},
		{linkMessage(unix.ARPHRD_INFINIBAND, works, name, nl.NewRtAttr(unix.IFLA_ADDRESS, make([]byte, 20))), "no Ethernet"},
		{linkMessage(unix.ARPHRD_NONE, works|unix.IFF_POINTOPOINT|unix.IFF_NOARP, name), "point-to-point"},
	} {
		l, err := parseLink(test.message)
		require.NoError(t, err)
		require.Equal(t, "eth7", l.name)
		require.Equal(t, 7, l.index)
		require.Equal(t, test.problem, l.problem)
		require.Equal(t, test.problem == "down" || test.problem == "no carrier", l.down)
	}
	_, err := parseLink(make([]byte, 15))
	require.Error(t, err)
}

// However many names, patterns and subnets there are, what is collected of them
// says the same as each by itself.
func TestReachAgreesWithCarries(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		addr := rapid.Custom(func(t *rapid.T) netip.Addr {
			low := rapid.Uint16Range(0, 1023).Draw(t, "low")
			if rapid.Bool().Draw(t, "v4") {
				return netip.AddrFrom4([4]byte{10, 0, byte(low >> 8), byte(low)})
			}
			return netip.AddrFrom16([16]byte{0x20, 1, 14: byte(low >> 8), 15: byte(low)})
		})
		name := rapid.SampledFrom([]string{"a", "ab", "abc", "b", "bc"})
		pattern := rapid.SampledFrom([]string{"a", "ab", "abc", "b", "x", "ab*", "abc*", "b*", "x*"})
		var assignments []Assignment
		for range rapid.IntRange(0, 6).Draw(t, "assignments") {
			assignments = append(assignments, Assignment{Addr: addr.Draw(t, "addr"), Interfaces: rapid.SliceOfN(pattern, 0, 2).Draw(t, "interfaces")})
		}
		slices.SortFunc(assignments, func(x, y Assignment) int { return x.Addr.Compare(y.Addr) })
		r := reachOf(assignments)
		l := link{name: name.Draw(t, "name")}
		for range rapid.IntRange(0, 2).Draw(t, "prefixes") {
			a := addr.Draw(t, "prefix")
			l.prefixes = append(l.prefixes, netip.PrefixFrom(a, a.BitLen()-rapid.IntRange(1, 9).Draw(t, "host bits")))
		}
		require.Equal(t, slices.ContainsFunc(assignments, func(a Assignment) bool { return l.belongs(&a) }), r.covers(&l))
	})
}

// A pattern names all interfaces that begin so, each once, and a name its own;
// those that can't be used are listed with the reason.
func TestFactsOfPatterns(t *testing.T) {
	e := newTestEngine(t, 0, 0)
	for i, name := range []string{"br0", "eth", "eth0", "eth1", "eth10", "lo"} {
		e.links = append(e.links, link{name: name, index: i + 1, prefixes: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}})
	}
	e.links[3].problem = "port of br0"
	e.links[5].problem = "no Ethernet"
	for _, test := range []struct {
		patterns      []string
		links, listed []string
		detail        string
	}{
		{[]string{"eth*"}, []string{"eth", "eth0", "eth10"}, []string{"eth", "eth0", "eth1", "eth10"}, ""},
		{[]string{"eth1*", "eth*", "eth0"}, []string{"eth10", "eth", "eth0"}, []string{"eth", "eth0", "eth1", "eth10"}, ""},
		{[]string{"*"}, []string{"br0", "eth", "eth0", "eth10"}, []string{"br0", "eth", "eth0", "eth1", "eth10", "lo"}, ""},
		{[]string{"eth1"}, nil, []string{"eth1"}, "eth1: port of br0"},
		{[]string{"wlan*", "l*", "x"}, nil, []string{"lo", "x"}, "lo: no Ethernet, wlan*: no such interface, x: no such interface"},
		{[]string{"eth2*"}, nil, nil, "eth2*: no such interface"},
	} {
		e.assigned = []Assignment{{Addr: netip.MustParseAddr("10.0.0.1"), Interfaces: test.patterns}}
		e.claim(e.assigned)
		f := e.facts()
		require.Equal(t, test.links, f.Addresses[0].Links)
		require.Equal(t, test.detail, f.Addresses[0].Detail)
		var listed []string
		for _, l := range f.Links {
			listed = append(listed, l.Name)
		}
		require.Equal(t, test.listed, listed)
	}
}

// BenchmarkReach is what it costs to find the interfaces in use with many
// addresses and interfaces.
func BenchmarkReach(b *testing.B) {
	e := newTestEngine(b, 10000, 1000)
	for i := range e.assigned {
		e.assigned[i].Interfaces = []string{fmt.Sprint("eth", i%10), "lan*"}
	}
	b.ReportAllocs()
	for b.Loop() {
		r, n := reachOf(e.assigned), 0
		for i := range e.links {
			if r.covers(&e.links[i]) {
				n++
			}
		}
		if n != 10 {
			b.Fatal(n)
		}
	}
}

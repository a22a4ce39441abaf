package pool_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/l2vip/l2vip/pool"
)

func allocate(t *testing.T, pools []pool.Pool, requests ...pool.Request) *pool.Allocation {
	t.Helper()
	a, err := pool.Allocate(pools, requests)
	require.NoError(t, err)
	return a
}

func TestAllocateStartsAtTheAddressAsWritten(t *testing.T) {
	mypool := []pool.Pool{{Name: "mypool", Ranges: ranges("192.168.122.100/24")}}
	a := allocate(t, mypool, pool.Request{Service: "web", Pool: "mypool"})
	require.Equal(t, addrs("192.168.122.100"), a.Addresses("web"))
}

func TestAutomaticAllocation(t *testing.T) {
	for _, tt := range []struct {
		name string
		pool pool.Pool
		want []netip.Addr // all that the pool has, in order
	}{
		{
			"wraps around without network and broadcast address",
			pool.Pool{Ranges: ranges("10.0.0.5/29")},
			addrs("10.0.0.5", "10.0.0.6", "10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4"),
		},
		{"a /30 has two", pool.Pool{Ranges: ranges("10.0.0.0/30")}, addrs("10.0.0.1", "10.0.0.2")},
		{"a /31 has two", pool.Pool{Ranges: ranges("10.0.0.1/31")}, addrs("10.0.0.1", "10.0.0.0")},
		{"a /32 has one", pool.Pool{Ranges: ranges("10.0.0.0/32")}, addrs("10.0.0.0")},
		{"a range has its ends", pool.Pool{Ranges: ranges("10.0.0.255-10.0.1.1")}, addrs("10.0.0.255", "10.0.1.0", "10.0.1.1")},
		{
			"avoids buggy addresses",
			pool.Pool{Ranges: ranges("10.0.0.254-10.0.1.1", "10.0.2.0", "10.0.3.255/31"), AvoidBuggyIPs: true},
			addrs("10.0.0.254", "10.0.1.1", "10.0.3.254"),
		},
		{
			"IPv6 has no buggy addresses and no broadcast address",
			pool.Pool{Ranges: ranges("2001:db8::fe/127", "2001:db8::100/127"), AvoidBuggyIPs: true},
			addrs("2001:db8::fe", "2001:db8::ff", "2001:db8::100", "2001:db8::101"),
		},
		{
			"IPv6 wraps around without the Subnet-Router anycast address",
			pool.Pool{Ranges: ranges("2001:db8::6/125")},
			addrs("2001:db8::6", "2001:db8::7", "2001:db8::1", "2001:db8::2", "2001:db8::3", "2001:db8::4", "2001:db8::5"),
		},
		{"a /126 has three", pool.Pool{Ranges: ranges("2001:db8::4/126")}, addrs("2001:db8::5", "2001:db8::6", "2001:db8::7")},
		{"a /127 has two", pool.Pool{Ranges: ranges("2001:db8::4/127")}, addrs("2001:db8::4", "2001:db8::5")},
		{"a /128 has one", pool.Pool{Ranges: ranges("2001:db8::4/128")}, addrs("2001:db8::4")},
		{"an IPv6 range has its ends", pool.Pool{Ranges: ranges("2001:db8::-2001:db8::1")}, addrs("2001:db8::", "2001:db8::1")},
		{
			"excludes",
			pool.Pool{Ranges: ranges("10.0.0.4/29"), Exclude: ranges("10.0.0.4", "10.0.0.6-10.0.0.20", "10.0.0.1/32", "10.0.0.2/31")},
			addrs("10.0.0.5"),
		},
		{
			"excludes that overlap one another",
			pool.Pool{Ranges: ranges("10.0.0.0/29"), Exclude: ranges("10.0.0.2-10.0.0.5", "10.0.0.1-10.0.0.3", "10.0.0.3", "172.16.0.0/12")},
			addrs("10.0.0.6"),
		},
		{
			"ranges in their written order, of either family",
			pool.Pool{Ranges: ranges("10.0.9.1-10.0.9.2", "2001:db8::8/127", "10.0.0.1")},
			addrs("10.0.9.1", "10.0.9.2", "2001:db8::8", "2001:db8::9", "10.0.0.1"),
		},
		{
			"asked for by pool although nothing is assigned automatically",
			pool.Pool{Ranges: ranges("10.0.0.1"), NoAutoAssign: true},
			addrs("10.0.0.1"),
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.pool.Name = "p"
			request := pool.Request{Service: "s", Pool: "p", Count: len(tt.want)}
			a := allocate(t, []pool.Pool{tt.pool}, request)
			require.Equal(t, tt.want, a.Addresses("s"))

			request.Count++
			_, err := pool.Allocate([]pool.Pool{tt.pool}, []pool.Request{request})
			require.ErrorContains(t, err, "exhausted")
		})
	}
}

func TestNamedAddressesComeFirst(t *testing.T) {
	pools := []pool.Pool{{Name: "p", Ranges: ranges("10.0.0.0/24"), AvoidBuggyIPs: true}, {Name: "q", Ranges: ranges("10.0.1.0/24"), NoAutoAssign: true}}
	a := allocate(t, pools,
		pool.Request{Service: "first", Pool: "p", Count: 2},
		pool.Request{Service: "second", Pool: "p"},
		pool.Request{Service: "named", Addresses: addrs("10.0.0.2", "10.0.1.9", "10.0.0.0", "10.0.0.255")},
	)
	require.Equal(t, addrs("10.0.0.1", "10.0.0.3"), a.Addresses("first"))
	require.Equal(t, addrs("10.0.0.4"), a.Addresses("second"))
	require.Equal(t, addrs("10.0.0.2", "10.0.1.9", "10.0.0.0", "10.0.0.255"), a.Addresses("named"))
	require.Nil(t, a.Addresses("nobody"))

	got, ok := a.Lookup(netip.MustParseAddr("10.0.1.9"))
	require.True(t, ok)
	require.Equal(t, pool.Assignment{Addr: netip.MustParseAddr("10.0.1.9"), Service: "named", Pool: "q"}, got)
	_, ok = a.Lookup(netip.MustParseAddr("10.0.0.5"))
	require.False(t, ok)
}

func TestNamesMayNotBeForHosts(t *testing.T) {
	pools := []pool.Pool{{Name: "p", Ranges: ranges("2001:db8::/126", "10.0.0.0/30")}}
	named := addrs("2001:db8::", "10.0.0.0", "10.0.0.3")
	a := allocate(t, pools, pool.Request{Service: "named", Addresses: named}, pool.Request{Service: "rest", Pool: "p", Count: 5})
	require.Equal(t, named, a.Addresses("named"))
	require.Equal(t, addrs("2001:db8::1", "2001:db8::2", "2001:db8::3", "10.0.0.1", "10.0.0.2"), a.Addresses("rest"))
}

func TestAutomatic(t *testing.T) {
	pools := []pool.Pool{{Name: "p", Ranges: ranges("10.0.0.0/24")}}
	a := allocate(t, pools,
		pool.Request{Service: "named", Addresses: addrs("10.0.0.2")},
		pool.Request{Service: "from a pool", Pool: "p", Count: 2},
		pool.Request{Service: "from any", Count: 1},
		pool.Request{Service: "gone", Pool: "p", Reserved: true},
	)
	for addr, want := range map[string]bool{
		"10.0.0.1": true,
		"10.0.0.2": false,
		"10.0.0.3": true,
		"10.0.0.4": true,
		"10.0.0.5": true,
		"10.0.0.6": false, // nobody's
	} {
		require.Equal(t, want, a.Automatic(netip.MustParseAddr(addr)), addr)
	}
	require.False(t, a.Automatic(netip.Addr{}))
}

func TestWithoutPoolsAddressesNeedNone(t *testing.T) {
	a := allocate(t, nil, pool.Request{Service: "web", Addresses: addrs("192.168.122.100", "2001:db8::1")})
	require.Equal(t, []pool.Assignment{
		{Addr: netip.MustParseAddr("192.168.122.100"), Service: "web"},
		{Addr: netip.MustParseAddr("2001:db8::1"), Service: "web"},
	}, slices.Collect(a.All()))
}

func TestAnyPoolMeansThoseThatAssignAutomatically(t *testing.T) {
	pools := []pool.Pool{
		{Name: "kept", Ranges: ranges("10.0.0.1"), NoAutoAssign: true},
		{Name: "small", Ranges: ranges("10.0.1.1-10.0.1.3")},
		{Name: "large", Ranges: ranges("10.0.2.0/24")},
	}
	a := allocate(t, pools,
		pool.Request{Service: "a", Count: 2},
		pool.Request{Service: "b", Count: 2},
		pool.Request{Service: "c", Count: 1},
		pool.Request{Service: "d", Pool: "kept"},
	)
	require.Equal(t, addrs("10.0.1.1", "10.0.1.2"), a.Addresses("a"))
	require.Equal(t, addrs("10.0.1.3", "10.0.2.1"), a.Addresses("b"))
	require.Equal(t, addrs("10.0.2.2"), a.Addresses("c"))
	require.Equal(t, addrs("10.0.0.1"), a.Addresses("d"))

	_, err := pool.Allocate(pools[:2], []pool.Request{{Service: "a", Count: 1}, {Service: "b", Count: 3}, {Service: "c", Count: 1}})
	require.EqualError(t, err, strings.Join([]string{
		`Services[1]: service "b" gets 2 of 3 addresses: pool "small" is exhausted, all of its 3 addresses are taken`,
		`Services[2]: service "c" gets 0 of 1 addresses: pool "small" is exhausted, all of its 3 addresses are taken`,
	}, "\n"))
}

func TestReservedKeepsItsPlace(t *testing.T) {
	pools := []pool.Pool{{Name: "p", Ranges: ranges("10.0.0.1-10.0.0.9")}}
	a := allocate(t, pools,
		pool.Request{Service: "gone", Pool: "p", Reserved: true},
		pool.Request{Service: "stays", Pool: "p"},
		pool.Request{Service: "was named", Addresses: addrs("10.0.0.3"), Reserved: true},
		pool.Request{Service: "new", Pool: "p"},
	)
	require.Nil(t, a.Addresses("gone"))
	require.Equal(t, addrs("10.0.0.2"), a.Addresses("stays"))
	require.Nil(t, a.Addresses("was named"))
	require.Equal(t, addrs("10.0.0.4"), a.Addresses("new"))

	got, ok := a.Lookup(netip.MustParseAddr("10.0.0.1"))
	require.True(t, ok)
	require.Equal(t, pool.Assignment{Addr: netip.MustParseAddr("10.0.0.1"), Service: "gone", Pool: "p", Reserved: true}, got)
}

func TestAllIsOrderedByAddress(t *testing.T) {
	pools := []pool.Pool{{Name: "six", Ranges: ranges("2001:db8::/64")}, {Name: "four", Ranges: ranges("10.0.0.9/24")}}
	a := allocate(t, pools,
		pool.Request{Service: "b", Pool: "six"},
		pool.Request{Service: "a", Pool: "four", Count: 2},
		pool.Request{Service: "c", Addresses: addrs("10.0.0.1"), Reserved: true},
	)
	require.Equal(t, []pool.Assignment{
		{netip.MustParseAddr("10.0.0.1"), "c", "four", true},
		{netip.MustParseAddr("10.0.0.9"), "a", "four", false},
		{netip.MustParseAddr("10.0.0.10"), "a", "four", false},
		{netip.MustParseAddr("2001:db8::1"), "b", "six", false},
	}, slices.Collect(a.All()))
}

func TestAllocateFindsEverythingThatIsWrong(t *testing.T) {
	pools := []pool.Pool{
		{Name: "a", Ranges: ranges("10.0.0.1-10.0.0.4"), Exclude: ranges("10.0.0.4")},
		{Name: "b", Ranges: ranges("10.0.0.2-10.0.0.3")},
	}
	requests := []pool.Request{
		{Service: "nothing"},
		{Pool: "a"},
		{Service: "named", Addresses: []netip.Addr{
			netip.MustParseAddr("10.0.0.1"),
			netip.MustParseAddr("10.0.0.1"),
			netip.MustParseAddr("10.0.0.4"),
			netip.MustParseAddr("10.9.0.1"),
			{},
			netip.MustParseAddr("fe80::1%eth0"),
			netip.MustParseAddr("::ffff:10.0.0.2"),
			netip.MustParseAddr("224.0.0.1"),
			netip.MustParseAddr("::1"),
			netip.MustParseAddr("0.0.0.0"),
			netip.MustParseAddr("255.255.255.255"),
		}},
		{Service: "named", Addresses: addrs("10.0.0.1")},
		{Service: "both", Addresses: addrs("10.0.0.2"), Pool: "a", Count: 1},
		{Service: "elsewhere", Pool: "c"},
		{Service: "negative", Pool: "a", Count: -1},
		{Service: "greedy", Count: pool.MaxCount + 1},
		{Service: "too many", Pool: "a", Count: 7},
		{Service: "late", Pool: "a"},
	}
	a, err := pool.Allocate(pools, requests)
	require.Nil(t, a)
	require.EqualError(t, err, strings.Join([]string{
		`Pools[1].Ranges[0]: range 10.0.0.2-10.0.0.3 of pool "b" overlaps range 10.0.0.1-10.0.0.4 of pool "a"`,
		`Services[0]: service "nothing" asks for neither addresses nor a pool`,
		`Services[1].Name: required`,
		`Services[2].Addresses[1]: service "named": address 10.0.0.1 is asked for twice, first by service "named"`,
		`Services[2].Addresses[2]: service "named": address 10.0.0.4 is excluded from pool "a"`,
		`Services[2].Addresses[3]: service "named": address 10.9.0.1 is in no pool`,
		`Services[2].Addresses[4]: service "named": the zero Addr is not an address`,
		`Services[2].Addresses[5]: service "named": address fe80::1%eth0 has a zone`,
		`Services[2].Addresses[6]: service "named": address ::ffff:10.0.0.2 is an IPv4-mapped IPv6 address`,
		`Services[2].Addresses[7]: service "named": address 224.0.0.1 is a multicast address`,
		`Services[2].Addresses[8]: service "named": address ::1 is a loopback address`,
		`Services[2].Addresses[9]: service "named": address 0.0.0.0 is the unspecified address`,
		`Services[2].Addresses[10]: service "named": address 255.255.255.255 is the limited broadcast address`,
		`Services[3].Name: service "named" is defined twice, first as Services[2]`,
		`Services[3].Addresses[0]: service "named": address 10.0.0.1 is asked for twice, first by service "named"`,
		`Services[4].Pool: service "both" asks for addresses by name, and so cannot ask for pool "a"`,
		`Services[4].Count: service "both" asks for addresses by name, and so cannot ask for a count of 1`,
		`Services[5].Pool: service "elsewhere" asks for pool "c", which does not exist`,
		`Services[6].Count: service "negative" asks for -1 addresses: want 0 to 65536`,
		`Services[7].Count: service "greedy" asks for 65537 addresses: want 0 to 65536`,
		`Services[8]: service "too many" gets 2 of 7 addresses: pool "a" is exhausted, all of its 3 addresses are taken`,
		`Services[9]: service "late" gets 0 of 1 addresses: pool "a" is exhausted, all of its 3 addresses are taken`,
	}, "\n"))
}

func TestAllocateWithoutPoolsFindsEverythingThatIsWrong(t *testing.T) {
	_, err := pool.Allocate(nil, []pool.Request{
		{Service: "a", Addresses: addrs("10.0.0.1", "127.0.0.1")},
		{Service: "b", Addresses: addrs("10.0.0.1")},
		{Service: "c", Pool: "p"},
		{Service: "d", Count: 1},
	})
	require.EqualError(t, err, strings.Join([]string{
		`Services[0].Addresses[1]: service "a": address 127.0.0.1 is a loopback address`,
		`Services[1].Addresses[0]: service "b": address 10.0.0.1 is asked for twice, first by service "a"`,
		`Services[2].Pool: service "c" asks for pool "p", which does not exist`,
		`Services[3].Pool: service "d" asks for no pool by name, and there is none that assigns automatically`,
	}, "\n"))
}

func TestAllocateSurvivesPoolsThatAreWrong(t *testing.T) {
	_, err := pool.Allocate(
		[]pool.Pool{{Name: "p", Ranges: []pool.Range{{}}, Exclude: []pool.Range{{}}}, {Name: "p"}},
		[]pool.Request{{Service: "a", Pool: "p"}, {Service: "b", Addresses: addrs("10.0.0.1")}},
	)
	require.ErrorContains(t, err, "Pools[0].Ranges[0]: the zero Range is not valid")
	require.ErrorContains(t, err, `Pools[1].Name: pool "p" is defined twice`)
	require.ErrorContains(t, err, `Services[1].Addresses[0]: service "b": address 10.0.0.1 is in no pool`)
}

func TestAllocationIsImmutable(t *testing.T) {
	asked := addrs("10.0.0.1", "10.0.0.2")
	a := allocate(t, nil, pool.Request{Service: "s", Addresses: asked})
	asked[0] = netip.MustParseAddr("10.9.9.9")
	a.Addresses("s")[1] = netip.MustParseAddr("10.9.9.9")
	require.Equal(t, addrs("10.0.0.1", "10.0.0.2"), a.Addresses("s"))
}

func TestNilAllocationIsEmpty(t *testing.T) {
	var a *pool.Allocation
	require.Nil(t, a.Addresses("s"))
	require.Empty(t, slices.Collect(a.All()))
	_, ok := a.Lookup(netip.MustParseAddr("10.0.0.1"))
	require.False(t, ok)
	require.False(t, a.Automatic(netip.MustParseAddr("10.0.0.1")))
}

func TestLargeIPv6PoolCostsNothing(t *testing.T) {
	pools := []pool.Pool{{Name: "p", Ranges: ranges("2001:db8::ffff:ffff:ffff:ffff/64", "fd00::/8"), Exclude: ranges("2001:db8::/65")}}
	a := allocate(t, pools, pool.Request{Service: "s", Pool: "p", Count: 2})
	require.Equal(t, addrs("2001:db8::ffff:ffff:ffff:ffff", "2001:db8::8000:0:0:0"), a.Addresses("s"))
}

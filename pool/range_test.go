package pool_test

import (
	"encoding/json"
	"math"
	"net/netip"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/l2vip/l2vip/pool"
)

func TestParseRange(t *testing.T) {
	for _, tt := range []struct {
		in, text, from, to, first string
		n                         uint64
	}{
		{"192.168.122.100", "192.168.122.100", "192.168.122.100", "192.168.122.100", "192.168.122.100", 1},
		{" 192.168.122.100\t", "192.168.122.100", "192.168.122.100", "192.168.122.100", "192.168.122.100", 1},
		{"192.168.122.100/24", "192.168.122.100/24", "192.168.122.0", "192.168.122.255", "192.168.122.100", 256},
		{"192.168.122.0/24", "192.168.122.0/24", "192.168.122.0", "192.168.122.255", "192.168.122.1", 256},
		{"192.168.122.255/24", "192.168.122.255/24", "192.168.122.0", "192.168.122.255", "192.168.122.1", 256},
		{"10.0.0.0/30", "10.0.0.0/30", "10.0.0.0", "10.0.0.3", "10.0.0.1", 4},
		{"10.0.0.1/31", "10.0.0.1/31", "10.0.0.0", "10.0.0.1", "10.0.0.1", 2},
		{"10.0.0.0/31", "10.0.0.0/31", "10.0.0.0", "10.0.0.1", "10.0.0.0", 2},
		{"10.0.0.0/32", "10.0.0.0/32", "10.0.0.0", "10.0.0.0", "10.0.0.0", 1},
		{"10.0.0.5-10.0.0.7", "10.0.0.5-10.0.0.7", "10.0.0.5", "10.0.0.7", "10.0.0.5", 3},
		{"  10.0.0.5 -  10.0.1.4 ", "10.0.0.5-10.0.1.4", "10.0.0.5", "10.0.1.4", "10.0.0.5", 256},
		{"10.0.0.5-10.0.0.5", "10.0.0.5", "10.0.0.5", "10.0.0.5", "10.0.0.5", 1},
		{"169.254.1.0/24", "169.254.1.0/24", "169.254.1.0", "169.254.1.255", "169.254.1.1", 256},
		{"2001:db8::/64", "2001:db8::/64", "2001:db8::", "2001:db8::ffff:ffff:ffff:ffff", "2001:db8::1", math.MaxUint64},
		{"2001:db8::/65", "2001:db8::/65", "2001:db8::", "2001:db8::7fff:ffff:ffff:ffff", "2001:db8::1", 1 << 63},
		{"2001:db8::ffff:ffff:ffff:ffff/64", "2001:db8::ffff:ffff:ffff:ffff/64", "2001:db8::", "2001:db8::ffff:ffff:ffff:ffff", "2001:db8::ffff:ffff:ffff:ffff", math.MaxUint64},
		{"2001:db8::4/126", "2001:db8::4/126", "2001:db8::4", "2001:db8::7", "2001:db8::5", 4},
		{"2001:db8::4/127", "2001:db8::4/127", "2001:db8::4", "2001:db8::5", "2001:db8::4", 2},
		{"2001:db8::4/128", "2001:db8::4/128", "2001:db8::4", "2001:db8::4", "2001:db8::4", 1},
		{"2001:db8::4-2001:db8::7", "2001:db8::4-2001:db8::7", "2001:db8::4", "2001:db8::7", "2001:db8::4", 4},
		{"2001:db8::5/126", "2001:db8::5/126", "2001:db8::4", "2001:db8::7", "2001:db8::5", 4},
		{"2001:DB8:0::1 - 2001:db8::f", "2001:db8::1-2001:db8::f", "2001:db8::1", "2001:db8::f", "2001:db8::1", 15},
		{"2001:db8::ffff:ffff:ffff:fffe-2001:db8:0:1::1", "2001:db8::ffff:ffff:ffff:fffe-2001:db8:0:1::1", "2001:db8::ffff:ffff:ffff:fffe", "2001:db8:0:1::1", "2001:db8::ffff:ffff:ffff:fffe", 4},
		{"2000::/3", "2000::/3", "2000::", "3fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "2000::1", math.MaxUint64},
		{"fe80::1", "fe80::1", "fe80::1", "fe80::1", "fe80::1", 1},
	} {
		t.Run(tt.in, func(t *testing.T) {
			r, err := pool.ParseRange(tt.in)
			require.NoError(t, err)
			require.True(t, r.IsValid())
			require.Equal(t, tt.text, r.String())
			require.Equal(t, tt.from, r.From().String())
			require.Equal(t, tt.to, r.To().String())
			require.Equal(t, tt.first, r.First().String())
			require.Equal(t, tt.n, r.Len())
			require.True(t, r.Contains(r.From()))
			require.True(t, r.Contains(r.To()))
			require.False(t, r.Contains(r.From().Prev()))
			require.False(t, r.Contains(r.To().Next()))
			require.Equal(t, r, pool.MustParseRange(r.String()))
		})
	}
}

func TestParseRangeSaysWhatIsWrong(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"", `range "" is empty`},
		{" ", `range " " is empty`},
		{"10.0.0.9-10.0.0.1", `range "10.0.0.9-10.0.0.1" is reversed: its end is below its start`},
		{"10.0.0.1-2001:db8::1", `range "10.0.0.1-2001:db8::1" mixes IPv4 and IPv6`},
		{"2001:db8::1-10.0.0.1", "mixes IPv4 and IPv6"},
		{"fe80::1%eth0", `range "fe80::1%eth0" has a zone`},
		{"fe80::1%eth-0", "has a zone"},
		{"fe80::%eth0/64", "has a zone"},
		{"::ffff:10.0.0.1", "is an IPv4-mapped IPv6 address"},
		{"::ffff:10.0.0.0/120", "includes an IPv4-mapped IPv6 address, ::ffff:10.0.0.0"},
		{"::ffff:10.0.0.1-10.0.0.9", "mixes IPv4 and IPv6"},
		{"224.0.0.1", "is a multicast address"},
		{"239.0.0.0/8", "includes a multicast address, 239.0.0.0"},
		{"223.255.255.0-224.0.0.5", "includes a multicast address, 224.0.0.0"},
		{"ff02::1", "is a multicast address"},
		{"127.0.0.1", "is a loopback address"},
		{"126.0.0.0/7", "includes a loopback address, 127.0.0.0"},
		{"::1", "is a loopback address"},
		{"0.0.0.0", "is the unspecified address"},
		{"::", "is the unspecified address"},
		{"0.0.0.0/0", "includes the unspecified address, 0.0.0.0"},
		{"::/0", "includes the unspecified address, ::"},
		{"0.0.0.0-10.0.0.1", "includes the unspecified address, 0.0.0.0"},
		{"255.255.255.255", "is the limited broadcast address"},
		{"240.0.0.0/4", "includes the limited broadcast address, 255.255.255.255"},
		{"10.0.0.0/33", "is not a CIDR"},
		{"10.0.0.0/-1", "has no address in"},
		{"10.0.0.0/", "is not a CIDR"},
		{"10.0.0/24", "is not a CIDR"},
		{"10.0.0.256", `has no address in "10.0.0.256"`},
		{"10.0.0.01", "has no address in"},
		{"mypool", `has no address in "mypool"`},
		{"10.0.0.1-", `has no address in ""`},
		{"-", `has no address in ""`},
		{"10.0.0.1-10.0.0.2-10.0.0.3", `has no address in "10.0.0.2-10.0.0.3"`},
		{"10.0.0.0/24-10.0.1.0/24", `has no address in "10.0.0.0/24"`},
	} {
		t.Run(tt.in, func(t *testing.T) {
			r, err := pool.ParseRange(tt.in)
			require.ErrorContains(t, err, tt.want)
			require.Equal(t, pool.Range{}, r)
			require.Panics(t, func() { pool.MustParseRange(tt.in) })
		})
	}
}

func TestZeroRange(t *testing.T) {
	var zero pool.Range
	require.False(t, zero.IsValid())
	require.False(t, zero.Contains(netip.Addr{}))
	require.False(t, zero.Overlaps(zero))
	require.Equal(t, "invalid Range", zero.String())
	require.Zero(t, zero.Len())
	require.Zero(t, zero.From())
	require.Zero(t, zero.To())
	require.Zero(t, zero.First())
	require.Empty(t, slices.Collect(zero.All()))
}

func TestRangeContainsOnlyItsOwnKind(t *testing.T) {
	require.False(t, pool.MustParseRange("10.0.0.0/8").Contains(netip.MustParseAddr("::ffff:10.0.0.1")))
	require.False(t, pool.MustParseRange("fe80::/64").Contains(netip.MustParseAddr("fe80::1%eth0")))
	require.False(t, pool.MustParseRange("10.0.0.0/8").Contains(netip.Addr{}))
}

func TestRangeOverlaps(t *testing.T) {
	a := pool.MustParseRange("10.0.0.10-10.0.0.20")
	for in, want := range map[string]bool{
		"10.0.0.1-10.0.0.9":   false,
		"10.0.0.21":           false,
		"10.0.0.1-10.0.0.10":  true,
		"10.0.0.20-10.0.0.30": true,
		"10.0.0.15":           true,
		"10.0.0.0/8":          true,
		"2001:db8::/32":       false,
	} {
		b := pool.MustParseRange(in)
		require.Equal(t, want, a.Overlaps(b), in)
		require.Equal(t, want, b.Overlaps(a), in)
	}
}

func TestRangeAllWrapsAround(t *testing.T) {
	for in, want := range map[string][]string{
		"10.0.0.6/29":           {"10.0.0.6", "10.0.0.7", "10.0.0.0", "10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5"},
		"10.0.0.0/30":           {"10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.0"},
		"10.0.0.254-10.0.1.1":   {"10.0.0.254", "10.0.0.255", "10.0.1.0", "10.0.1.1"},
		"2001:db8::3/126":       {"2001:db8::3", "2001:db8::", "2001:db8::1", "2001:db8::2"},
		"2001:db8::4/126":       {"2001:db8::5", "2001:db8::6", "2001:db8::7", "2001:db8::4"},
		"2001:db8::1":           {"2001:db8::1"},
		"10.0.0.1/32":           {"10.0.0.1"},
		"255.255.255.250/30":    {"255.255.255.250", "255.255.255.251", "255.255.255.248", "255.255.255.249"},
		"10.0.0.5 - 10.0.0.6\n": {"10.0.0.5", "10.0.0.6"},
	} {
		var got []string
		for addr := range pool.MustParseRange(in).All() {
			got = append(got, addr.String())
		}
		require.Equal(t, want, got, in)
	}
}

func TestRangeAllStopsWhenAsked(t *testing.T) {
	for addr := range pool.MustParseRange("2001:db8::/32").All() {
		require.Equal(t, "2001:db8::1", addr.String())
		break
	}
}

func TestRangeText(t *testing.T) {
	type config struct{ Ranges []pool.Range }
	in := config{[]pool.Range{pool.MustParseRange("10.0.0.7/24"), {}}}
	text, err := json.Marshal(in)
	require.NoError(t, err)
	require.JSONEq(t, `{"Ranges":["10.0.0.7/24",""]}`, string(text))

	var out config
	require.NoError(t, json.Unmarshal(text, &out))
	require.Equal(t, in, out)

	require.ErrorContains(t, json.Unmarshal([]byte(`{"Ranges":["10.0.0.9-10.0.0.1"]}`), &out), "reversed")
}

// anyRange generates ranges of every form that hold few addresses, close enough
// together to overlap often.
func anyRange() *rapid.Generator[pool.Range] {
	return rapid.Custom(func(t *rapid.T) pool.Range {
		addr := netip.AddrFrom4([4]byte{10, 0, byte(rapid.IntRange(0, 1).Draw(t, "third")), rapid.Byte().Draw(t, "fourth")})
		if rapid.IntRange(0, 3).Draw(t, "family") == 0 {
			addr = netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, 15: rapid.Byte().Draw(t, "last")})
		}
		text := addr.String()
		switch rapid.IntRange(0, 2).Draw(t, "form") {
		case 0:
			text = netip.PrefixFrom(addr, addr.BitLen()-rapid.IntRange(0, 6).Draw(t, "host bits")).String()
		case 1:
			to := addr
			for range rapid.IntRange(0, 20).Draw(t, "size") {
				to = to.Next()
			}
			text += "-" + to.String()
		}
		return pool.MustParseRange(text)
	})
}

func TestRangeProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r, o := anyRange().Draw(t, "r"), anyRange().Draw(t, "o")
		all := slices.Collect(r.All())
		if uint64(len(all)) != r.Len() {
			t.Fatalf("All yields %d addresses, Len is %d", len(all), r.Len())
		}
		if all[0] != r.First() {
			t.Fatalf("All starts at %v, First is %v", all[0], r.First())
		}
		shared := false
		seen := make(map[netip.Addr]bool)
		for _, addr := range all {
			if seen[addr] || !r.Contains(addr) {
				t.Fatalf("All yields %v twice or from elsewhere", addr)
			}
			seen[addr] = true
			shared = shared || o.Contains(addr)
		}
		if shared != r.Overlaps(o) {
			t.Fatalf("share an address: %t, Overlaps: %t", shared, r.Overlaps(o))
		}
	})
}

func FuzzParseRange(f *testing.F) {
	for _, seed := range []string{
		"192.168.122.100/24", "10.0.0.1 - 10.0.0.9", "2001:db8::/64", "fe80::1%eth0", "::ffff:10.0.0.1",
		"0.0.0.0/0", "255.255.255.255", "224.0.0.0/4", "10.0.0.0/33", "-", "/", "", "::-::",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := pool.ParseRange(s)
		if err != nil {
			require.Equal(t, pool.Range{}, r)
			return
		}
		again, err := pool.ParseRange(r.String())
		require.NoError(t, err)
		require.Equal(t, r, again)
		require.True(t, r.Contains(r.From()) && r.Contains(r.To()) && r.Contains(r.First()))
		require.NotZero(t, r.Len())
		for _, addr := range []netip.Addr{r.From(), r.To()} {
			require.False(t, addr.IsUnspecified() || addr.IsLoopback() || addr.IsMulticast() || addr.Is4In6() || addr.Zone() != "", addr)
		}
	})
}

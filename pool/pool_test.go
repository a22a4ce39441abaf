package pool_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/l2vip/l2vip/pool"
)

func ranges(texts ...string) []pool.Range {
	var rs []pool.Range
	for _, text := range texts {
		rs = append(rs, pool.MustParseRange(text))
	}
	return rs
}

func addrs(texts ...string) []netip.Addr {
	var as []netip.Addr
	for _, text := range texts {
		as = append(as, netip.MustParseAddr(text))
	}
	return as
}

func TestValidatePoolsFindsEverything(t *testing.T) {
	err := pool.ValidatePools([]pool.Pool{
		{Ranges: ranges("10.0.0.1")},
		{Name: "a", Labels: map[string]string{"x y": ""}, Ranges: ranges("10.0.1.0/24")},
		{Name: "a", Ranges: ranges("10.0.2.0/24", "10.0.1.7")},
		{Name: "b", Ranges: []pool.Range{{}}, Exclude: []pool.Range{{}}},
		{Name: "c"},
		{Name: "d", Ranges: ranges("2001:db8::/64", "2001:db8::7-2001:db8::9")},
	})
	require.EqualError(t, err, strings.Join([]string{
		`[0].Name: required`,
		`[1].Labels["x y"]: label key "x y": want letters, digits, '-', '_' and '.', with a letter or digit at both ends`,
		`[2].Name: pool "a" is defined twice, first as [1]`,
		`[3].Ranges[0]: the zero Range is not valid`,
		`[3].Exclude[0]: the zero Range is not valid`,
		`[4].Ranges: pool "c" has no range`,
		`[2].Ranges[1]: range 10.0.1.7 of pool "a" overlaps range 10.0.1.0/24 of pool "a"`,
		`[5].Ranges[1]: range 2001:db8::7-2001:db8::9 of pool "d" overlaps range 2001:db8::/64 of pool "d"`,
	}, "\n"))
}

func TestValidatePoolsNamesBothOfAnOverlap(t *testing.T) {
	err := pool.ValidatePools([]pool.Pool{
		{Name: "inner", Ranges: ranges("10.0.0.50-10.0.0.60")},
		{Name: "outer", Ranges: ranges("10.0.0.0/24")},
		{Name: "beside", Ranges: ranges("10.0.1.0/24")},
		{Name: "end", Ranges: ranges("10.0.0.200-10.0.1.0")},
	})
	require.EqualError(t, err, strings.Join([]string{
		`[1].Ranges[0]: range 10.0.0.0/24 of pool "outer" overlaps range 10.0.0.50-10.0.0.60 of pool "inner"`,
		`[3].Ranges[0]: range 10.0.0.200-10.0.1.0 of pool "end" overlaps range 10.0.0.0/24 of pool "outer"`,
		`[3].Ranges[0]: range 10.0.0.200-10.0.1.0 of pool "end" overlaps range 10.0.1.0/24 of pool "beside"`,
	}, "\n"))
}

func TestValidatePoolsAcceptsNeighboursAndAnyExclude(t *testing.T) {
	require.NoError(t, pool.ValidatePools(nil))
	require.NoError(t, pool.ValidatePools([]pool.Pool{
		{Name: "a", Ranges: ranges("10.0.0.0/25"), Exclude: ranges("10.0.0.1", "10.0.0.0/28", "172.16.0.0/12")},
		{Name: "b", Ranges: ranges("10.0.0.128/25", "2001:db8::/64"), Labels: map[string]string{"zone": "a"}},
	}))
}

func TestManyOverlapsGiveFewFindings(t *testing.T) {
	var pools []pool.Pool
	for i := range 1000 {
		pools = append(pools, pool.Pool{Name: fmt.Sprint("pool", i), Ranges: ranges("10.0.0.0/24")})
	}
	err := pool.ValidatePools(pools)
	require.Len(t, strings.Split(err.Error(), "\n"), 999)
}

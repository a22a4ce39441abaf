package pool_test

import (
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/l2vip/l2vip/pool"
)

func label(key, value string) pool.Selector {
	return pool.Selector{MatchLabels: map[string]string{key: value}}
}

func TestAdvertisementSelectsPool(t *testing.T) {
	red := pool.Pool{Name: "red", Labels: map[string]string{"color": "red"}}
	for _, tt := range []struct {
		name string
		ad   pool.Advertisement
		want bool
	}{
		{"neither names nor selectors: all pools", pool.Advertisement{}, true},
		{"by name", pool.Advertisement{Pools: []string{"blue", "red"}}, true},
		{"by another name", pool.Advertisement{Pools: []string{"blue"}}, false},
		{"by label", pool.Advertisement{PoolSelectors: []pool.Selector{label("color", "red")}}, true},
		{"by another label", pool.Advertisement{PoolSelectors: []pool.Selector{label("color", "blue")}}, false},
		{"selectors are alternatives", pool.Advertisement{PoolSelectors: []pool.Selector{label("color", "blue"), label("color", "red")}}, true},
		{"an empty selector: all pools", pool.Advertisement{PoolSelectors: []pool.Selector{{}}}, true},
		{"name or selector", pool.Advertisement{Pools: []string{"blue"}, PoolSelectors: []pool.Selector{label("color", "red")}}, true},
		{"names are not patterns", pool.Advertisement{Pools: []string{"re", "Red"}}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			require.Equal(t, tt.want, tt.ad.SelectsPool(red))
		})
	}
}

func TestAdvertisementSelectsNode(t *testing.T) {
	front := map[string]string{"node-role": "front"}
	require.True(t, pool.Advertisement{}.SelectsNode(front))
	require.True(t, pool.Advertisement{}.SelectsNode(nil))

	ad := pool.Advertisement{NodeSelectors: []pool.Selector{label("node-role", "edge"), label("node-role", "front")}}
	require.True(t, ad.SelectsNode(front))
	require.False(t, ad.SelectsNode(map[string]string{"node-role": "worker"}))
	require.False(t, ad.SelectsNode(nil))
}

func TestAdvertisementWeightAddsUp(t *testing.T) {
	ad := pool.Advertisement{
		NodeSelectors: []pool.Selector{label("node-role", "front")},
		Preferred: []pool.Preference{
			{Weight: 60, Nodes: label("zone", "a")},
			{Weight: 50, Nodes: label("gpu", "true")},
		},
	}
	require.EqualValues(t, 110, ad.Weight(map[string]string{"node-role": "front", "zone": "a", "gpu": "true"}))
	require.EqualValues(t, 60, ad.Weight(map[string]string{"node-role": "front", "zone": "a"}))
	require.EqualValues(t, 0, ad.Weight(map[string]string{"node-role": "front"}))
	require.EqualValues(t, 0, ad.Weight(map[string]string{"zone": "a"}), "not selected at all")

	ad = pool.Advertisement{Preferred: []pool.Preference{{Weight: math.MaxUint32 - 1}, {Weight: 5}, {Weight: 1}}}
	require.EqualValues(t, math.MaxUint32, ad.Weight(nil))
}

func TestValidateAdvertisementsFindsEverything(t *testing.T) {
	bad := pool.Selector{MatchExpressions: []pool.Requirement{{Key: "a", Operator: "Equals"}}}
	pools := []pool.Pool{{Name: "mypool", Ranges: []pool.Range{pool.MustParseRange("10.0.0.0/24")}}}
	err := pool.ValidateAdvertisements([]pool.Advertisement{
		{},
		{Name: "twice", Pools: []string{"mypool", "yours"}},
		{
			Name:          "twice",
			PoolSelectors: []pool.Selector{{}, bad},
			NodeSelectors: []pool.Selector{bad},
			Interfaces:    []string{"eth0", ""},
			Preferred:     []pool.Preference{{Nodes: bad}, {Weight: 100}},
		},
		{},
	}, pools)
	operator := `MatchExpressions[0].Operator: unknown operator "Equals": want In, NotIn, Exists or DoesNotExist`
	require.EqualError(t, err, strings.Join([]string{
		`[1].Pools[1]: advertisement "twice" is for pool "yours", which does not exist`,
		`[2].Name: advertisement "twice" is defined twice, first as [1]`,
		`[2].PoolSelectors[1].` + operator,
		`[2].NodeSelectors[0].` + operator,
		`[2].Interfaces[1]: an interface needs a name`,
		`[2].Preferred[0].Weight: want at least 1`,
		`[2].Preferred[0].Nodes.` + operator,
	}, "\n"))
	require.NoError(t, pool.ValidateAdvertisements(nil, nil))
}

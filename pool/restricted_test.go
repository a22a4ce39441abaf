package pool_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/l2vip/l2vip/pool"
)

func TestPoolAdmits(t *testing.T) {
	web := map[string]string{"app": "web"}
	for _, tt := range []struct {
		name      string
		pool      pool.Pool
		namespace string
		labels    map[string]string
		want      bool
	}{
		{"no restriction", pool.Pool{}, "", nil, true},
		{"of a namespace", pool.Pool{Namespaces: []string{"test", "prod"}}, "prod", nil, true},
		{"of another namespace", pool.Pool{Namespaces: []string{"test", "prod"}}, "dev", nil, false},
		{"in no namespace", pool.Pool{Namespaces: []string{"default"}}, "", nil, false},
		{"labels match", pool.Pool{ServiceSelectors: []pool.Selector{label("app", "dns"), label("app", "web")}}, "prod", web, true},
		{"labels do not match", pool.Pool{ServiceSelectors: []pool.Selector{label("app", "dns")}}, "prod", web, false},
		{"no labels", pool.Pool{ServiceSelectors: []pool.Selector{label("app", "web")}}, "prod", nil, false},
		{"a selector that matches all", pool.Pool{ServiceSelectors: []pool.Selector{{}}}, "", nil, true},
		{"namespace and labels", pool.Pool{Namespaces: []string{"prod"}, ServiceSelectors: []pool.Selector{label("app", "web")}}, "prod", web, true},
		{"only the namespace", pool.Pool{Namespaces: []string{"prod"}, ServiceSelectors: []pool.Selector{label("app", "dns")}}, "prod", web, false},
		{"only the labels", pool.Pool{Namespaces: []string{"test"}, ServiceSelectors: []pool.Selector{label("app", "web")}}, "prod", web, false},
	} {
		require.Equal(t, tt.want, tt.pool.Admits(tt.namespace, tt.labels), tt.name)
	}
}

func TestPoolsThatAreTriedFirst(t *testing.T) {
	pools := []pool.Pool{
		{Name: "all", Ranges: ranges("10.0.0.0/24")},
		{Name: "never", Ranges: ranges("10.0.1.0/24"), Priority: 1, NoAutoAssign: true},
		{Name: "prod", Ranges: ranges("10.0.2.1-10.0.2.1"), Namespaces: []string{"prod"}},
		{Name: "last", Ranges: ranges("10.0.3.1-10.0.3.1"), Priority: 100},
		{Name: "first", Ranges: ranges("10.0.4.1-10.0.4.1"), Priority: 50},
		{Name: "second", Ranges: ranges("10.0.5.1-10.0.5.1"), Priority: 50, ServiceSelectors: []pool.Selector{label("app", "web")}},
	}
	web := map[string]string{"app": "web"}
	a := allocate(t, pools,
		pool.Request{Service: "many", Count: 6, Namespace: "prod", Labels: web},
		pool.Request{Service: "other", Count: 1},
	)
	require.Equal(t, addrs("10.0.4.1", "10.0.5.1", "10.0.3.1", "10.0.2.1", "10.0.0.1", "10.0.0.2"), a.Addresses("many"))
	require.Equal(t, addrs("10.0.0.3"), a.Addresses("other"))

	a = allocate(t, pools, pool.Request{Service: "plain", Count: 3})
	require.Equal(t, addrs("10.0.4.1", "10.0.3.1", "10.0.0.1"), a.Addresses("plain"), "without what is for others")
}

func TestPoolsThatDoNotAdmitAService(t *testing.T) {
	pools := []pool.Pool{
		{Name: "prod", Ranges: ranges("10.0.0.0/24"), Namespaces: []string{"prod"}},
		{Name: "web", Ranges: ranges("10.0.1.0/24"), ServiceSelectors: []pool.Selector{label("app", "web")}},
	}
	_, err := pool.Allocate(pools, []pool.Request{
		{Service: "by pool", Pool: "prod", Namespace: "test"},
		{Service: "by address", Addresses: addrs("10.0.1.5")},
		{Service: "by count", Count: 1, Labels: map[string]string{"app": "dns"}},
		{Service: "admitted", Addresses: addrs("10.0.0.5", "10.0.1.6"), Namespace: "prod", Labels: map[string]string{"app": "web"}},
	})
	require.EqualError(t, err, strings.Join([]string{
		`Services[0].Pool: service "by pool" may not have addresses of pool "prod", which is for services in one of the namespaces ["prod"]`,
		`Services[1].Addresses[0]: service "by address": address 10.0.1.5: the service may not have addresses of pool "web", which is for services with labels that one of its ServiceSelectors matches`,
		`Services[2].Pool: service "by count" asks for no pool by name, and none that assigns automatically admits it: may not have addresses of pool "prod", which is for services in one of the namespaces ["prod"]`,
	}, "\n"))
}

// A change of a service, or of the services that a pool is for, moves nothing unseen.
func TestMovedByRestrictions(t *testing.T) {
	pools := []pool.Pool{
		{Name: "prod", Ranges: ranges("10.0.0.0/24"), Namespaces: []string{"prod"}},
		{Name: "all", Ranges: ranges("10.0.1.0/24")},
	}
	before := allocate(t, pools, pool.Request{Service: "web", Count: 1})
	after := allocate(t, pools, pool.Request{Service: "web", Count: 1, Namespace: "prod"})
	require.EqualError(t, pool.Moved(before, after), `addresses that are still asked for would move: service "web" from 10.0.1.1 to 10.0.0.1`)
}

func TestValidateRestrictions(t *testing.T) {
	bad := pool.Selector{MatchExpressions: []pool.Requirement{{Key: "a", Operator: pool.In}}}
	err := pool.ValidatePools([]pool.Pool{{
		Name: "p", Ranges: ranges("10.0.0.0/24"), Namespaces: []string{"prod", "", "Prod"}, ServiceSelectors: []pool.Selector{{}, bad}, Priority: -1,
	}})
	require.EqualError(t, err, strings.Join([]string{
		`[0].Namespaces[1]: namespace "" is not a DNS label: want small letters, digits and '-', with a letter or digit at both ends`,
		`[0].Namespaces[2]: namespace "Prod" is not a DNS label: want small letters, digits and '-', with a letter or digit at both ends`,
		`[0].ServiceSelectors[1].MatchExpressions[0].Values: operator In needs at least one value`,
		`[0].Priority: -1 is negative`,
	}, "\n"))

	err = pool.ValidateAdvertisements([]pool.Advertisement{{ServiceSelectors: []pool.Selector{bad}}}, nil)
	require.EqualError(t, err, `[0].ServiceSelectors[0].MatchExpressions[0].Values: operator In needs at least one value`)
}

func TestFindingsNameTheOtherField(t *testing.T) {
	_, err := pool.Allocate([]pool.Pool{
		{Name: "p", Ranges: ranges("10.0.0.0/24", "10.0.1.0/24")},
		{Name: "q", Ranges: ranges("10.0.1.9-10.0.1.9")},
	}, nil)
	var finding *pool.ConfigError
	require.ErrorAs(t, err, &finding)
	require.Equal(t, "Pools[1].Ranges[0]", finding.Path)
	require.Equal(t, "Pools[0].Ranges[1]", finding.Other)
}

func TestAdvertisementSelectsService(t *testing.T) {
	red := pool.Pool{Name: "red"}
	ad := pool.Advertisement{Pools: []string{"red"}, ServiceSelectors: []pool.Selector{label("zone", "inside"), label("zone", "lab")}}
	require.True(t, ad.SelectsService(red, map[string]string{"zone": "inside"}))
	require.True(t, ad.SelectsService(red, map[string]string{"zone": "lab"}))
	require.False(t, ad.SelectsService(red, map[string]string{"zone": "outside"}))
	require.False(t, ad.SelectsService(red, nil))
	require.False(t, ad.SelectsService(pool.Pool{Name: "blue"}, map[string]string{"zone": "inside"}))
	require.False(t, ad.SelectsPool(red), "not for all services")

	ad.ServiceSelectors = nil
	require.True(t, ad.SelectsService(red, nil))
	require.True(t, ad.SelectsPool(red))
}

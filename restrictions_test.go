package l2vip_test

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/l2vip/l2vip"
	"github.com/l2vip/l2vip/announce"
	"github.com/l2vip/l2vip/election"
	"github.com/l2vip/l2vip/pool"
)

func zone(name string) pool.Selector {
	return pool.Selector{MatchLabels: map[string]string{"zone": name}}
}

// inZone returns a service with an explicit address, and a label.
func inZone(a netip.Addr, name string) l2vip.Service {
	return l2vip.Service{Addresses: []netip.Addr{a}, Labels: map[string]string{"zone": name}}
}

// Two advertisements of one pool, each for other services, are not every service on
// both cards.
func TestAdvertisementsForSomeServices(t *testing.T) {
	bubble(t, func(t *testing.T) {
		inside, outside, both, neither := vip, addr("192.168.122.101"), addr("192.168.122.102"), addr("192.168.122.103")
		c := newClusterOf(t, layout{networks: 2}, 1, func(_ int, config *l2vip.Config) {
			config.Interfaces = nil
			config.Pools = []pool.Pool{{Name: "front", Ranges: []pool.Range{pool.MustParseRange("192.168.122.0/24")}}}
			config.Advertisements = []pool.Advertisement{
				{Name: "inside", Interfaces: []string{"eth1"}, ServiceSelectors: []pool.Selector{zone("inside"), zone("both")}},
				{Name: "outside", Interfaces: []string{"eth0"}, ServiceSelectors: []pool.Selector{zone("outside"), zone("both")}},
			}
			config.Services = []l2vip.Service{inZone(inside, "inside"), inZone(outside, "outside"), inZone(both, "both"), {Addresses: []netip.Addr{neither}}}
		})
		got := map[netip.Addr][]string{}
		for _, a := range c.nodes[0].station.assignments {
			require.Equal(t, announce.Answer, a.Mode, a.Addr)
			got[a.Addr] = a.Interfaces
		}
		require.Equal(t, map[netip.Addr][]string{inside: {"eth1"}, outside: {"eth0"}, both: {"eth0", "eth1"}}, got)
		s := c.nodes[0].Status()
		require.Equal(t, neither, s.Addresses[3].Addr)
		require.Equal(t, election.NotSelected, s.Addresses[3].Reason)
	})
}

func TestServicesThatPoolsAdmit(t *testing.T) {
	config := l2vip.Config{
		Membership: l2vip.Alone,
		Pools: []pool.Pool{
			{Name: "common", Ranges: []pool.Range{pool.MustParseRange("192.0.2.0/28")}},
			{Name: "prod", Ranges: []pool.Range{pool.MustParseRange("192.0.2.16/28")}, Namespaces: []string{"prod"}},
			{Name: "web", Ranges: []pool.Range{pool.MustParseRange("192.0.2.32/28")}, ServiceSelectors: []pool.Selector{zone("web")}, Priority: 1},
		},
		Advertisements: []pool.Advertisement{{}},
		Services: []l2vip.Service{
			{Name: "plain", Count: 1},
			{Name: "prod", Count: 1, Namespace: "prod"},
			{Name: "web", Count: 1, Namespace: "prod", Labels: map[string]string{"zone": "web"}},
		},
	}
	r, err := l2vip.New(config)
	require.NoError(t, err)
	require.Equal(t, []netip.Addr{addr("192.0.2.1")}, r.Addresses("plain"))
	require.Equal(t, []netip.Addr{addr("192.0.2.17")}, r.Addresses("prod"))
	require.Equal(t, []netip.Addr{addr("192.0.2.33")}, r.Addresses("web"))

	config.Services = []l2vip.Service{
		{Name: "test", Pool: "prod", Namespace: "test"},
		{Name: "bad", Count: 1, Namespace: "Prod", Labels: map[string]string{"zone": "not ok"}},
	}
	_, err = l2vip.New(config)
	require.ErrorContains(t, err, `Services[0].Pool: service "test" may not have addresses of pool "prod", which is for services in one of the namespaces ["prod"]`)
	require.ErrorContains(t, err, `Services[1].Namespace: namespace "Prod" is not a DNS label`)
	require.ErrorContains(t, err, `Services[1].Labels["zone"]: label value "not ok"`)
}

// What decides which service gets which address, and what is announced, is in the digest, even
// where it decides nothing yet.
func TestRestrictionsThatDifferAreReported(t *testing.T) {
	for name, change := range map[string]func(*l2vip.Config){
		"a service's labels":     func(c *l2vip.Config) { c.Services[0].Labels = map[string]string{"zone": "b"} },
		"a service's namespace":  func(c *l2vip.Config) { c.Services[0].Namespace = "prod" },
		"a pool's priority":      func(c *l2vip.Config) { c.Pools[0].Priority = 5 },
		"a pool's namespaces":    func(c *l2vip.Config) { c.Pools[1].Namespaces = []string{"prod"} },
		"a pool's selectors":     func(c *l2vip.Config) { c.Pools[1].ServiceSelectors = []pool.Selector{zone("a")} },
		"an advertisement's":     func(c *l2vip.Config) { c.Advertisements[0].ServiceSelectors = []pool.Selector{zone("a")} },
		"nothing":                func(*l2vip.Config) {},
		"the order of the pools": func(c *l2vip.Config) { c.Pools[0], c.Pools[1] = c.Pools[1], c.Pools[0] },
		"the order of services":  func(c *l2vip.Config) { c.Services[0], c.Services[1] = c.Services[1], c.Services[0] },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				c := newCluster(t, 2, func(i int, config *l2vip.Config) {
					config.Pools = []pool.Pool{
						{Name: "front", Ranges: []pool.Range{pool.MustParseRange("192.168.122.0/24")}},
						{Name: "empty", Ranges: []pool.Range{pool.MustParseRange("192.168.123.0/24")}, Priority: 9},
					}
					config.Advertisements = []pool.Advertisement{{}}
					config.Services = []l2vip.Service{inZone(vip, "a"), inZone(addr("192.168.122.101"), "a")}
					if i == 1 {
						change(config)
					}
				})
				c.settle()
				s := c.nodes[0].Status()
				differs := name != "nothing" && name != "the order of the pools" && name != "the order of services"
				require.Equal(t, differs, s.Members[1].ConfigDiffers)
			})
		})
	}
}

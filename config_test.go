package l2vip_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/l2vip/l2vip"
	"github.com/l2vip/l2vip/election"
	"github.com/l2vip/l2vip/health"
	"github.com/l2vip/l2vip/pool"
)

func TestNewReturnsAllThatIsWrong(t *testing.T) {
	_, err := l2vip.New(l2vip.Config{
		Name:       strings.Repeat("n", 129),
		Labels:     map[string]string{"-": "x"},
		Interfaces: []string{"eth0", "eth0", "an-interface-name-too-long", "e*0"},
		Segment:    l2vip.NoSegment, MinMembers: -1, Failback: -1, StartHold: -1, HandoverTimeout: -1, Lease: -1, Bind: 9, Strangers: 9,
		Pools: []pool.Pool{
			{Name: "a", Ranges: []pool.Range{pool.MustParseRange("192.0.2.0/24")}},
			{Name: "b", Ranges: []pool.Range{pool.MustParseRange("192.0.2.7")}},
		},
		Advertisements: []pool.Advertisement{{Pools: []string{"c"}, Interfaces: []string{"", "*0"}}},
		Services: []l2vip.Service{
			{},
			{Name: "far", Addresses: []netip.Addr{addr("203.0.113.1")}},
			{Name: "sick", Pool: "a", Health: health.HTTP{URL: "ftp://x"}},
		},
	})
	paths := map[string]bool{}
	var walk func(error)
	walk = func(err error) {
		if joined, ok := err.(interface{ Unwrap() []error }); ok {
			for _, e := range joined.Unwrap() {
				walk(e)
			}
			return
		}
		var finding *l2vip.ConfigError
		require.ErrorAs(t, err, &finding)
		paths[finding.Path] = true
	}
	walk(err)
	for _, path := range []string{
		"Name", "Interfaces[1]", "Interfaces[2]", "Interfaces[3]", "Membership", "MinMembers", "Failback", "StartHold",
		"HandoverTimeout", "Lease", "Bind", "Strangers", "Pools[1].Ranges[0]", "Advertisements[0].Pools[0]",
		"Advertisements[0].Interfaces[0]", "Advertisements[0].Interfaces[1]", "Services[0].Name", "Services[1].Addresses[0]", "Services[2].Health.URL",
	} {
		require.True(t, paths[path], "a finding at %s; got:\n%v", path, err)
	}
}

func TestPoolsNeedAnAdvertisement(t *testing.T) {
	_, err := l2vip.New(l2vip.Config{
		Membership: l2vip.Alone,
		Pools:      []pool.Pool{{Name: "a", Ranges: []pool.Range{pool.MustParseRange("192.0.2.0/24")}}},
		Services:   []l2vip.Service{{Name: "web", Pool: "a"}},
	})
	require.ErrorContains(t, err, "Advertisements: with pools an advertisement is required")
}

func TestLeaseIsAsLongAsTheLoopMayStandStill(t *testing.T) {
	_, err := l2vip.New(l2vip.Config{Lease: 1001 * time.Millisecond})
	require.ErrorContains(t, err, "Lease: 1.001s is longer than the 1s within which the loop must turn")
	_, err = l2vip.New(l2vip.Config{Lease: time.Second})
	require.NoError(t, err)
}

func TestMembersAreOnTheSegmentOrElsewhere(t *testing.T) {
	for name, c := range map[string]l2vip.Config{
		"no segment":        {Segment: l2vip.NoSegment},
		"another announcer": {Announcer: new(station)},
	} {
		_, err := l2vip.New(c)
		require.ErrorContains(t, err, "Membership: required where there is no segment", name)
		c.Membership = l2vip.Alone
		_, err = l2vip.New(c)
		require.NoError(t, err, name)
	}
}

func TestSecrets(t *testing.T) {
	for _, tt := range []struct {
		config l2vip.Config
		want   string
	}{
		{l2vip.Config{Key: make([]byte, 15)}, "Key: 15 bytes long, fewer than 16"},
		{l2vip.Config{Key: make([]byte, 16), Passphrase: "x"}, "Passphrase: set together with Key"},
		{l2vip.Config{Cluster: strings.Repeat("c", 129)}, "Cluster: "},
		{l2vip.Config{Cluster: "\xff"}, "Cluster: "},
	} {
		_, err := l2vip.New(tt.config)
		require.ErrorContains(t, err, tt.want)
	}
	for _, c := range []l2vip.Config{{}, {Key: make([]byte, 16)}, {Passphrase: "x"}} {
		_, err := l2vip.New(c)
		require.NoError(t, err)
	}
}

func TestAddressesAreKnownAfterNew(t *testing.T) {
	r, err := l2vip.New(l2vip.Config{
		Membership:     l2vip.Alone,
		Pools:          []pool.Pool{{Name: "mypool", Ranges: []pool.Range{pool.MustParseRange("192.168.122.100/24")}}},
		Advertisements: []pool.Advertisement{{Pools: []string{"mypool"}}},
		Services:       []l2vip.Service{{Name: "web", Pool: "mypool"}, {Name: "mail", Pool: "mypool", Count: 2}},
	})
	require.NoError(t, err)
	require.Equal(t, []netip.Addr{vip}, r.Addresses("web"))
	require.Len(t, r.Addresses("mail"), 2)
	require.Nil(t, r.Addresses("nobody"))

	err = r.SetServices([]l2vip.Service{{Name: "mail", Pool: "mypool", Count: 2}})
	var moved *pool.MovedError
	require.ErrorAs(t, err, &moved)
	require.Len(t, r.Addresses("mail"), 2)
	require.NoError(t, r.SetServices([]l2vip.Service{{Name: "web", Pool: "mypool", Reserved: true}, {Name: "mail", Pool: "mypool", Count: 2}}))
	require.Nil(t, r.Addresses("web"))
}

func TestNodesThatNoAdvertisementSelectsOfferNothing(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := newCluster(t, 2, func(i int, config *l2vip.Config) {
			config.Pools = []pool.Pool{{Name: "mypool", Ranges: []pool.Range{pool.MustParseRange("192.168.122.100/24")}}}
			config.Advertisements = []pool.Advertisement{{
				Pools: []string{"mypool"}, NodeSelectors: []pool.Selector{{MatchLabels: map[string]string{"node-role": "front"}}},
			}}
			if i == 1 {
				config.Labels = map[string]string{"node-role": "front"}
			}
		})
		require.Equal(t, "front-1", c.holder().name)
		require.Equal(t, election.NotSelected, c.nodes[0].Status().Addresses[0].Reason)
		require.Empty(t, c.nodes[0].station.assignments, "it does not even bind the address")
		c.nodes[1].app.Set(health.State{})
		c.settle()
		require.Empty(t, c.lan.answering(vip))
	})
}

// An offer has room for so many addresses; more would be refused by all other members.
func TestTooManyAddressesAreRefused(t *testing.T) {
	config := func(count int) l2vip.Config {
		c := l2vip.Config{Name: "a", Membership: l2vip.Alone, Announcer: noAnnouncer{}}
		addr := netip.MustParseAddr("10.0.0.0")
		for i := range count {
			addr = addr.Next()
			c.Services = append(c.Services, l2vip.Service{Name: fmt.Sprint(i), Addresses: []netip.Addr{addr}})
		}
		return c
	}
	_, err := l2vip.New(config(election.MaxEntries + 1))
	require.ErrorContains(t, err, "Services: more than 16384 addresses")
	r, err := l2vip.New(config(2))
	require.NoError(t, err)
	require.ErrorContains(t, r.SetServices(config(election.MaxEntries+1).Services), "more than 16384 addresses")
}

// noAnnouncer announces nothing.
type noAnnouncer struct{ l2vip.Announcer }

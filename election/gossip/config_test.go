package gossip

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/l2vip/l2vip/election"
)

func TestDefaults(t *testing.T) {
	g, err := New(Config{})
	require.NoError(t, err)
	require.Equal(t, 7946, g.cfg.Port)
	require.Equal(t, 100*time.Millisecond, g.cfg.ProbeInterval)
	require.Equal(t, 400*time.Millisecond, g.cfg.detection())
	require.Equal(t, Stats{}, g.Stats())
}

func TestEverythingThatIsWrongIsReported(t *testing.T) {
	_, err := New(Config{
		Peers:         []string{"front-1", "front-2:http", "", "a:b:c", "192.168.122.11:0", "224.0.0.1", "fe80::1%eth0", "0.0.0.0"},
		Address:       netip.MustParseAddr("fe80::1%eth0"),
		Advertise:     netip.MustParseAddr("0.0.0.0"),
		Port:          70000,
		ProbeInterval: -1,
	})
	var finding *ConfigError
	require.ErrorAs(t, err, &finding)
	require.Equal(t, strings.TrimSpace(`
Port: 70000 is not between 1 and 65535
Address: fe80::1%eth0 has a zone, which means nothing to other members
Advertise: no member is reached at 0.0.0.0
ProbeInterval: -1ns is negative
Peers[1]: "front-2:http": port "http" is not between 1 and 65535
Peers[2]: "" names no host
Peers[3]: "a:b:c" is neither a host nor host:port
Peers[4]: "192.168.122.11:0": port "0" is not between 1 and 65535
Peers[5]: 224.0.0.1 is a multicast address
Peers[6]: fe80::1%eth0 has a zone, which means nothing to other members
Peers[7]: no member is reached at 0.0.0.0
`), err.Error())
}

func TestIdentity(t *testing.T) {
	cluster, err := identity(&election.Local{Name: "a"})
	require.NoError(t, err)
	require.Equal(t, "l2vip", cluster)

	cluster, err = identity(&election.Local{Name: strings.Repeat("x", 128), Cluster: strings.Repeat("x", 128)})
	require.NoError(t, err)
	require.Len(t, cluster, 128)

	for want, local := range map[string]election.Local{
		"empty name":                               {},
		"name of 129 bytes, more than 128":         {Name: strings.Repeat("x", 129)},
		"cluster name of 129 bytes, more than 128": {Name: "a", Cluster: strings.Repeat("x", 129)},
		`cluster name "\xff" is not UTF-8`:         {Name: "a", Cluster: "\xff"},
	} {
		_, err := identity(&local)
		require.EqualError(t, err, want)
	}
}

func TestPeers(t *testing.T) {
	cfg := Config{Port: 4000, Peers: []string{
		"192.168.122.11", "192.168.122.11:4000", "192.168.122.12:5000", "2001:db8::1", "[2001:db8::2]", "[2001:db8::3]:6000",
		"::ffff:192.168.122.11", "front-1", "front-1:4000", "front-2.example.com:7000",
	}}
	peers, err := cfg.settle()
	require.NoError(t, err)
	var got []string
	for _, p := range peers {
		if p.addr.IsValid() {
			got = append(got, p.addr.String())
		} else {
			got = append(got, p.host, p.text)
		}
	}
	require.Equal(t, []string{
		"192.168.122.11:4000", "192.168.122.12:5000", "[2001:db8::1]:4000", "[2001:db8::2]:4000", "[2001:db8::3]:6000",
		"front-1", "front-1", "front-2.example.com", "front-2.example.com:7000",
	}, got)
}

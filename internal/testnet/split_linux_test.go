package testnet_test

import (
	"net/netip"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/l2vip/l2vip/internal/testnet"
)

// four returns nodes of one lab, and what sends from each.
func four(t *testing.T) (lab *testnet.Lab, nodes []*testnet.Node, stations []multicaster) {
	t.Helper()
	lab = newLab(t)
	for _, name := range []string{"a", "b", "c", "d"} {
		n := addNode(t, lab, name)
		nodes = append(nodes, n)
		stations = append(stations, newMulticaster(t, n))
	}
	return lab, nodes, stations
}

// sides requires that stations reach those with the same letter at the first
// attempt, and no others.
func sides(t *testing.T, stations []multicaster, letters string) {
	t.Helper()
	ears := make([]ear, len(stations))
	for i, at := range stations {
		ears[i] = openEar(t, at.node)
		defer ears[i].Close()
	}
	for i, from := range stations {
		for j, to := range stations {
			switch {
			case i == j:
			case letters[i] == letters[j]:
				ears[j].hears(t, from.say(t, allNodes), nil)
			default:
				mark := from.say(t, allNodes)
				require.False(t, ears[j].hears(t, to.say(t, allNodes), mark), "%d reaches %d", i, j)
			}
		}
	}
}

func TestSplitAndJoin(t *testing.T) {
	lab, nodes, stations := four(t)
	b, c, d := nodes[1], nodes[2], nodes[3]
	lost := carrierLosses(t, nodes...)

	require.NoError(t, lab.Join())
	sides(t, stations, "xxxx")
	start := time.Now()
	require.NoError(t, lab.Split(c, d))
	t.Logf("split after %v", time.Since(start))
	require.NoError(t, lab.Split(c, d))
	sides(t, stations, "xxyy")
	require.NoError(t, lab.Split(b, c))
	sides(t, stations, "xyyx")
	start = time.Now()
	require.NoError(t, lab.Join())
	t.Logf("joined after %v", time.Since(start))
	require.NoError(t, lab.Join())
	sides(t, stations, "xxxx")
	require.NoError(t, lab.Split(nodes...))
	sides(t, stations, "xxxx")
	sides(t, append(stations, newMulticaster(t, addNode(t, lab, "e"))), "xxxxy")
	require.Zero(t, lost())
}

func TestSplitWhileUnpluggedAndBlocked(t *testing.T) {
	lab, nodes, stations := four(t)
	b, c, d := nodes[1], nodes[2], nodes[3]
	require.NoError(t, b.Unplug())
	require.NoError(t, c.Block())
	require.NoError(t, lab.Split(b, c, d))
	require.Equal(t, netlink.LinkOperState(netlink.OperUp), operState(t, c))
	require.NotEqual(t, netlink.LinkOperState(netlink.OperUp), operState(t, b))
	sides(t, stations[2:], "yz")
	require.NoError(t, b.Plug())
	sides(t, stations, "xyzy")
	require.NoError(t, c.Unblock())
	sides(t, stations, "xyyy")

	require.NoError(t, c.Block())
	require.NoError(t, c.Unplug())
	require.NoError(t, d.Unplug())
	require.NoError(t, d.Block())
	require.NoError(t, lab.Join())
	require.NoError(t, c.Plug())
	require.NoError(t, d.Plug())
	sides(t, stations, "xxyz")
	require.NoError(t, lab.Split(d))
	require.NoError(t, c.Unblock())
	require.NoError(t, d.Unblock())
	sides(t, stations, "xxxy")
}

func TestSplitRefuses(t *testing.T) {
	lab, _, stations := four(t)
	stranger := addNode(t, newLab(t), "a")
	require.ErrorContains(t, lab.Split(stranger), "node a is of another lab")
	sides(t, stations, "xxxx")
	require.NoError(t, lab.Close())
	require.ErrorIs(t, lab.Split(), os.ErrClosed)
}

// carrierLosses watches the links of nodes. What it returns counts how often a
// carrier was reported lost so far; it gives the links an alias to know that it
// has seen all.
func carrierLosses(t *testing.T, nodes ...*testnet.Node) (lost func() int) {
	t.Helper()
	watched := make([]chan netlink.LinkUpdate, len(nodes))
	for i, n := range nodes {
		updates, done := make(chan netlink.LinkUpdate, 1000), make(chan struct{})
		require.NoError(t, n.Do(func() error { return netlink.LinkSubscribe(updates, done) }))
		t.Cleanup(func() {
			close(done)
			for range updates { // closed when the subscription has ended
			}
		})
		watched[i] = updates
	}
	return func() (lost int) {
		for i, n := range nodes {
			const end = "the end"
			require.NoError(t, n.Do(func() error {
				link, err := netlink.LinkByName(n.Interface)
				if err != nil {
					return err
				}
				return netlink.LinkSetAlias(link, end)
			}))
			timeout := time.After(soon)
			for seen := false; !seen; {
				select {
				case u := <-watched[i]:
					seen = u.Attrs().Alias == end
					if u.Attrs().Name == n.Interface && u.Flags&unix.IFF_LOWER_UP == 0 {
						lost++
					}
				case <-timeout:
					require.Fail(t, "no change of the link reported")
				}
			}
		}
		return lost
	}
}

func TestAddInterface(t *testing.T) {
	lab := newLab(t)
	a, b := addNode(t, lab, "a", "192.0.2.1/24"), addNode(t, lab, "b", "192.0.2.2/24")
	a1, err := a.AddInterface("eth1", netip.MustParsePrefix("198.51.100.1/24"))
	require.NoError(t, err)
	b1, err := b.AddInterface("eth1", netip.MustParsePrefix("198.51.100.2/24"), netip.MustParsePrefix("2001:db8::2/64"))
	require.NoError(t, err)
	require.Equal(t, "a", a1.Name)
	require.Equal(t, "eth1", a1.Interface)
	require.Equal(t, "02:00:00:00:00:03", a1.HardwareAddr.String())
	require.NotEqual(t, a.Index, a1.Index)
	require.True(t, a1.LinkLocal.IsLinkLocalUnicast())
	require.NotEqual(t, a.LinkLocal, a1.LinkLocal)
	require.Len(t, b1.Addrs, 2)

	pa, pb := nodePacket(t, a, a1.Addrs[0]), nodePacket(t, b1, b1.Addrs[0]) // whichever of the two
	require.True(t, passes(t, pa, pb, soon))

	eth0 := []multicaster{newMulticaster(t, a), newMulticaster(t, b)}
	eth1 := []multicaster{newMulticaster(t, a1), newMulticaster(t, b1)}
	all := slices.Concat(eth0, eth1)
	sides(t, all, "xxxx")
	require.NoError(t, a1.Unplug())
	require.Equal(t, netlink.LinkOperState(netlink.OperUp), operState(t, a))
	require.NotEqual(t, netlink.LinkOperState(netlink.OperUp), operState(t, a1))
	sides(t, eth0, "xx")
	require.NoError(t, a1.Plug())
	require.NoError(t, a.Block())
	sides(t, all, "xyyy")
	require.NoError(t, a.Unblock())
	require.NoError(t, lab.Split(a1, b1))
	sides(t, all, "xxyy")
	require.NoError(t, lab.Split(a1))
	sides(t, all, "xxyx")
	require.NoError(t, lab.Join())
	sides(t, all, "xxxx")

	for _, taken := range []string{"eth0", "eth1", "lo"} {
		_, err = a.AddInterface(taken)
		require.ErrorIs(t, err, os.ErrExist, taken)
	}
	_, err = a.AddInterface("no/name")
	require.Error(t, err)
	_, err = a.AddInterface("eth2")
	require.NoError(t, err)
	require.NoError(t, lab.Close())
	_, err = a.AddInterface("eth3")
	require.ErrorIs(t, err, os.ErrClosed)
}

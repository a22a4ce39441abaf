package neighbor

import (
	"net"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"

	"github.com/l2vip/l2vip/internal/testnet"
)

// Stations that are likely to be there come before those that were not found the
// last time, and not always in the same order.
func TestLikeliestNeighborsFirst(t *testing.T) {
	var all []netlink.Neigh
	for i := range 30 {
		all = append(all, netlink.Neigh{LinkIndex: i, State: []int{netlink.NUD_FAILED, netlink.NUD_STALE, netlink.NUD_REACHABLE}[i/10]})
	}
	first := make(map[int]bool)
	for range 1000 {
		likeliest(all)
		first[all[0].LinkIndex] = true
		for i, state := range []int{netlink.NUD_REACHABLE, netlink.NUD_STALE, netlink.NUD_FAILED} {
			for j := range 10 {
				require.Equal(t, state, all[10*i+j].State)
			}
		}
	}
	require.Len(t, first, 10)
}

func TestWireKnown(t *testing.T) {
	testnet.Require(t)
	lab, err := testnet.NewLab()
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, lab.Close()) })
	node, err := lab.AddNode("node", netip.MustParsePrefix("192.0.2.1/24"), netip.MustParsePrefix("2001:db8::1/64"))
	require.NoError(t, err)

	stale := Station{netip.MustParseAddr("192.0.2.2"), [6]byte{2, 0, 0, 0, 0, 2}}
	reached := Station{netip.MustParseAddr("192.0.2.3"), [6]byte{2, 0, 0, 0, 0, 3}}
	sixth := Station{netip.MustParseAddr("2001:db8::4"), [6]byte{2, 0, 0, 0, 0, 4}}
	group := Station{netip.MustParseAddr("ff02::5"), [6]byte{0x33, 0x33, 0, 0, 0, 5}}
	require.NoError(t, node.Do(func() error {
		for s, state := range map[Station]int{
			stale: netlink.NUD_STALE, reached: netlink.NUD_REACHABLE, sixth: netlink.NUD_STALE, group: netlink.NUD_PERMANENT,
		} {
			err := netlink.NeighAdd(&netlink.Neigh{
				LinkIndex: node.Index, State: state, IP: s.Addr.AsSlice(), HardwareAddr: net.HardwareAddr(s.HardwareAddr[:]),
			})
			if err != nil {
				return err
			}
		}
		known, err := Known(node.Index, netlink.FAMILY_V4)
		require.NoError(t, err)
		require.Equal(t, []Station{reached, stale}, known)
		known, err = Known(node.Index, netlink.FAMILY_V6)
		require.NoError(t, err)
		require.Equal(t, []Station{sixth}, known)
		known, err = Known(node.Index, netlink.FAMILY_ALL)
		require.NoError(t, err)
		require.ElementsMatch(t, []Station{reached, stale, sixth}, known)
		require.Equal(t, reached, known[0])
		known, err = Known(1, netlink.FAMILY_ALL)
		require.NoError(t, err)
		require.Empty(t, known, "of the loopback interface")
		return nil
	}))
}

package neighbor

import (
	"math/rand/v2"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
)

// Station is another station on the link.
type Station struct {
	Addr         netip.Addr
	HardwareAddr [6]byte // zero if the kernel does not know it
}

// Known returns the stations that the kernel knows on the link, of one family or
// of [netlink.FAMILY_ALL], the likeliest to be there first. With an error it may
// still return some.
func Known(link, family int) ([]Station, error) {
	list, err := netlink.NeighList(link, family)
	likeliest(list)
	var known []Station
	for i := range list {
		addr, ok := netip.AddrFromSlice(list[i].IP)
		if addr = addr.Unmap(); ok && !addr.IsMulticast() {
			s := Station{Addr: addr}
			copy(s.HardwareAddr[:], list[i].HardwareAddr)
			known = append(known, s)
		}
	}
	return known, err
}

// likeliest sorts neighbors so that those come first that are likeliest to be
// there: many of them may be long gone. Among equals chance decides, so that not
// always the same ones are asked.
func likeliest(neighbors []netlink.Neigh) {
	rand.Shuffle(len(neighbors), func(i, j int) { neighbors[i], neighbors[j] = neighbors[j], neighbors[i] })
	doubt := func(n *netlink.Neigh) int {
		switch n.State {
		case netlink.NUD_REACHABLE, netlink.NUD_DELAY, netlink.NUD_PROBE:
			return 0
		case netlink.NUD_FAILED, netlink.NUD_INCOMPLETE, netlink.NUD_NONE:
			return 2
		}
		return 1
	}
	slices.SortStableFunc(neighbors, func(a, b netlink.Neigh) int { return doubt(&a) - doubt(&b) })
}

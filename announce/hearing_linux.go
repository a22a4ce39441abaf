package announce

import (
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"github.com/mdlayher/arp"
	"github.com/mdlayher/ndp"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/l2vip/l2vip/internal/clock"
	"github.com/l2vip/l2vip/internal/neighbor"
)

// hearing is what is known of whether an interface hears other stations: one that
// does not is cut off, or alone. The responders note what they hear; all else
// belongs to Run's goroutine. Times are those of internal/clock.
type hearing struct {
	heard  atomic.Int64
	silent atomic.Bool
	// stations are those that were heard lately, the newest first; replaced, never
	// changed. Two responders that replace them at once may lose one.
	stations atomic.Pointer[[]Station]
	metAt    atomic.Int64 // when they were last replaced

	needed bool          // something is answered on the interface
	since  time.Duration // since when it is
	fresh  time.Duration // when an address was last claimed
	asked  time.Duration // when neighbors were last asked
}

const (
	// An interface that has heard nobody for quietAfter, or for quietFresh
	// when an address was just claimed, asks its neighbors; if none answers
	// within askWait, it is silent, and asks on at that pace.
	quietAfter = time.Second
	quietFresh = 250 * time.Millisecond
	askWait    = 250 * time.Millisecond
	// askMost is how many neighbors are asked at once.
	askMost = 4
	// heardEvery is how exactly it is known when another station was heard.
	heardEvery = 5 * time.Millisecond
)

// note notes that another station was heard, and reports whether that is news.
func (h *hearing) note(now time.Duration) bool {
	if now-time.Duration(h.heard.Load()) > heardEvery {
		h.heard.Store(int64(now))
	}
	return h.silent.Load()
}

// meet remembers a station, unless it is known.
func (h *hearing) meet(s Station, now time.Duration) {
	known := h.recent()
	if slices.Contains(known, s) || now-time.Duration(h.metAt.Load()) < heardEvery {
		return
	}
	h.metAt.Store(int64(now))
	fresh := append([]Station{s}, known[:min(len(known), maxStations-1)]...)
	h.stations.Store(&fresh)
}

// recent returns the stations that were heard lately.
func (h *hearing) recent() []Station {
	if all := h.stations.Load(); all != nil {
		return *all
	}
	return nil
}

// maxStations bounds the stations that are remembered on an interface.
const maxStations = 8

// need says whether something is answered on the interface.
func (h *hearing) need(needed, claimed bool) {
	now := clock.Now()
	if needed && !h.needed {
		h.since = now
	}
	if claimed {
		h.fresh = now
	}
	h.needed = needed
}

// listen concludes which interfaces are silent, asks neighbors where that is
// about to be, and returns when to look again; zero for never.
func (e *engine) listen() (next time.Time) {
	now := clock.Now()
	for index, h := range e.hearings {
		silent, wait := h.silent.Load(), time.Duration(0)
		heard := max(time.Duration(h.heard.Load()), h.since)
		limit := quietAfter
		if now-h.fresh < quietAfter {
			limit = quietFresh
		}
		switch {
		case !h.needed:
			silent = false
		case now-heard < limit:
			silent, wait = false, heard+limit-now
		case h.asked <= heard, !silent && now-h.asked > 2*askWait:
			// In the second case this process did not run in time: what
			// answers have come may wait to be read still.
			h.asked, wait = now, askWait
			e.ask(index, false)
		case now-h.asked < askWait:
			wait = h.asked + askWait - now
		default:
			silent, wait = true, askWait
			h.asked = now
			e.ask(index, true)
		}
		if silent != h.silent.Swap(silent) {
			e.changes = true
		}
		if at := time.Now().Add(wait); wait > 0 && (next.IsZero() || at.Before(next)) {
			next = at
		}
	}
	return next
}

// ask asks a few of the stations that the kernel knows on the interface where they
// are, so that they are heard if they can be. Members of a cluster are among them.
// On an interface that is silent the question is as the kernel's own would be. When
// a network heals that matters: kernels that have asked in vain ask again after a
// second only, and until then members can't meet. From such a question the kernel
// there learns where this host is, and this one's from the answer.
func (e *engine) ask(index int, silent bool) {
	for _, p := range e.ports {
		if p.link.index != index {
			continue
		}
		family := netlink.FAMILY_V4
		if p.v6 {
			family = netlink.FAMILY_V6
		}
		known, err := neighbor.Known(index, family)
		if err != nil {
			e.logger.Debug("cannot list neighbors", "interface", p.link.name, "error", err)
		}
		var from []netip.Prefix
		if silent {
			from = sources(index, family)
		}
		asked := 0
		for _, station := range known {
			if e.claims[station.Addr] != nil || asked == askMost {
				continue
			}
			if frame, err := inquiry(station.Addr, p.link.hw, from); err == nil && p.write(frame) {
				asked++
			}
		}
	}
}

// sources returns the addresses of the interface that this host may speak from,
// with their subnets. What is a subnet of its own may be one that others hold.
func sources(index, family int) (from []netip.Prefix) {
	addrs, _ := netlink.AddrList(&netlink.Dummy{LinkAttrs: netlink.LinkAttrs{Index: index}}, family)
	for i := range addrs {
		addr, ok := netip.AddrFromSlice(addrs[i].IP)
		bits, _ := addrs[i].Mask.Size()
		prefix := netip.PrefixFrom(addr.Unmap(), bits)
		if ok && prefix.IsValid() && !prefix.IsSingleIP() && addrs[i].Flags&(unix.IFA_F_TENTATIVE|unix.IFA_F_DADFAILED) == 0 {
			from = append(from, prefix)
		}
	}
	return from
}

// inquiry returns a frame that asks all stations where addr is, from the address in
// its subnet. Without one it is a probe, from which nobody learns anything.
func inquiry(addr netip.Addr, own hardwareAddr, from []netip.Prefix) ([]byte, error) {
	for _, source := range from {
		switch {
		case !source.Contains(addr):
		case addr.Is4():
			return neighbor.ARP(arp.OperationRequest, own, source.Addr(), hardwareAddr{}, addr)
		default:
			return neighbor.NDP(&ndp.NeighborSolicitation{
				TargetAddress: addr,
				Options:       []ndp.Option{&ndp.LinkLayerAddress{Direction: ndp.Source, Addr: own[:]}},
			}, own, source.Addr(), groupOf(addr))
		}
	}
	return neighbor.Probe(addr, own)
}

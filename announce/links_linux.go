package announce

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// link is an interface as it was last listed.
type link struct {
	name     string
	index    int
	hw       hardwareAddr
	prefixes []netip.Prefix
	down     bool
	problem  string // why the interface can't be used; empty if it can
}

// carries reports whether the assignment belongs on the interface.
func (l *link) carries(a *Assignment) bool {
	if len(a.Interfaces) > 0 {
		return slices.Contains(a.Interfaces, l.name)
	}
	return slices.ContainsFunc(l.prefixes, func(p netip.Prefix) bool { return p.Contains(a.Addr) })
}

// same reports whether a socket that was opened for l serves m as well.
func (l *link) same(m *link) bool {
	return l.index == m.index && l.hw == m.hw && l.name == m.name
}

// fact returns the link as it is reported.
func (l *link) fact() Link {
	return Link{Name: l.name, Index: l.index, HardwareAddr: l.hw[:], Prefixes: l.prefixes, Problem: l.problem}
}

// listLinks returns the Ethernet interfaces by name.
func listLinks() ([]link, error) {
	listed, err := retryDump(netlink.LinkList)
	if err != nil {
		return nil, fmt.Errorf("list interfaces: %w", err)
	}
	addrs, err := retryDump(func() ([]netlink.Addr, error) { return netlink.AddrList(nil, netlink.FAMILY_V4) })
	if err != nil {
		return nil, fmt.Errorf("list addresses: %w", err)
	}
	prefixes := make(map[int][]netip.Prefix)
	for _, a := range addrs {
		if p, ok := prefixOf(a); ok && p.Bits() < 32 {
			prefixes[a.LinkIndex] = append(prefixes[a.LinkIndex], p)
		}
	}
	var links []link
	for _, l := range listed {
		at := l.Attrs()
		if at.EncapType != "ether" || len(at.HardwareAddr) != len(hardwareAddr{}) {
			continue
		}
		state := link{name: at.Name, index: at.Index, hw: hardwareAddr(at.HardwareAddr), prefixes: prefixes[at.Index]}
		switch {
		case at.RawFlags&unix.IFF_NOARP != 0:
			state.problem = "no ARP"
		case at.RawFlags&unix.IFF_UP == 0:
			state.problem, state.down = "down", true
		case at.RawFlags&unix.IFF_RUNNING == 0:
			state.problem, state.down = "no carrier", true
		}
		links = append(links, state)
	}
	slices.SortFunc(links, func(a, b link) int { return strings.Compare(a.name, b.name) })
	return links, nil
}

// retryDump calls list until it returns a listing that nothing changed under.
func retryDump[T any](list func() ([]T, error)) ([]T, error) {
	for range 10 {
		if got, err := list(); !errors.Is(err, netlink.ErrDumpInterrupted) {
			return got, err
		}
	}
	return list()
}

// prefixOf returns the IPv4 address with the length of its subnet.
func prefixOf(a netlink.Addr) (netip.Prefix, bool) {
	if a.IPNet == nil {
		return netip.Prefix{}, false
	}
	addr, ok := netip.AddrFromSlice(a.IP.To4())
	bits, _ := a.Mask.Size()
	return netip.PrefixFrom(addr, bits), ok
}

// watcher is a subscription to changes of interfaces and addresses. What a change
// says is not used, only that there was one: the listing that follows is whole.
type watcher struct {
	links chan netlink.LinkUpdate
	addrs chan netlink.AddrUpdate
	done  chan struct{}
}

// watchLinks subscribes.
func watchLinks() (*watcher, error) {
	w := &watcher{
		links: make(chan netlink.LinkUpdate, 64),
		addrs: make(chan netlink.AddrUpdate, 64),
		done:  make(chan struct{}),
	}
	if err := netlink.LinkSubscribeWithOptions(w.links, w.done, netlink.LinkSubscribeOptions{}); err != nil {
		close(w.done)
		return nil, fmt.Errorf("watch interfaces: %w", err)
	}
	if err := netlink.AddrSubscribeWithOptions(w.addrs, w.done, netlink.AddrSubscribeOptions{}); err != nil {
		close(w.done)
		drain(w.links)
		return nil, fmt.Errorf("watch addresses: %w", err)
	}
	return w, nil
}

// close ends the subscription and joins its readers.
func (w *watcher) close() {
	close(w.done)
	drain(w.links)
	drain(w.addrs)
}

// drain reads from the channel until it is closed.
func drain[T any](ch <-chan T) {
	for range ch { //nolint:revive // nothing is left to do with them
	}
}

// flush takes what has already been received, so that one listing serves for a
// burst of changes. It reports false if the subscription is lost.
func (w *watcher) flush() bool {
	for {
		select {
		case _, ok := <-w.links:
			if !ok {
				return false
			}
		case _, ok := <-w.addrs:
			if !ok {
				return false
			}
		default:
			return true
		}
	}
}

package announce

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
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

// inventory is one listing of interfaces and addresses.
type inventory struct {
	links []link // by name
	hosts map[place]host
}

// place is an IPv4 address with a prefix of 32 bits on an interface.
type place struct {
	index int
	addr  netip.Addr
}

// host is what else is known of such an address.
type host struct {
	label   string
	forever bool // the kernel does not let it expire
}

// takeInventory lists the interfaces and the IPv4 addresses.
func takeInventory() (inventory, error) {
	listed, err := retryDump(netlink.LinkList)
	if err != nil {
		return inventory{}, fmt.Errorf("list interfaces: %w", err)
	}
	addrs, err := retryDump(func() ([]netlink.Addr, error) { return netlink.AddrList(nil, netlink.FAMILY_V4) })
	if err != nil {
		return inventory{}, fmt.Errorf("list addresses: %w", err)
	}
	inv := inventory{links: make([]link, 0, len(listed)), hosts: make(map[place]host)}
	prefixes := make(map[int][]netip.Prefix)
	for i := range addrs {
		a := &addrs[i]
		p, ok := prefixOf(a)
		switch {
		case !ok:
		case p.Bits() == 32:
			// Here a lifetime in seconds for ever reads as all ones.
			inv.hosts[place{a.LinkIndex, p.Addr()}] = host{a.Label, uint32(a.ValidLft) == math.MaxUint32}
		default:
			prefixes[a.LinkIndex] = append(prefixes[a.LinkIndex], p)
		}
	}
	for _, l := range listed {
		at := l.Attrs()
		state := link{name: at.Name, index: at.Index, prefixes: prefixes[at.Index]}
		switch {
		case at.EncapType != "ether" || len(at.HardwareAddr) != len(hardwareAddr{}):
			state.problem = "no Ethernet"
		case at.RawFlags&unix.IFF_NOARP != 0:
			state.problem = "no ARP"
		case at.RawFlags&unix.IFF_UP == 0:
			state.problem, state.down = "down", true
		case at.RawFlags&unix.IFF_RUNNING == 0:
			state.problem, state.down = "no carrier", true
		}
		if len(at.HardwareAddr) == len(hardwareAddr{}) {
			state.hw = hardwareAddr(at.HardwareAddr)
		}
		inv.links = append(inv.links, state)
	}
	slices.SortFunc(inv.links, func(a, b link) int { return strings.Compare(a.name, b.name) })
	return inv, nil
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
func prefixOf(a *netlink.Addr) (netip.Prefix, bool) {
	if a.IPNet == nil {
		return netip.Prefix{}, false
	}
	addr, ok := netip.AddrFromSlice(a.IP.To4())
	bits, _ := a.Mask.Size()
	return netip.PrefixFrom(addr, bits), ok
}

// watcher is a subscription to changes of interfaces and IPv4 addresses. Of what
// a change says little is used, only that there was one: the listing that follows
// is whole.
type watcher struct {
	socket *nl.NetlinkSocket
	reader sync.WaitGroup

	// links is signalled when an interface or a subnet has changed, or the
	// subscription is lost; hosts when a /32 address was taken away. Both have
	// room for one signal, so the reader never waits and a burst is one signal.
	links, hosts chan struct{}

	mu   sync.Mutex
	down map[int]bool // the interfaces that were down or without carrier
	err  error        // why the subscription is lost
}

// watchBuffer is how many bytes of changes the kernel holds for the reader.
const watchBuffer = 1 << 20

// watchLinks subscribes.
func watchLinks() (*watcher, error) {
	socket, err := nl.Subscribe(unix.NETLINK_ROUTE, unix.RTNLGRP_LINK, unix.RTNLGRP_IPV4_IFADDR)
	if err != nil {
		return nil, fmt.Errorf("watch interfaces: %w", err)
	}
	_ = socket.SetReceiveBufferSize(watchBuffer, true) // what does not fit costs a new subscription
	w := &watcher{
		socket: socket,
		links:  make(chan struct{}, 1), hosts: make(chan struct{}, 1),
		down: make(map[int]bool),
	}
	w.reader.Go(w.read)
	return w, nil
}

// close ends the subscription and joins its reader.
func (w *watcher) close() {
	w.socket.Close()
	w.reader.Wait()
}

// read takes note of changes until the subscription is closed or lost: any
// receive error loses changes.
func (w *watcher) read() {
	for {
		messages, from, err := w.socket.Receive()
		if err != nil {
			w.mu.Lock()
			w.err = err
			w.mu.Unlock()
			signal(w.links)
			return
		}
		if from.Pid != nl.PidKernel {
			continue
		}
		for i := range messages {
			w.note(messages[i].Header.Type, messages[i].Data)
		}
	}
}

// note takes note of one message.
func (w *watcher) note(kind uint16, data []byte) {
	switch {
	case kind == unix.RTM_NEWLINK && len(data) >= unix.SizeofIfInfomsg:
		const works = unix.IFF_UP | unix.IFF_RUNNING
		if info := nl.DeserializeIfInfomsg(data); info.Flags&works != works {
			w.mu.Lock()
			w.down[int(info.Index)] = true
			w.mu.Unlock()
		}
		signal(w.links)
	case (kind == unix.RTM_NEWADDR || kind == unix.RTM_DELADDR) && len(data) >= unix.SizeofIfAddrmsg:
		if nl.DeserializeIfAddrmsg(data).Prefixlen != 32 {
			signal(w.links)
		} else if kind == unix.RTM_DELADDR {
			signal(w.hosts)
		}
	default:
		signal(w.links)
	}
}

// take returns which interfaces were seen down or without carrier since the
// last call, though they may be well by now, and why the subscription is lost.
func (w *watcher) take() (down map[int]bool, lost error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	down, w.down = w.down, make(map[int]bool)
	return down, w.err
}

// signal puts a signal into a channel with room for one. It never waits.
func signal(ch chan<- struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

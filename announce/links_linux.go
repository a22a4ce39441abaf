package announce

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// link is an interface as it was last listed.
type link struct {
	name     string
	index    int
	hw       hardwareAddr
	prefixes []netip.Prefix // without those of single addresses and of link-local ones
	master   int            // the index of the interface that takes its frames, or 0
	down     bool
	problem  string // why the interface can't be used; empty if it can
	left     []left // subnets that others have, too, which come first
}

// left is a subnet that another usable interface with a lower index has, too.
type left struct {
	subnet netip.Prefix
	to     string // that interface
}

// carries reports whether the assignment belongs on the interface, and it may be
// announced there.
func (l *link) carries(a *Assignment) bool { return l.belongs(a) && l.refuses(a) == "" }

// refuses says why an assignment that belongs on the interface is not to be announced
// there; empty if it is.
func (l *link) refuses(a *Assignment) string {
	for _, p := range l.prefixes {
		if !p.Contains(a.Addr) {
			continue
		}
		if why := reserved(a.Addr, p.Masked()); why != "" {
			return why
		}
		for _, other := range l.left {
			if other.subnet == p.Masked() && (len(a.Interfaces) == 0 || a.names(other.to)) {
				return fmt.Sprintf("left to %s, which has %v too", other.to, other.subnet)
			}
		}
	}
	return ""
}

// reserved says why no host of an IPv4 subnet can have the address: it is the first or
// the last one, to which hosts broadcast (RFC 1122 section 3.2.1.3); empty if one can.
func reserved(addr netip.Addr, subnet netip.Prefix) string {
	if !addr.Is4() || subnet.Bits() > 30 {
		return ""
	}
	mask := uint32(1)<<(32-subnet.Bits()) - 1
	b := addr.As4()
	switch binary.BigEndian.Uint32(b[:]) & mask {
	case 0:
		return fmt.Sprintf("the network address of %v", subnet)
	case mask:
		return fmt.Sprintf("the broadcast address of %v", subnet)
	}
	return ""
}

// leave leaves each subnet that several usable interfaces have to those of them with
// lower indexes, if an address belongs there: two answers to one question would confuse
// clients.
func leave(links []link) {
	owners := make(map[netip.Prefix][]*link)
	for i := range links {
		l := &links[i]
		for _, p := range l.prefixes {
			if subnet := p.Masked(); l.problem == "" && !slices.Contains(owners[subnet], l) {
				owners[subnet] = append(owners[subnet], l)
			}
		}
	}
	for subnet, all := range owners {
		for _, l := range all {
			for _, other := range all {
				if other.index < l.index {
					l.left = append(l.left, left{subnet, other.name})
				}
			}
		}
	}
	for i := range links {
		slices.SortFunc(links[i].left, func(a, b left) int {
			return cmp.Or(a.subnet.Addr().Compare(b.subnet.Addr()), cmp.Compare(a.subnet.Bits(), b.subnet.Bits()), cmp.Compare(a.to, b.to))
		})
	}
}

// belongs reports whether the assignment belongs on the interface, by its name or its
// subnets.
func (l *link) belongs(a *Assignment) bool {
	if len(a.Interfaces) > 0 {
		return a.names(l.name)
	}
	return slices.ContainsFunc(l.prefixes, func(p netip.Prefix) bool { return p.Contains(a.Addr) })
}

// names reports whether the assignment names the interface.
func (a *Assignment) names(name string) bool {
	return slices.ContainsFunc(a.Interfaces, func(p string) bool { return matches(p, name) })
}

// matches reports whether the element of Assignment.Interfaces stands for the
// interface.
func matches(pattern, name string) bool {
	start, open := strings.CutSuffix(pattern, "*")
	return pattern == name || open && strings.HasPrefix(name, start)
}

// reach is where some assignments belong, in a form that says quickly of one
// interface whether any does, however many there are of both.
type reach struct {
	names   map[string]bool
	starts  []string     // the patterns, without the *
	unnamed []netip.Addr // those without names, sorted
}

// reachOf returns where the assignments, which are sorted, belong.
func reachOf(assignments []Assignment) reach {
	r := reach{names: make(map[string]bool)}
	for i := range assignments {
		a := &assignments[i]
		if len(a.Interfaces) == 0 {
			r.unnamed = append(r.unnamed, a.Addr)
		}
		for _, pattern := range a.Interfaces {
			if start, open := strings.CutSuffix(pattern, "*"); open && !r.names[pattern] {
				r.starts = append(r.starts, start)
			}
			r.names[pattern] = true
		}
	}
	return r
}

// covers reports whether any of the assignments belongs on the interface.
func (r *reach) covers(l *link) bool {
	return r.names[l.name] ||
		slices.ContainsFunc(r.starts, func(start string) bool { return strings.HasPrefix(l.name, start) }) ||
		slices.ContainsFunc(l.prefixes, func(p netip.Prefix) bool {
			j, _ := slices.BinarySearchFunc(r.unnamed, p.Masked().Addr(), netip.Addr.Compare)
			return j < len(r.unnamed) && p.Contains(r.unnamed[j])
		})
}

// same reports whether a socket that was opened for l serves m as well: it is
// bound to the interface by its index, whatever its name.
func (l *link) same(m *link) bool { return l.index == m.index && l.hw == m.hw }

// fact returns the link as it is reported.
func (l *link) fact() Link {
	return Link{Name: l.name, Index: l.index, HardwareAddr: l.hw[:], Prefixes: l.prefixes, Problem: l.problem}
}

// inventory is one listing of interfaces and addresses.
type inventory struct {
	links []link // by name
	hosts map[place]host
}

// takeInventory lists the interfaces and their addresses.
func takeInventory() (inventory, error) {
	inv := inventory{hosts: make(map[place]host)}
	messages, err := dump(unix.RTM_GETLINK, nl.NewIfInfomsg(unix.AF_UNSPEC))
	if err != nil {
		return inv, fmt.Errorf("list interfaces: %w", err)
	}
	names := make(map[int]string, len(messages))
	for _, b := range messages {
		l, err := parseLink(b)
		if err != nil {
			return inv, fmt.Errorf("list interfaces: %w", err)
		}
		names[l.index] = l.name
		inv.links = append(inv.links, l)
	}
	messages, err = dump(unix.RTM_GETADDR, nl.NewIfAddrmsg(unix.AF_UNSPEC))
	if err != nil {
		return inv, fmt.Errorf("list addresses: %w", err)
	}
	prefixes := make(map[int][]netip.Prefix)
	for _, b := range messages {
		a, err := parseAddr(b)
		switch {
		case err != nil:
			return inv, fmt.Errorf("list addresses: %w", err)
		case !a.prefix.IsValid(): // of another family
		case a.prefix.IsSingleIP():
			inv.hosts[place{a.index, a.prefix.Addr()}] = a.host
		case a.prefix.Addr().Is6() && a.prefix.Addr().IsLinkLocalUnicast():
			// Every interface has that subnet, so it tells none from another.
		default:
			prefixes[a.index] = append(prefixes[a.index], a.prefix)
		}
	}
	for i := range inv.links {
		l := &inv.links[i]
		l.prefixes = prefixes[l.index]
		if l.problem == isPort {
			l.problem = "port of " + names[l.master]
		}
	}
	slices.SortFunc(inv.links, func(a, b link) int { return strings.Compare(a.name, b.name) })
	leave(inv.links)
	return inv, nil
}

// watcher is a subscription to changes of interfaces and addresses. Of what a
// change says little is used, only that there was one: the listing that follows
// is whole.
type watcher struct {
	socket *nl.NetlinkSocket
	reader sync.WaitGroup

	// links is signalled when an interface or a subnet has changed, or the
	// subscription is lost; hosts when an address that is a subnet of its own was
	// taken away. Both have room for one signal, so the reader never waits and a
	// burst is one signal.
	links, hosts chan struct{}

	mu   sync.Mutex
	down map[int]bool // the interfaces that could not be used, or were gone
	err  error        // why the subscription is lost
}

// loopback is the index of lo: LOOPBACK_IFINDEX of the kernel.
const loopback = 1

// watchBuffer is how many bytes of changes the kernel holds for the reader.
const watchBuffer = 1 << 20

// watchLinks subscribes.
func watchLinks() (*watcher, error) {
	socket, err := nl.Subscribe(unix.NETLINK_ROUTE, unix.RTNLGRP_LINK, unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR)
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

// note takes note of one message. What can't be read calls for a listing, too.
func (w *watcher) note(kind uint16, data []byte) {
	switch kind {
	case unix.RTM_NEWLINK, unix.RTM_DELLINK:
		// A bridge tells of its ports as well, in a family of its own.
		if l, err := parseLink(data); err == nil && data[0] == unix.AF_UNSPEC && (l.problem != "" || kind == unix.RTM_DELLINK) {
			w.mu.Lock()
			w.down[l.index] = true
			w.mu.Unlock()
		}
	case unix.RTM_NEWADDR, unix.RTM_DELADDR:
		if a, err := parseAddr(data); err == nil && a.prefix.IsSingleIP() {
			switch {
			case kind == unix.RTM_DELADDR:
				signal(w.hosts)
			case a.index != loopback && a.forever: // by others; what is bound here expires
				signal(w.links)
			}
			return
		}
	}
	signal(w.links)
}

// take returns which interfaces could not be used at a time since the last call,
// though they may be well by now, and why the subscription is lost.
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

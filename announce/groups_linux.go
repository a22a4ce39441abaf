package announce

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// groups are the solicited-node multicast groups that an interface is a member
// of: the kernel reports them by MLD, so that switches which snoop forward
// solicitations, and lets them through the filter of the network card. It belongs
// to Run's goroutine. What is to be changed is found by sync, and done by step, a
// little at a time: thousands of groups take the kernel a while.
//
// A membership ends with its socket, so closing the groups of an interface that
// went away or down and opening them again joins all anew.
type groups struct {
	index   int
	sockets []int              // none has a port: nothing is ever received on them
	joined  map[netip.Addr]int // the socket of each group
	failed  map[netip.Addr]error
	todo    []netip.Addr // groups to join, or to leave if they are joined
}

func newGroups(index int) *groups {
	return &groups{index: index, joined: make(map[netip.Addr]int), failed: make(map[netip.Addr]error)}
}

// close leaves all groups.
func (g *groups) close() {
	for _, fd := range g.sockets {
		_ = unix.Close(fd)
	}
}

// sync finds what has to change so that every wanted group is joined, and no
// other. Groups that could not be joined are tried again.
func (g *groups) sync(wanted map[netip.Addr]bool) {
	clear(g.failed)
	g.todo = g.todo[:0]
	for group := range g.joined {
		if !wanted[group] {
			g.todo = append(g.todo, group)
		}
	}
	for group := range wanted { // joined before others are left: step takes the last
		if _, ok := g.joined[group]; !ok {
			g.todo = append(g.todo, group)
		}
	}
}

// busy reports whether step has something to do.
func (g *groups) busy() bool { return len(g.todo) > 0 }

// tried reports whether the group of addr is joined, or can't be.
func (g *groups) tried(addr netip.Addr) bool {
	group := groupOf(addr)
	_, joined := g.joined[group]
	return joined || g.failed[group] != nil
}

// step does a part of what there is to do, until the time is over.
func (g *groups) step(until time.Time) {
	for g.busy() && time.Now().Before(until) {
		last := len(g.todo) - 1
		group := g.todo[last]
		g.todo = g.todo[:last]
		if fd, ok := g.joined[group]; ok {
			_ = unix.SetsockoptIPv6Mreq(fd, unix.IPPROTO_IPV6, unix.IPV6_LEAVE_GROUP, g.request(group))
			delete(g.joined, group)
		} else if err := g.join(group); err != nil {
			g.failed[group] = err
		}
	}
}

// join joins the group with the newest socket. The kernel limits the memory of a
// socket, to some two thousand groups (net.core.optmem_max); then another is
// opened.
func (g *groups) join(group netip.Addr) error {
	full := len(g.sockets) == 0
	for {
		if full {
			fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				return fmt.Errorf("socket for multicast groups: %w", err)
			}
			g.sockets = append(g.sockets, fd)
		}
		fd := g.sockets[len(g.sockets)-1]
		err := unix.SetsockoptIPv6Mreq(fd, unix.IPPROTO_IPV6, unix.IPV6_JOIN_GROUP, g.request(group))
		if (errors.Is(err, unix.ENOBUFS) || errors.Is(err, unix.ENOMEM)) && !full {
			full = true
			continue
		}
		if err != nil {
			return fmt.Errorf("join the group %v: %w", group, err)
		}
		g.joined[group] = fd
		return nil
	}
}

func (g *groups) request(group netip.Addr) *unix.IPv6Mreq {
	return &unix.IPv6Mreq{Multiaddr: group.As16(), Interface: uint32(g.index)}
}

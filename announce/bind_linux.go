package announce

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// labelPrefix starts the label of an address on lo that an announcer bound.
// What follows names the announcer: whoever owns the abstract Unix socket of
// that name, in the same network namespace, is alive. So the addresses of a
// killed process are told from those of a running one.
const labelPrefix = "lo:l2-"

// lockPrefix comes before the label in the name of that socket.
const lockPrefix = "l2vip/"

// binder makes the kernel accept traffic for addresses. It belongs to Run's
// goroutine. What is to be changed is found by sync, and done by step, a little
// at a time: ten thousand addresses take the kernel a while.
type binder struct {
	mode   Bind
	handle *netlink.Handle
	logger *slog.Logger

	// Of Loopback only.
	lo    int                       // the index of lo
	locks map[string]net.PacketConn // by label; label is one of them
	label string                    // of what this process adds
	undo  []sysctl                  // what this process changed, with the old values

	have map[place]host // as listed, and changed since
	ours map[place]bool // what this process bound; of Interface only
	todo []change
	errs map[place]error // what is wrong

	renewAt time.Time // when lifetimes are to be renewed; of Interface only
}

// change is one thing to do.
type change struct {
	place
	remove bool
}

// sysctl is a kernel setting: what it is set to, and which values do as well.
type sysctl struct {
	path, name, value string
	good              []string
}

// The settings that keep the kernel from answering ARP for the addresses on lo
// and from using them in its own requests (Documentation/networking/ip-sysctl).
var (
	arpIgnore = sysctl{
		"/proc/sys/net/ipv4/conf/all/arp_ignore", "net.ipv4.conf.all.arp_ignore", "1",
		[]string{"1", "2", "3", "8"}, // 4 to 7 are reserved, and hide nothing
	}
	arpAnnounce = sysctl{
		"/proc/sys/net/ipv4/conf/all/arp_announce", "net.ipv4.conf.all.arp_announce", "2",
		[]string{"2"},
	}
)

// interfaceLifetime is for how long the kernel keeps an address in the mode
// Interface; it is renewed in a third of it.
const interfaceLifetime = 3 * time.Second

// stepTime is for how long step works before other events have their turn.
const stepTime = 2 * time.Millisecond

// errTaken is what is wrong with an address that was bound and is gone.
var errTaken = errors.New("somebody took it off the interface")

// newBinder opens what the mode needs, and takes over what a process that died
// left on lo.
func newBinder(mode Bind, logger *slog.Logger) (*binder, error) {
	b := &binder{
		mode: mode, logger: logger, locks: make(map[string]net.PacketConn),
		have: make(map[place]host), ours: make(map[place]bool), errs: make(map[place]error),
	}
	if mode == None {
		return b, nil
	}
	handle, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("netlink socket: %w", err)
	}
	b.handle = handle
	if mode != Loopback {
		return b, nil
	}
	if err := b.openLoopback(); err != nil {
		b.release()
		return nil, err
	}
	return b, nil
}

// openLoopback finds lo and picks the label.
func (b *binder) openLoopback() error {
	lo, err := b.handle.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("find lo: %w", err)
	}
	b.lo = lo.Attrs().Index
	inv, err := takeInventory()
	if err != nil {
		return err
	}
	for p, h := range inv.hosts {
		if _, known := b.locks[h.label]; !known && p.index == b.lo && strings.HasPrefix(h.label, labelPrefix) {
			if lock, err := lockLabel(h.label); err == nil {
				b.locks[h.label], b.label = lock, h.label
			}
		}
	}
	if b.label != "" {
		return nil
	}
	id := make([]byte, 4)
	rand.Read(id) // never fails
	b.label = labelPrefix + hex.EncodeToString(id)
	lock, err := lockLabel(b.label)
	if err != nil {
		return err
	}
	b.locks[b.label] = lock
	return nil
}

// lockLabel owns the label for as long as the socket is open.
func lockLabel(label string) (net.PacketConn, error) {
	lock, err := net.ListenPacket("unixgram", "@"+lockPrefix+label)
	if err != nil {
		return nil, fmt.Errorf("own the label %s: %w", label, err)
	}
	return lock, nil
}

// set makes the sysctl what it has to be, and reads it back.
func (s sysctl) set() (old sysctl, changed bool, err error) {
	before, err := s.read()
	if err != nil {
		return sysctl{}, false, err
	}
	if slices.Contains(s.good, before) {
		return sysctl{}, false, nil
	}
	err = os.WriteFile(s.path, []byte(s.value), 0)
	if err == nil {
		var after string
		if after, err = s.read(); err == nil && after != s.value {
			err = fmt.Errorf("it reads %q after writing %q", after, s.value)
		}
	}
	if err == nil {
		return sysctl{path: s.path, name: s.name, value: before}, true, nil
	}
	err = fmt.Errorf("set %s=%s before an address is bound to lo, or the kernel answers for it: %w", s.name, s.value, err)
	if errors.Is(err, os.ErrPermission) {
		err = &CapabilityError{"CAP_NET_ADMIN", "bind to lo", err}
	}
	return sysctl{}, false, err
}

func (s sysctl) read() (string, error) {
	b, err := os.ReadFile(s.path)
	if err != nil {
		return "", fmt.Errorf("read %s: %w", s.name, err)
	}
	return strings.TrimSpace(string(b)), nil
}

// quiet keeps the kernel from answering ARP for addresses on lo.
func (b *binder) quiet() error {
	for _, s := range []sysctl{arpIgnore, arpAnnounce} {
		old, changed, err := s.set()
		if err != nil {
			return err
		}
		if changed {
			b.undo = append(b.undo, old)
		}
	}
	return nil
}

// observe takes what is bound from a new listing. What was bound and is gone is a
// problem until step has bound it again.
func (b *binder) observe(hosts map[place]host) {
	have := make(map[place]host)
	for p, h := range hosts {
		if b.mode == Interface || b.mode == Loopback && p.index == b.lo && !p.addr.IsLoopback() {
			have[p] = h
		}
	}
	for p := range b.have {
		if _, ok := have[p]; !ok && b.mode == Loopback {
			b.errs[p] = errTaken
		}
	}
	b.have = have
}

// sync finds what has to change for the assignments. An error is fatal; what
// fails for one address is kept in errs.
func (b *binder) sync(assignments []Assignment, links []link, leased bool, now time.Time) error {
	b.todo = b.todo[:0]
	wanted := make(map[place]bool, len(assignments))
	switch b.mode {
	case None:
		return nil
	case Loopback:
		if len(assignments) > 0 {
			if err := b.quiet(); err != nil {
				return err
			}
		}
		for i := range assignments {
			wanted[place{b.lo, assignments[i].Addr}] = true
		}
	case Interface:
		for i := range assignments {
			a := &assignments[i]
			for j := range links {
				if l := &links[j]; a.Mode == Answer && l.problem == "" && l.carries(a) {
					wanted[place{l.index, a.Addr}] = true
				}
			}
		}
	}
	renew := b.mode == Interface && !now.Before(b.renewAt)
	if renew {
		b.renewAt = now.Add(interfaceLifetime / 3)
	}
	for p := range wanted {
		h, bound := b.have[p]
		if bound {
			delete(b.errs, p)
		}
		switch {
		case !bound && (b.mode == Loopback || leased):
			b.todo = append(b.todo, change{place: p})
		case bound && renew && leased && !h.forever:
			b.todo = append(b.todo, change{place: p})
		}
	}
	for p, h := range b.have {
		if !wanted[p] && b.owns(p, h) {
			b.todo = append(b.todo, change{place: p, remove: true})
		}
	}
	for p := range b.errs {
		if !wanted[p] {
			delete(b.errs, p)
		}
	}
	return nil
}

// owns reports whether the address was bound by this process or by a dead one:
// what belongs to others is left alone.
func (b *binder) owns(p place, h host) bool {
	if b.mode == Loopback {
		_, ok := b.locks[h.label]
		return ok
	}
	return b.ours[p]
}

// busy reports whether step has something to do.
func (b *binder) busy() bool { return len(b.todo) > 0 }

// state returns what is wrong with the address on an interface, and whether it
// was bound, or tried to be, at all.
func (b *binder) state(addr netip.Addr, index int) (tried bool, err error) {
	if b.mode != Loopback {
		return true, b.errs[place{index, addr}]
	}
	p := place{b.lo, addr}
	_, bound := b.have[p]
	err = b.errs[p]
	return bound || err != nil, err
}

// step does a part of what there is to do. An error is fatal.
func (b *binder) step() error {
	for until := time.Now().Add(stepTime); b.busy() && time.Now().Before(until); {
		last := len(b.todo) - 1
		c := b.todo[last]
		b.todo = b.todo[:last]
		if c.remove {
			b.unbind(c.place)
		} else if err := b.bind(c.place); err != nil {
			return err
		}
	}
	return nil
}

// bind binds one address, or renews its lifetime.
func (b *binder) bind(p place) error {
	a := netlinkAddr(p)
	var err error
	if b.mode == Loopback {
		a.Label, a.Scope = b.label, unix.RT_SCOPE_HOST
		err = b.handle.AddrAdd(nil, a)
	} else {
		a.Flags = unix.IFA_F_NOPREFIXROUTE
		a.ValidLft = int(interfaceLifetime / time.Second)
		a.PreferedLft = a.ValidLft
		err = b.handle.AddrReplace(nil, a)
	}
	switch {
	case errors.Is(err, os.ErrPermission):
		return &CapabilityError{"CAP_NET_ADMIN", fmt.Sprintf("bind %v", p.addr), err}
	case errors.Is(err, unix.EEXIST): // somebody else was faster
		b.have[p] = host{forever: true}
		delete(b.errs, p)
	case err != nil:
		b.errs[p] = fmt.Errorf("bind: %w", err)
	default:
		b.have[p] = host{label: a.Label}
		b.ours[p] = b.mode == Interface
		delete(b.errs, p)
	}
	return nil
}

// unbind takes back one address. One that can't be taken back stays until the
// next sync.
func (b *binder) unbind(p place) {
	err := b.handle.AddrDel(nil, netlinkAddr(p))
	if err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) && !errors.Is(err, unix.ENODEV) {
		b.logger.Warn("cannot take back an address", "address", p.addr, "error", err)
		return
	}
	delete(b.have, p)
	delete(b.ours, p)
}

// close takes back what was bound, and the settings if nobody needs them.
func (b *binder) close() error {
	defer b.release()
	if b.mode == None {
		return nil
	}
	// Others may have bound and removed since the last listing.
	inv, err := takeInventory()
	if err != nil {
		return err
	}
	b.observe(inv.hosts)
	if err := b.sync(nil, nil, false, time.Now()); err != nil {
		return err
	}
	for b.busy() {
		if err := b.step(); err != nil {
			return err
		}
	}
	if len(b.have) > 0 {
		return nil
	}
	return b.restore()
}

// restore sets back what this process changed, unless another announcer on this
// host relies on it.
func (b *binder) restore() (err error) {
	if len(b.undo) == 0 || b.others() {
		return nil
	}
	for _, s := range b.undo {
		if writeErr := os.WriteFile(s.path, []byte(s.value), 0); writeErr != nil {
			err = errors.Join(err, fmt.Errorf("restore %s=%s: %w", s.name, s.value, writeErr))
		}
	}
	if b.others() { // one that has just started, and found them set
		return errors.Join(err, b.quiet())
	}
	return err
}

// others reports whether another announcer is alive on this host, or may be.
func (b *binder) others() bool {
	// A thread may be in another network namespace than its process.
	list, err := os.ReadFile("/proc/thread-self/net/unix")
	if err != nil {
		return true
	}
	for line := range strings.Lines(string(list)) {
		if _, label, ok := strings.Cut(strings.TrimSpace(line), "@"+lockPrefix); ok && b.locks[label] == nil {
			return true
		}
	}
	return false
}

// release closes the sockets.
func (b *binder) release() {
	for _, lock := range b.locks {
		lock.Close()
	}
	if b.handle != nil {
		b.handle.Close()
	}
}

// netlinkAddr returns the address as netlink has it, with a prefix of 32 bits.
func netlinkAddr(p place) *netlink.Addr {
	return &netlink.Addr{
		IPNet:     &net.IPNet{IP: p.addr.AsSlice(), Mask: net.CIDRMask(32, 32)},
		LinkIndex: p.index,
	}
}

package announce

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// lockPrefix comes before the label of a mark in the name of an abstract Unix
// socket. Whoever owns the socket, in the same network namespace, is alive: so the
// addresses of a killed process are told from those of a running one.
const lockPrefix = "l2vip/"

// binder makes the kernel accept traffic for addresses. It belongs to Run's
// goroutine. What is to be changed is found by sync, and done by step, a little
// at a time: ten thousand addresses take the kernel a while.
type binder struct {
	mode   Bind
	socket addrSocket
	logger *slog.Logger

	// Of Loopback only.
	lo      int                     // the index of lo
	locks   map[mark]net.PacketConn // mark is one of them
	mark    mark                    // of what this process adds
	guard   guard
	used    []string // the interfaces whose settings count
	loud    error    // why the kernel may not be silent; then no IPv4 address is left on lo
	settled bool     // a sync has been done: what fails from now on does not end Run

	links []link         // of the last sync
	have  map[place]host // as listed, and changed since
	ours  map[place]bool // what this process bound; of Interface only
	todo  []change
	errs  map[place]error // what is wrong

	// renewAt is when sync is due though nothing has changed: with Interface to
	// renew lifetimes, with Loopback to look at the settings.
	renewAt time.Time
}

// change is one thing to do.
type change struct {
	place
	remove bool
}

// guardEvery is how often the settings are looked at.
const guardEvery = time.Second

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
		mode: mode, logger: logger, locks: make(map[mark]net.PacketConn),
		guard: guard{logger: logger, undo: make(map[knob]int)},
		have:  make(map[place]host), ours: make(map[place]bool), errs: make(map[place]error),
	}
	if mode == None {
		return b, nil
	}
	socket, err := openAddrSocket()
	if err != nil {
		return nil, err
	}
	b.socket = socket
	if mode != Loopback {
		return b, nil
	}
	if err := b.openLoopback(); err != nil {
		b.release()
		return nil, err
	}
	return b, nil
}

// openLoopback finds lo and picks the mark.
func (b *binder) openLoopback() error {
	inv, err := takeInventory()
	if err != nil {
		return err
	}
	i := slices.IndexFunc(inv.links, func(l link) bool { return l.name == "lo" })
	if i < 0 {
		return errors.New("there is no interface lo")
	}
	b.lo = inv.links[i].index
	for p, h := range inv.hosts {
		if _, known := b.locks[h.mark]; !known && p.index == b.lo && h.mark != 0 {
			if lock, err := lockMark(h.mark); err == nil {
				b.locks[h.mark], b.mark = lock, h.mark
			}
		}
	}
	for tries := 1; b.mark == 0; tries++ {
		m := markWith(uint16(rand.Uint32()))
		lock, err := lockMark(m)
		switch {
		case err == nil:
			b.locks[m], b.mark = lock, m
		case !errors.Is(err, unix.EADDRINUSE) || tries == 100: // not another announcer's by chance
			return err
		}
	}
	return nil
}

// lockMark owns the mark for as long as the socket is open.
func lockMark(m mark) (net.PacketConn, error) {
	lock, err := net.ListenPacket("unixgram", "@"+lockPrefix+m.label())
	if err != nil {
		return nil, fmt.Errorf("own the label %s: %w", m.label(), err)
	}
	return lock, nil
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

// configured returns the addresses that others have configured on interfaces of this
// host which answer for them, with the interface.
func (b *binder) configured(inv inventory) map[netip.Addr]string {
	all := make(map[netip.Addr]string)
	for i := range inv.links {
		l := &inv.links[i]
		if l.problem == notEthernet {
			continue
		}
		for _, p := range l.prefixes {
			all[p.Addr()] = l.name
		}
	}
	for p, h := range inv.hosts {
		// One that another start of this program has bound there runs out.
		if p.index == b.lo || b.ours[p] || b.mode == Interface && !h.forever {
			continue
		}
		for i := range inv.links {
			if l := &inv.links[i]; l.index == p.index {
				all[p.addr] = l.name
			}
		}
	}
	return all
}

// sync finds what has to change for the assignments. An error is fatal; what
// fails for one address is kept in errs.
func (b *binder) sync(assignments []Assignment, links []link, leased bool, now time.Time) error {
	b.todo, b.links = b.todo[:0], links
	wanted := make(map[place]bool, len(assignments))
	switch b.mode {
	case None:
		return nil
	case Loopback:
		if err := b.silence(assignments, now); err != nil {
			return err
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
		switch {
		case b.refuses(p):
			b.errs[p] = b.loud
			b.todo = append(b.todo, change{place: p}) // in vain, so that it is tried again
			continue
		case bound:
			delete(b.errs, p)
		}
		switch {
		case !bound && (b.mode == Loopback || leased):
			b.todo = append(b.todo, change{place: p})
		case bound && renew && leased && !h.forever:
			b.todo = append(b.todo, change{place: p})
		}
	}
	for p, h := range b.have { // last, so that step takes it first
		if (!wanted[p] || b.refuses(p)) && b.owns(p, h) {
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

// silence keeps the kernel from answering ARP for addresses on lo while there are
// IPv4 addresses to bind. It answers no solicitation for them in any case, because
// those of IPv6 are for the addresses of one interface. An error is fatal: the
// first addresses can't be bound.
func (b *binder) silence(assignments []Assignment, now time.Time) error {
	b.loud, b.renewAt = nil, time.Time{}
	if !slices.ContainsFunc(assignments, func(a Assignment) bool { return a.Addr.Is4() }) {
		b.guard.kept = false
		b.settled = b.settled || len(assignments) > 0
		return nil
	}
	b.used = nil
	r := reachOf(assignments)
	for i := range b.links {
		if l := &b.links[i]; l.problem == "" && r.covers(l) {
			b.used = append(b.used, l.name)
		}
	}
	err := b.guard.enforce(b.used)
	switch {
	case err == nil:
		b.settled, b.renewAt = true, now.Add(guardEvery)
	case !b.settled:
		return err
	}
	b.loud = err
	return nil
}

// due reports whether sync is to be called though nothing has changed. To look at
// the settings costs less than that.
func (b *binder) due(now time.Time) bool {
	if b.renewAt.IsZero() || now.Before(b.renewAt) {
		return false
	}
	if b.mode == Interface {
		return true
	}
	b.renewAt = now.Add(guardEvery)
	before := b.guard.repairs
	err := b.guard.enforce(b.used)
	return err != nil || b.guard.repairs != before
}

// refuses reports whether the address must not be bound, because the kernel would
// answer for it.
func (b *binder) refuses(p place) bool { return b.loud != nil && p.addr.Is4() }

// owns reports whether the address was bound by this process or by a dead one:
// what belongs to others is left alone.
func (b *binder) owns(p place, h host) bool {
	if b.mode == Loopback {
		_, ok := b.locks[h.mark]
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
	if b.refuses(p) {
		return nil
	}
	var err error
	if b.mode == Loopback {
		err = b.socket.add(p, b.mark, math.MaxUint32, false)
	} else {
		// To IPv6 an address is the same with the subnet of another length, so
		// only what is known to be a subnet of its own may be replaced.
		_, bound := b.have[p]
		err = b.socket.add(p, 0, uint32(interfaceLifetime/time.Second), bound)
	}
	switch {
	case errors.Is(err, unix.EPERM):
		return &CapabilityError{"CAP_NET_ADMIN", fmt.Sprintf("bind %v", p.addr), err}
	case errors.Is(err, unix.EEXIST): // somebody else was faster
		b.have[p] = host{forever: true}
		delete(b.errs, p)
	case errors.Is(err, unix.EACCES) && p.addr.Is6():
		b.errs[p] = fmt.Errorf("IPv6 is disabled there, set %s=0: %w", b.disableKnob(p.index), err)
	case err != nil:
		b.errs[p] = fmt.Errorf("bind: %w", err)
	default:
		b.have[p] = host{mark: b.mark}
		b.ours[p] = b.mode == Interface
		delete(b.errs, p)
	}
	return nil
}

// disableKnob names the setting that disables IPv6 on an interface.
func (b *binder) disableKnob(index int) string {
	name := "all"
	for i := range b.links {
		if b.links[i].index == index {
			name = b.links[i].name
		}
	}
	return sysctlName("ipv6", name, "disable_ipv6")
}

// unbind takes back one address. One that can't be taken back stays until the
// next sync.
func (b *binder) unbind(p place) {
	err := b.socket.remove(p)
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
	for p := range b.have {
		if p.addr.Is4() {
			return nil
		}
	}
	if needs, at := b.dependent(inv); needs.IsValid() {
		if len(b.guard.undo) > 0 {
			b.logger.Info("the settings that keep the kernel silent stay, for an address of another program", "address", needs, "interface", at)
		}
		return nil
	}
	return b.restore()
}

// dependent returns an address of others for which the kernel would answer on every
// interface without the settings: it has no subnet there, or its interface has no ARP.
// Nothing tells who else counts on them, be it that he has set the same values since.
func (b *binder) dependent(inv inventory) (addr netip.Addr, at string) {
	for i := range inv.links {
		l := &inv.links[i]
		if l.index == b.lo {
			continue
		}
		for p := range inv.hosts {
			if p.index == l.index && p.addr.Is4() && !b.ours[p] {
				return p.addr, l.name
			}
		}
		for _, p := range l.prefixes {
			if l.problem == noARP && p.Addr().Is4() {
				return p.Addr(), l.name
			}
		}
	}
	return addr, ""
}

// restore sets back what this process changed, unless another announcer on this
// host relies on it.
func (b *binder) restore() error {
	if len(b.guard.undo) == 0 || b.others() {
		return nil
	}
	err := b.guard.restore()
	if b.others() { // one that has just started, and found them set
		return errors.Join(err, b.guard.enforce(nil))
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
		if _, label, ok := strings.Cut(strings.TrimSpace(line), "@"+lockPrefix); ok && b.locks[markIn(label)] == nil {
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
	b.socket.close()
}

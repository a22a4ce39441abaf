package announce

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
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

// binder makes the kernel accept traffic for addresses.
type binder struct {
	mode   Bind
	handle *netlink.Handle
	lo     netlink.Link
	locks  map[string]net.PacketConn // by label; label is one of them
	label  string                    // of what this process adds
	undo   []sysctl                  // what this process changed, with the old values
	// errs are the failures of the last sync, by address.
	errs map[netip.Addr]error
}

// sysctl is a kernel setting.
type sysctl struct{ path, name, value string }

// The settings that keep the kernel from answering ARP for the addresses on lo
// and from using them in its own requests (Documentation/networking/ip-sysctl).
var (
	arpIgnore   = sysctl{"/proc/sys/net/ipv4/conf/all/arp_ignore", "net.ipv4.conf.all.arp_ignore", "1"}
	arpAnnounce = sysctl{"/proc/sys/net/ipv4/conf/all/arp_announce", "net.ipv4.conf.all.arp_announce", "2"}
)

// interfaceLifetime is for how long the kernel keeps an address in the mode
// Interface; it is renewed in a third of it.
const interfaceLifetime = 3 * time.Second

// newBinder opens what the mode needs, and takes over what a process that died
// left on lo.
func newBinder(mode Bind) (*binder, error) {
	b := &binder{mode: mode, locks: make(map[string]net.PacketConn), errs: make(map[netip.Addr]error)}
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
func (b *binder) openLoopback() (err error) {
	if b.lo, err = b.handle.LinkByName("lo"); err != nil {
		return fmt.Errorf("find lo: %w", err)
	}
	bound, err := b.listLoopback()
	if err != nil {
		return err
	}
	for _, label := range bound {
		if _, known := b.locks[label]; !known && strings.HasPrefix(label, labelPrefix) {
			if lock, err := lockLabel(label); err == nil {
				b.locks[label], b.label = lock, label
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
	lock, err := net.ListenPacket("unixgram", "@l2vip/"+label)
	if err != nil {
		return nil, fmt.Errorf("own the label %s: %w", label, err)
	}
	return lock, nil
}

// set makes the sysctl at least as strict as it has to be, and reads it back.
func (s sysctl) set() (old sysctl, changed bool, err error) {
	before, err := s.read()
	if err != nil {
		return sysctl{}, false, err
	}
	if before >= s.value {
		return sysctl{}, false, nil
	}
	err = os.WriteFile(s.path, []byte(s.value), 0)
	if err == nil {
		var after string
		if after, err = s.read(); err == nil && after != s.value {
			err = fmt.Errorf("it reads %q after writing %q", after, s.value)
		}
	}
	if err != nil {
		return sysctl{}, false, fmt.Errorf("set %s=%s before an address is bound to lo, or the kernel answers for it: %w", s.name, s.value, err)
	}
	return sysctl{s.path, s.name, before}, true, nil
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

// listLoopback returns the /32 addresses on lo, other than 127.0.0.0/8, each with its label.
func (b *binder) listLoopback() (map[netip.Addr]string, error) {
	addrs, err := retryDump(func() ([]netlink.Addr, error) { return b.handle.AddrList(b.lo, netlink.FAMILY_V4) })
	if err != nil {
		return nil, fmt.Errorf("list the addresses on lo: %w", err)
	}
	bound := make(map[netip.Addr]string)
	for _, a := range addrs {
		if p, ok := prefixOf(a); ok && p.Bits() == 32 && !p.Addr().IsLoopback() {
			bound[p.Addr()] = a.Label
		}
	}
	return bound, nil
}

// sync binds what the assignments ask for and takes back what they do not. What
// fails for one address is kept in errs; what fails for all is returned.
func (b *binder) sync(assignments []Assignment, links []link) error {
	clear(b.errs)
	switch b.mode {
	case Loopback:
		return b.syncLoopback(assignments)
	case Interface:
		b.syncInterface(assignments, links)
	case None:
	}
	return nil
}

func (b *binder) syncLoopback(assignments []Assignment) error {
	bound, err := b.listLoopback()
	if err != nil {
		return err
	}
	if len(assignments) > 0 {
		if err := b.quiet(); err != nil {
			return err
		}
	}
	for i := range assignments {
		addr := assignments[i].Addr
		if _, ok := bound[addr]; ok {
			delete(bound, addr) // what is left afterwards is not asked for
			continue
		}
		a := host(addr)
		a.Label, a.Scope = b.label, unix.RT_SCOPE_HOST
		err := b.handle.AddrAdd(b.lo, a)
		switch {
		case errors.Is(err, os.ErrPermission):
			return &CapabilityError{"CAP_NET_ADMIN", fmt.Sprintf("bind %v to lo", addr), err}
		case err != nil && !errors.Is(err, unix.EEXIST):
			b.errs[addr] = fmt.Errorf("bind to lo: %w", err)
		}
	}
	for addr, label := range bound {
		if _, ours := b.locks[label]; !ours {
			continue
		}
		a := host(addr)
		if err := b.handle.AddrDel(b.lo, a); err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) {
			return fmt.Errorf("take %v off lo: %w", addr, err)
		}
	}
	return nil
}

// syncInterface binds what is answered. It takes nothing back but what it bound
// and knows of, because the kernel lets the rest expire.
func (b *binder) syncInterface(assignments []Assignment, links []link) {
	for i := range assignments {
		a := &assignments[i]
		for j := range links {
			l := &links[j]
			if l.problem != "" || !l.carries(a) {
				continue
			}
			addr := host(a.Addr)
			addr.LinkIndex = l.index
			addr.Flags = unix.IFA_F_NOPREFIXROUTE
			addr.ValidLft = int(interfaceLifetime / time.Second)
			addr.PreferedLft = addr.ValidLft
			var err error
			if a.Mode == Answer {
				err = b.handle.AddrReplace(nil, addr)
			} else if err = b.handle.AddrDel(nil, addr); errors.Is(err, unix.EADDRNOTAVAIL) {
				err = nil
			}
			if err != nil {
				b.errs[a.Addr] = fmt.Errorf("bind to %s: %w", l.name, err)
			}
		}
	}
}

// close takes back what was bound, and the settings if nobody needs them.
func (b *binder) close() error {
	defer b.release()
	if b.mode != Loopback {
		return nil
	}
	err := b.syncLoopback(nil)
	if left, listErr := b.listLoopback(); listErr == nil && len(left) == 0 {
		for _, s := range b.undo {
			if writeErr := os.WriteFile(s.path, []byte(s.value), 0); writeErr != nil {
				err = errors.Join(err, fmt.Errorf("restore %s=%s: %w", s.name, s.value, writeErr))
			}
		}
	}
	return err
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

// host returns addr as netlink has it, with a prefix as long as the address.
func host(addr netip.Addr) *netlink.Addr {
	return &netlink.Addr{IPNet: &net.IPNet{IP: addr.AsSlice(), Mask: net.CIDRMask(addr.BitLen(), addr.BitLen())}}
}

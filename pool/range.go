package pool

import (
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"math"
	"math/bits"
	"net/netip"
	"strings"
)

// Range is a contiguous set of unicast addresses of one family: a single
// address, a CIDR, or everything from one address to another. It is comparable
// with ==. The zero Range holds no address and is not valid.
type Range struct {
	from, to netip.Addr
	// start is the address as it was written: the address before the slash
	// of a CIDR, host bits included, and from otherwise.
	start netip.Addr
	// bits is the prefix length of a CIDR, and 0 for anything else. No CIDR
	// has length 0, because that would include multicast addresses.
	bits uint8
}

// ParseRange parses an address ("192.168.122.100"), a CIDR
// ("192.168.122.0/24", "2001:db8::/64") or the range between two addresses,
// both included ("192.168.122.100-192.168.122.120"). There may be blanks around
// the dash and at both ends.
//
// A CIDR with host bits set, such as "192.168.122.100/24", covers the whole
// network, and its [Range.First] is the address before the slash.
//
// A range is an error if it is reversed, mixes families, has a zone, is written
// as IPv4-mapped IPv6, or includes an address that no host can have: an
// unspecified, loopback, multicast or limited broadcast address.
func ParseRange(s string) (Range, error) {
	r, err := parseRange(strings.TrimSpace(s))
	if err != nil {
		return Range{}, fmt.Errorf("range %q %w", s, err)
	}
	return r, nil
}

// MustParseRange calls [ParseRange] and panics if it fails. It is for tests and
// for ranges that are constants.
func MustParseRange(s string) Range {
	r, err := ParseRange(s)
	if err != nil {
		panic(err)
	}
	return r
}

// parseRange parses s without blanks at its ends. Its errors continue the
// sentence "range s ...".
func parseRange(s string) (Range, error) {
	var r Range
	switch from, to, dash := strings.Cut(s, "-"); {
	case s == "":
		return Range{}, errors.New("is empty")
	case strings.Contains(s, "%"):
		return Range{}, errors.New("has a zone")
	case dash:
		var err error
		if r.from, err = parseAddr(strings.TrimSpace(from)); err != nil {
			return Range{}, err
		}
		if r.to, err = parseAddr(strings.TrimSpace(to)); err != nil {
			return Range{}, err
		}
		r.start = r.from
	case strings.Contains(s, "/"):
		prefix, err := netip.ParsePrefix(s)
		if err != nil {
			return Range{}, fmt.Errorf("is not a CIDR: %w", err)
		}
		r.start = prefix.Addr()
		r.bits = uint8(prefix.Bits())
		r.from = prefix.Masked().Addr()
		r.to = lastAddr(prefix)
	default:
		addr, err := parseAddr(s)
		if err != nil {
			return Range{}, err
		}
		r.from, r.to, r.start = addr, addr, addr
	}
	return r, r.check()
}

func parseAddr(s string) (netip.Addr, error) {
	addr, err := netip.ParseAddr(s)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("has no address in %q: %w", s, err)
	}
	return addr, nil
}

// lastAddr returns the address of prefix whose host bits are all set.
func lastAddr(prefix netip.Prefix) netip.Addr {
	raw := prefix.Addr().AsSlice()
	for bit := prefix.Bits(); bit < len(raw)*8; bit++ {
		raw[bit/8] |= 0x80 >> (bit % 8)
	}
	last, _ := netip.AddrFromSlice(raw)
	return last
}

// unusable lists the addresses that no host can be reached at.
var unusable = []struct {
	span
	what string
}{
	{spanOf("0.0.0.0", "0.0.0.0"), "the unspecified address"},
	{spanOf("127.0.0.0", "127.255.255.255"), "a loopback address"},
	{spanOf("224.0.0.0", "239.255.255.255"), "a multicast address"},
	{spanOf("255.255.255.255", "255.255.255.255"), "the limited broadcast address"},
	{spanOf("::", "::"), "the unspecified address"},
	{spanOf("::1", "::1"), "a loopback address"},
	{spanOf("::ffff:0:0", "::ffff:ffff:ffff"), "an IPv4-mapped IPv6 address"},
	{spanOf("ff00::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"), "a multicast address"},
}

// check says what is wrong with r, which came out of parsing.
func (r Range) check() error {
	switch {
	case r.from.Is4() != r.to.Is4():
		return errors.New("mixes IPv4 and IPv6")
	case r.to.Less(r.from):
		return errors.New("is reversed: its end is below its start")
	}
	for _, u := range unusable {
		switch {
		case !u.overlaps(r.span()):
		case r.from == r.to:
			return fmt.Errorf("is %s", u.what)
		case u.contains(r.from):
			return fmt.Errorf("includes %s, %v", u.what, r.from)
		default:
			return fmt.Errorf("includes %s, %v", u.what, u.from)
		}
	}
	return nil
}

// IsValid reports whether r is not the zero Range.
func (r Range) IsValid() bool { return r.from.IsValid() }

// From returns the lowest address of r: of a CIDR the network address, or the
// Subnet-Router anycast address. It is the zero Addr if r is not valid.
func (r Range) From() netip.Addr { return r.from }

// To returns the highest address of r, the broadcast address of an IPv4 CIDR.
// It is the zero Addr if r is not valid.
func (r Range) To() netip.Addr { return r.to }

// First returns the address that automatic allocation gives first. That is the
// address before the slash of a CIDR, or the lowest host address if what is
// written there is not for hosts: the network or broadcast address of an IPv4
// CIDR of /30 or shorter, the Subnet-Router anycast address of an IPv6 CIDR of
// /126 or shorter. It is From for everything else, and the zero Addr if r is not
// valid.
func (r Range) First() netip.Addr {
	if hosts := r.hosts(); !hosts.contains(r.start) {
		return hosts.from
	}
	return r.start
}

// Contains reports whether addr is in r. An IPv4-mapped IPv6 address is in no
// range, and neither is an address with a zone.
func (r Range) Contains(addr netip.Addr) bool {
	return r.IsValid() && addr.Zone() == "" && r.span().contains(addr)
}

// Overlaps reports whether any address is in both r and o.
func (r Range) Overlaps(o Range) bool {
	return r.IsValid() && o.IsValid() && r.span().overlaps(o.span())
}

// Len returns the number of addresses in r, and [math.MaxUint64] if there are
// more than that, as in an IPv6 /64. It is 0 if r is not valid.
func (r Range) Len() uint64 {
	if !r.IsValid() {
		return 0
	}
	fromHigh, fromLow := halves(r.from)
	toHigh, toLow := halves(r.to)
	low, borrow := bits.Sub64(toLow, fromLow, 0)
	high, _ := bits.Sub64(toHigh, fromHigh, borrow)
	if high != 0 || low == math.MaxUint64 {
		return math.MaxUint64
	}
	return low + 1
}

// halves returns addr as a number of 128 bits.
func halves(addr netip.Addr) (high, low uint64) {
	raw := addr.As16()
	return binary.BigEndian.Uint64(raw[:8]), binary.BigEndian.Uint64(raw[8:])
}

// All yields every address of r once, [Range.First] first, then upwards,
// wrapping around from To to From. Automatic allocation takes this order, and
// leaves out the addresses of a CIDR that are not for hosts, which All yields
// too. It yields nothing if r is not valid.
func (r Range) All() iter.Seq[netip.Addr] {
	return func(yield func(netip.Addr) bool) {
		if !r.IsValid() {
			return
		}
		for _, s := range r.span().startingAt(r.First()) {
			for addr := s.from; ; addr = addr.Next() {
				if !yield(addr) {
					return
				}
				if addr == s.to {
					break
				}
			}
		}
	}
}

// String returns r in the form that it was parsed from, without blanks, so that
// [ParseRange] gives r again. A range between equal addresses becomes that
// address. It returns "invalid Range" if r is not valid.
func (r Range) String() string {
	switch {
	case !r.IsValid():
		return "invalid Range"
	case r.bits > 0:
		return netip.PrefixFrom(r.start, int(r.bits)).String()
	case r.from == r.to:
		return r.from.String()
	default:
		return r.from.String() + "-" + r.to.String()
	}
}

// MarshalText implements [encoding.TextMarshaler]. The text is that of String,
// or empty if r is not valid.
func (r Range) MarshalText() ([]byte, error) {
	if !r.IsValid() {
		return nil, nil
	}
	return []byte(r.String()), nil
}

// UnmarshalText implements [encoding.TextUnmarshaler] with [ParseRange]. Empty
// text gives the zero Range, as it does for [netip.Addr].
func (r *Range) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*r = Range{}
		return nil
	}
	parsed, err := ParseRange(string(text))
	if err != nil {
		return err
	}
	*r = parsed
	return nil
}

func (r Range) span() span { return span{r.from, r.to} }

// hosts returns what automatic allocation may give: all of r, but of a CIDR with
// more than two addresses neither the network and broadcast addresses (RFC 3021
// has none in a /31) nor the Subnet-Router anycast address (RFC 6164 has none in
// a /127).
func (r Range) hosts() span {
	switch {
	case r.bits == 0 || int(r.bits) > r.from.BitLen()-2:
		return r.span()
	case r.from.Is4():
		return span{r.from.Next(), r.to.Prev()}
	default:
		return span{r.from.Next(), r.to}
	}
}

package main

import (
	"flag"
	"net/netip"
	"strconv"

	"github.com/mdlayher/ethernet"
)

// family is what differs when the scenario is played over IPv4 or IPv6. Each
// address begins with the network's part, and ends alike in both.
type family struct {
	network   string     // what all addresses begin with
	bits      int        // the length of the network's prefix
	all       netip.Addr // to listen on all addresses
	loopback  netip.Addr
	etherType ethernet.EtherType // of the frames that say who has an address
}

var (
	overIPv4 = family{
		network: "192.168.122.", bits: 24,
		all: netip.IPv4Unspecified(), loopback: netip.MustParseAddr("127.0.0.1"),
		etherType: ethernet.EtherTypeARP,
	}
	overIPv6 = family{
		network: "2001:db8:122::", bits: 64,
		all: netip.IPv6Unspecified(), loopback: netip.IPv6Loopback(),
		etherType: ethernet.EtherTypeIPv6,
	}
)

// familyFlag adds the flag -6, which sets f.
func familyFlag(flags *flag.FlagSet, f *family) {
	*f = overIPv4
	flags.BoolFunc("6", "IPv6 instead of IPv4", func(text string) error {
		six, err := strconv.ParseBool(text)
		if *f = overIPv4; six {
			*f = overIPv6
		}
		return err
	})
}

// flag is the argument that says the family to a program.
func (f family) flag() string { return "-6=" + strconv.FormatBool(f == overIPv6) }

// prefix is an address, by what it ends with, and the network.
func (f family) prefix(end string) netip.Prefix {
	return netip.PrefixFrom(netip.MustParseAddr(f.network+end), f.bits)
}

// addr is the address of a node.
func (f family) addr(of place) netip.Addr { return f.prefix(of.end).Addr() }

package announce

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/l2vip/l2vip/internal/conferr"
)

// Mode is what an Announcer does for an address.
type Mode uint8

const (
	// Standby, the zero value, only makes the kernel accept traffic for the
	// address, as Config.Bind says: nothing is answered.
	Standby Mode = iota
	// Probe asks whether another station uses the address, and reports what
	// it heard. Nothing is answered.
	Probe
	// Answer announces the address and answers for it.
	Answer
)

// String returns the name of the mode.
func (m Mode) String() string {
	switch m {
	case Standby:
		return "standby"
	case Probe:
		return "probe"
	case Answer:
		return "answer"
	}
	return fmt.Sprintf("mode %d", uint8(m))
}

// Assignment is what shall be done for one address.
type Assignment struct {
	// Addr is the address, without a zone. An IPv6 address of link scope
	// (fe80::/10) belongs to an interface: Interfaces must name it, and
	// Config.Bind must not be Loopback.
	Addr netip.Addr
	// Interfaces are the names of the interfaces that the address belongs on.
	// One that ends in * stands for all whose names begin with what is before
	// it. None stands for every interface with a subnet that contains the
	// address. Left out, and reported with the reason, are ports of a bridge, a
	// bond or the like, interfaces without ARP, point-to-point ones, and what is
	// no Ethernet. Of several interfaces that have one subnet, the one with the
	// lowest index is used of those that are up. The network and broadcast addresses
	// of an interface's own IPv4 subnet are not announced on it. The slice is kept: it
	// must not be changed afterwards.
	Interfaces []string
	// Mode is what to do. The zero value is Standby.
	Mode Mode
	// Claim tells claims apart: with Answer, each new value announces the
	// address again at once, and repeats that.
	Claim uint64
	// Defense tells defenses apart: with Answer, each new value announces the
	// address once more at once, without repeats, as one that is defended is
	// (RFC 5227 section 2.4).
	Defense uint64
	// Quiet answers for the address and sends no announcements.
	Quiet bool
}

// Equal reports whether the two are the same.
func (a Assignment) Equal(b Assignment) bool {
	return a.Addr == b.Addr && a.Mode == b.Mode && a.Claim == b.Claim && a.Defense == b.Defense && a.Quiet == b.Quiet &&
		slices.Equal(a.Interfaces, b.Interfaces)
}

// limitedBroadcast is everybody on the segment (RFC 919).
var limitedBroadcast = netip.AddrFrom4([4]byte{255, 255, 255, 255})

// Validate returns what is wrong with the assignments, where addresses are bound so:
// an error that joins a *ConfigError for each. Set takes what it finds good.
func Validate(assignments []Assignment, bind Bind) error {
	var errs conferr.List
	seen := make(map[netip.Addr]int, len(assignments))
	for i := range assignments {
		a := &assignments[i]
		wrong := func(field, format string, args ...any) {
			errs.Addf(fmt.Sprintf("[%d].%s", i, field), format, args...)
		}
		if j, ok := seen[a.Addr]; ok {
			wrong("Addr", "%v is also in [%d]", a.Addr, j)
		}
		seen[a.Addr] = i
		linkLocal := a.Addr.Is6() && a.Addr.IsLinkLocalUnicast()
		switch {
		case !a.Addr.IsValid():
			wrong("Addr", "missing")
		case a.Addr.Zone() != "":
			wrong("Addr", "%v has a zone: name the interface in Interfaces", a.Addr)
		case a.Addr.Is4In6():
			wrong("Addr", "%v is an IPv4 address written as IPv6: write %v", a.Addr, a.Addr.Unmap())
		case a.Addr.IsUnspecified() || a.Addr.IsLoopback() || a.Addr.IsMulticast() || a.Addr == limitedBroadcast:
			wrong("Addr", "%v is no unicast address of a network", a.Addr)
		case linkLocal && bind == Loopback:
			wrong("Addr", "%v belongs to one interface, so it can't be bound to lo: Config.Bind must be Interface or None", a.Addr)
		}
		if linkLocal && len(a.Interfaces) == 0 {
			wrong("Interfaces", "missing: %v belongs to an interface that has to be named", a.Addr)
		}
		if a.Mode > Answer {
			wrong("Mode", "%d is no mode", a.Mode)
		}
		for _, pattern := range a.Interfaces {
			if why := wrongName(pattern); why != "" {
				wrong("Interfaces", "%q: %s", pattern, why)
			}
		}
	}
	return errs.Err()
}

// ValidateInterface returns what is wrong with an element of Assignment.Interfaces,
// by what the kernel takes for the name of an interface.
func ValidateInterface(pattern string) error {
	if why := wrongName(pattern); why != "" {
		return fmt.Errorf("%q: %s", pattern, why)
	}
	return nil
}

// wrongName returns what is wrong with an element of Assignment.Interfaces, by
// what the kernel takes for the name of an interface; nothing if it is empty.
func wrongName(pattern string) string {
	name, open := strings.CutSuffix(pattern, "*")
	switch {
	case pattern == "":
		return "an empty name"
	case strings.Contains(name, "*"):
		return "a * stands at the end only"
	case len(name) > 15:
		return "longer than the 15 bytes of an interface's name"
	case strings.ContainsAny(name, "/:") || strings.ContainsFunc(name, unicode.IsSpace):
		return "no interface's name has a slash, a colon or white space"
	case !open && (name == "." || name == ".."):
		return "no interface's name"
	}
	return ""
}

// Problem says why nothing can be done for an address.
type Problem uint8

const (
	// NoProblem is the zero value: the address can be announced.
	NoProblem Problem = iota
	// NoInterface means that there is no interface for the address.
	NoInterface
	// LinkDown means that all interfaces for it are down or have no carrier.
	LinkDown
	// NotBound means that the kernel would not accept traffic for it.
	NotBound
)

// String returns the problem in words.
func (p Problem) String() string {
	switch p {
	case NoProblem:
		return "none"
	case NoInterface:
		return "no interface for it"
	case LinkDown:
		return "link down"
	case NotBound:
		return "not bound"
	}
	return fmt.Sprintf("problem %d", uint8(p))
}

// ProbeResult is what came of a probe.
type ProbeResult uint8

const (
	// Unknown is the zero value: not probed, or not done yet.
	Unknown ProbeResult = iota
	// Clear means that no other station uses the address.
	Clear
	// Conflict means that another one does, or is about to.
	Conflict
)

// Facts are what an Announcer knows, a whole picture each time. They are
// immutable.
type Facts struct {
	// Links are the interfaces that the assignments name, also by a pattern, or
	// that have a subnet for one of them, by name.
	Links []Link
	// Addresses has one element for each assignment that has been applied, by
	// address. One that is to be bound for the first time is left out until
	// that has been tried.
	Addresses []Address
	// Repairs is how often a kernel setting that addresses on lo need was found
	// changed by somebody, and was set again.
	Repairs uint64
}

// Link is an interface.
type Link struct {
	// Name is the name of the interface.
	Name string
	// Index is the kernel's number for it; zero if there is no such interface.
	Index int
	// HardwareAddr is its Ethernet address; nil or zero if it has none.
	HardwareAddr net.HardwareAddr
	// Prefixes are its addresses with their subnets, but for those of a single
	// address and IPv6 ones of link scope.
	Prefixes []netip.Prefix
	// Silent says that no other station was heard on it for a while, though
	// known neighbors were asked: this host may be cut off. Where the kernel
	// knows no neighbor nobody can be asked, so it is true of any quiet segment.
	// It is false while nothing is answered on the interface.
	Silent bool
	// Problem says why it can't be used, for people: "down", "port of br0";
	// empty if it can.
	Problem string
}

// Address is what is known of one assigned address.
type Address struct {
	// Addr, Mode and Claim are those of the assignment.
	Addr  netip.Addr
	Mode  Mode
	Claim uint64
	// Links are the names of the usable interfaces for it.
	Links []string
	// Problem is why it could not be announced, or NoProblem.
	Problem Problem
	// Detail says more of the problem, for people.
	Detail string
	// Probe is what came of the probe; Unknown unless Mode is Probe.
	Probe ProbeResult
	// Announced is when the first announcement of the claim was sent; zero if
	// none was yet, or Mode is not Answer.
	Announced time.Time
	// Rival is the hardware address of another station that claims the
	// address, the latest one, or nil if none was seen since the mode or the
	// claim last changed.
	Rival net.HardwareAddr
	// Sightings is how many such frames were seen since the address was first
	// assigned. The first is reported at once, more of them once a second.
	Sightings uint64
	// Configured is the interface on which somebody else has configured the address on
	// this host; empty if there is none. Its kernel answers for it then, whatever this
	// Announcer does.
	Configured string
}

// repeats are the pauses before the announcements that repeat the first one.
var repeats = [...]time.Duration{
	50 * time.Millisecond, 200 * time.Millisecond, 750 * time.Millisecond, time.Second, 2 * time.Second,
}

// announceAfter returns when the announcement that follows the first n of a
// claim is due, counted from the one before it: five repeats over some seconds,
// then a refresh with jitter. spread is a random number below 1.
func announceAfter(n int, refresh time.Duration, spread float64) time.Duration {
	if n <= len(repeats) {
		return repeats[n-1]
	}
	return refresh*3/4 + time.Duration(spread*float64(refresh)/2)
}

// isRefresh reports whether the n-th announcement of a claim is a refresh.
func isRefresh(n int) bool { return n > len(repeats)+1 }

// rivalProbeAfter returns the pause before the next probe for a rival.
func rivalProbeAfter(most time.Duration, spread float64) time.Duration {
	return most - time.Duration(spread*float64(most)/4)
}

// The probe of RFC 5227 section 2.1.1 with shorter intervals (section 1.1 has
// seconds): a first claim shall be clear in a few hundred milliseconds.
const (
	probeNum      = 3
	probeInterval = 75 * time.Millisecond
	probeWait     = 100 * time.Millisecond // after the last one
)

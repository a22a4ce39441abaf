package segment

import (
	"net/netip"
	"slices"
	"time"

	"github.com/l2vip/l2vip/election"
)

// State is what a member says of itself: a whole picture each time.
type State struct {
	// Links are the interfaces to beat on.
	Links []Link
	// Offer is the member's offer, with its Instance and Revision. An offer with a
	// higher Revision is sent at once; one without a Revision is not sent at all.
	// Neither it nor what it refers to may change afterwards.
	Offer election.Offer
	// Membership is where others may join the member's membership engine, as
	// host:port; empty if nowhere.
	Membership string
	// Lease is for how long the member goes on answering for what it holds after a
	// beat, should its process not run meanwhile: the others leave it the time. At
	// most MaxLease. If zero, it promises nothing.
	Lease time.Duration
	// Epoch numbers the questions 'who is heard from now on?'. See Peer.Epoch.
	Epoch uint64
	// Stations returns stations on a link that were heard lately and may be asked for a
	// sign of life, besides those that the kernel knows. It is called on the thread that
	// beats and must not block. If nil, there are none.
	Stations func(link int) []Neighbor
	// Valid is asked before each beat, on the thread that beats, whether the member
	// still acts on what Offer says it holds; if not, the beat says that it is
	// fenced and holds nothing. It must not block. If nil, it always does.
	Valid func() bool
	// Sent is called on the thread that beats after each beat that was sent, with
	// how long ago that began. It must not block. If nil, nothing is called.
	Sent func(ago time.Duration)
}

// Link is an interface to beat on.
type Link struct {
	// Index is the kernel's number for it.
	Index int
	// HardwareAddr is its Ethernet address.
	HardwareAddr [6]byte
	// Addr is an address of this host on the link that its kernel answers for by
	// ARP or NDP: proof that the host is alive when this process is not scheduled.
	// Invalid if there is none.
	Addr netip.Addr
}

// Report is what a member knows of its segments: a whole picture each time. It is
// immutable.
type Report struct {
	// Peers are the other members that were heard, by name; of several that use one
	// name, the one that counts.
	Peers []Peer
	// Links are the links of the State that are open, by index.
	Links []LinkReport
	// Namesakes are live members that use a name which another live member has, and
	// started later than that one; also those with this member's own name, whichever
	// of the two started later.
	Namesakes []Namesake
}

// LinkReport is what is known of a link of this host.
type LinkReport struct {
	// Index is the kernel's number for it.
	Index int
	// Since is when beats were first sent on it since it was opened, by the clock of
	// package internal/clock. Zero if none was.
	Since time.Duration
	// Isolated says that no other station is heard on it at all, though members were
	// heard before and every station that is known was asked.
	Isolated bool
	// Stations says that other stations than members are known on it.
	Stations bool
	// Unheard says that of the members which are heard on it, and are not isolated
	// themselves, none hears this one.
	Unheard bool
}

// Peer is another member.
type Peer struct {
	// Node is its name.
	Node string
	// Instance tells its starts apart.
	Instance uint64
	// Offer is its newest offer that has arrived; nil if none has. It may be older
	// than Revision.
	Offer *election.Offer
	// Revision is that of the offer that it last told of.
	Revision uint64
	// HoldsAsOffered says that it holds just what Offer says that it holds. If false
	// and Revision is newer than Offer's, it is not known what it holds.
	HoldsAsOffered bool
	// HoldsNothing says that it holds nothing.
	HoldsNothing bool
	// Fenced says that its process did not run in time: whatever Offer says, it
	// answers for nothing now.
	Fenced bool
	// Epoch is that of the State, when it was last heard.
	Epoch uint64
	// Membership is where its membership engine listens; empty if nowhere.
	Membership string
	// Interval is the time between its beats.
	Interval time.Duration
	// Rows are what is known of it on each link that it was heard on, by index.
	Rows []Row
}

// Heard reports whether its beats arrive on a link, its own or by other members' word.
func (p *Peer) Heard() bool {
	return slices.ContainsFunc(p.Rows, func(r Row) bool { return r.State == Up || r.State == Suspect })
}

// Row is what is known of a member on one link.
type Row struct {
	// Link is the index of the link.
	Link int
	// State is whether it is alive there.
	State PeerState
	// HardwareAddr is where its beats come from.
	HardwareAddr [6]byte
	// Addr is its own address on that link; invalid if it has told none.
	Addr netip.Addr
	// Leased says that it may still answer for what it holds, though its beats are
	// missing: its last one is not longer ago than its lease, and it was not found
	// out that its kernel does not answer either. Where its process has ended, only its
	// kernel may.
	Leased bool
	// Isolated says that it hears no other station there, as it says itself.
	Isolated bool
	// Unheard says that it does not hear this member there, and heard it before or
	// had the time to.
	Unheard bool
	// Heard is when it was last heard, by the clock of package internal/clock. It
	// is not kept up to date while nothing else changes.
	Heard time.Duration
}

// PeerState is whether a member is alive on a link.
type PeerState uint8

const (
	// Up: its beats arrive, or others hear them.
	Up PeerState = iota
	// Suspect: its beats are missing, and the others and its kernel are being asked.
	Suspect
	// Stalled: its beats are missing and its kernel answers, so its process does not
	// run, or its beats are filtered out.
	Stalled
	// Ended: its beats are missing, and its kernel says that its process has ended.
	Ended
	// Unreachable: its beats are missing, its kernel does not answer, and none of
	// the others hears it.
	Unreachable
	// Left: it has said that it stops.
	Left
)

// String returns the state in words.
func (s PeerState) String() string {
	return [...]string{"up", "suspect", "stalled", "ended", "unreachable", "left"}[s]
}

// Namesake is a live member with a name that another one has.
type Namesake struct {
	// Node is the name.
	Node string
	// Instance is that of the start.
	Instance uint64
	// HardwareAddr is where its beats come from.
	HardwareAddr [6]byte
	// Addr is its own address there; invalid if it has told none.
	Addr netip.Addr
}

// Ethernet is a network of links, in place of the kernel's: for tests in memory,
// and for programs that bring their own way to the wire.
type Ethernet interface {
	// Open opens a link. An error is tried again.
	Open(Link) (Port, error)
	// Neighbors returns some stations on the link that may be asked for a sign of
	// life.
	Neighbors(link int) []Neighbor
	// Listen opens a UDP port at all addresses of this host, for as long as the process
	// runs, and discards what comes: that it is closed tells the others that the process
	// has ended.
	Listen() (port uint16, err error)
	// ProbePort sends an empty datagram to such a port of another member, and calls
	// closed, from any goroutine, if the kernel there says that it is closed. It returns
	// at once.
	ProbePort(to netip.AddrPort, closed func())
}

// Port is an open link.
type Port interface {
	// Read waits for a frame that is for this station, all stations or a group, and
	// copies it to b. After Close it returns an error.
	Read(b []byte) (int, error)
	// Write sends a frame.
	Write(frame []byte) (int, error)
	// Close closes the port.
	Close() error
}

// Neighbor is a station on a link.
type Neighbor struct {
	// Addr is its address, and HardwareAddr its Ethernet address.
	Addr         netip.Addr
	HardwareAddr [6]byte
}

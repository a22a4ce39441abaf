package election

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
)

// Reason says why a member is no candidate for an address. The numbers are part
// of the protocol between members and never change their meaning.
type Reason uint8

// The reasons, in the order in which a member checks them.
const (
	// Offered is the zero value: the member is a candidate.
	Offered Reason = 0
	// NotSelected means that no advertisement selects the member for the address.
	NotSelected Reason = 1
	// NoInterface means that no interface of the member may carry the address.
	NoInterface Reason = 2
	// LinkDown means that every interface for the address is down or has no carrier.
	LinkDown Reason = 3
	// NotBound means that the member's kernel would not accept traffic for the address.
	NotBound Reason = 4
	// NotReady means that the service behind the address is not healthy on the member.
	NotReady Reason = 5
	// Draining means that the member is handing its addresses over, to stop or for maintenance.
	Draining Reason = 6
	// Joining means that the member does not know the others yet.
	Joining Reason = 7
	// Disputed means that a station outside of the cluster uses the address.
	Disputed Reason = 8
	// Isolated means that the member hears no other station on the segments of the
	// address, though there are some.
	Isolated Reason = 9
	// Unheard means that none of the members which the member hears on the segments
	// of the address hears it.
	Unheard Reason = 10
	// Damped means that the link of the address failed soon after it had come up.
	Damped Reason = 11
	// Fenced means that the member's process did not run in time, and the others
	// were not heard since.
	Fenced Reason = 12
	// NameTaken means that a member which started earlier has the member's name.
	NameTaken Reason = 13
	// Unconfirmed means that the member has changed its offer, and the new one has
	// not arrived. No member says that of itself.
	Unconfirmed Reason = 14
	// Unreachable means that the member is not heard on the segments of the address.
	// No member says that of itself.
	Unreachable Reason = 15
)

var reasonNames = [...]string{
	Offered:     "offered",
	NotSelected: "not selected by an advertisement",
	NoInterface: "no interface for it",
	LinkDown:    "link down",
	NotBound:    "not bound",
	NotReady:    "service not ready",
	Draining:    "draining",
	Joining:     "joining",
	Disputed:    "disputed by another station",
	Isolated:    "no other station is heard",
	Unheard:     "not heard by the other members",
	Damped:      "link failed again and again",
	Fenced:      "process did not run in time",
	NameTaken:   "another member has its name",
	Unconfirmed: "its newest offer has not arrived",
	Unreachable: "not heard on the segment",
}

// String returns the reason in words.
func (r Reason) String() string {
	if int(r) < len(reasonNames) {
		return reasonNames[r]
	}
	return fmt.Sprintf("reason %d", uint8(r))
}

// HardwareAddr is an Ethernet address. Unlike [net.HardwareAddr] it can be
// compared and used as a key.
type HardwareAddr [6]byte

// String returns the address as six hexadecimal bytes joined by colons.
func (a HardwareAddr) String() string {
	return fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x", a[0], a[1], a[2], a[3], a[4], a[5])
}

// Entry is what a member says of one address.
type Entry struct {
	// Addr is the address: valid, without a zone and not IPv4-mapped.
	Addr netip.Addr
	// Service is the name of the service that the address is for, of at most
	// 512 bytes. A member that names another service than the holder, or than
	// most members do, is no candidate.
	Service string
	// Reason is why the member is no candidate. The zero value says that it is one.
	Reason Reason
	// Weight ranks candidates: the greatest wins, before any hashing.
	Weight uint32
	// Settled says that the member has been a candidate for long enough to
	// take the address back from a holder that ranks behind it. The member
	// times that itself, so the election needs no clock.
	Settled bool
	// Holds says that the member answers for the address.
	Holds bool
	// Term is the term of the member's claim if it holds, and otherwise the
	// highest term that it has ever seen for the address, or has raised that to
	// when it withdrew before another holder.
	Term uint64
	// From is the member that the holder has the address from by a hand-over:
	// the claim was made while From was alive and held. Empty if the holder
	// was gone, or if there was none.
	From string
	// Isolated says that the holder was out of touch: it heard no other station
	// on the interfaces that it announces the address on, or its process did not
	// run for longer than its lease. It stands while two holders meet.
	Isolated bool
}

// Offer is everything that a member says of itself and of the addresses. It is
// pushed whole: of two offers of one node the one with the higher Instance, and
// then the higher Revision, stands, and the other is void.
type Offer struct {
	// Node is the member's name, unique in the cluster, of 1 to 512 bytes.
	Node string
	// Instance tells the starts of one node apart; a later start has a higher
	// one. It is the same whichever way the offer travels.
	Instance uint64
	// Revision counts the offers of an instance.
	Revision uint64
	// Config is a digest of what must be configured alike on all members.
	Config uint64
	// Members is the number of members, itself included, that the member has
	// seen lately at the least. It stands still while two holders meet, so it
	// is the membership that each saw while they were apart.
	Members uint32
	// Labels are the labels of the node, at most MaxLabels with keys and values of at
	// most 512 bytes.
	Labels map[string]string
	// Hardware are the hardware addresses that the member announces from.
	Hardware []HardwareAddr
	// Entries has one entry for each configured address, ascending by address, at
	// most MaxEntries.
	// None says that the member has offered nothing yet.
	Entries []Entry
}

// Newer reports whether o replaces old, another offer of the same node. No offer
// is newer than itself.
func (o *Offer) Newer(old *Offer) bool {
	if o.Instance != old.Instance {
		return o.Instance > old.Instance
	}
	return o.Revision > old.Revision
}

// Equal reports whether the two say the same, whatever their Instance and
// Revision.
func (o *Offer) Equal(other *Offer) bool {
	return o.Node == other.Node && o.Config == other.Config && o.Members == other.Members &&
		maps.Equal(o.Labels, other.Labels) && slices.Equal(o.Hardware, other.Hardware) && slices.Equal(o.Entries, other.Entries)
}

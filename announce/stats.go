package announce

import (
	"fmt"
	"sync/atomic"
)

// Stats counts what happened since the Announcer was made. What the kernel's
// filter leaves out is no business of the Announcer and not counted: frames for
// another station, of a VLAN, or sent by this host, and IPv6 packets that are
// neither a neighbor solicitation nor a neighbor advertisement.
type Stats struct {
	Requests  uint64 // ARP requests and neighbor solicitations for an address that is answered
	Replies   uint64 // answers sent
	Announced uint64 // gratuitous ARP frames and unsolicited neighbor advertisements sent
	Probes    uint64 // probes sent
	Sightings uint64 // frames of other stations that claim an address of ours

	// Dropped counts the frames received that were neither answered nor
	// believed, by reason: Dropped[DropChecksum].
	Dropped [dropReasons]uint64
	// SendErrors counts the frames that the kernel did not take.
	SendErrors uint64
}

// Drop is a reason to drop a frame that was received.
type Drop uint8

const (
	// DropOther is no fault: the frame concerns no address that is answered,
	// probed or watched here.
	DropOther Drop = iota
	// DropShort: the frame ends before the packet does, or the lengths in it
	// contradict each other.
	DropShort
	// DropForeign: ARP for another hardware or protocol than Ethernet and IPv4.
	DropForeign
	// DropOperation: ARP that is neither a request nor a reply.
	DropOperation
	// DropSender: the sender's hardware address is zero or a group's, or its
	// IP address is no unicast address.
	DropSender
	// DropHopLimit: the hop limit is not 255, so a router has forwarded it (RFC
	// 4861 section 7.1).
	DropHopLimit
	// DropCode: the ICMP code is not 0.
	DropCode
	// DropChecksum: the ICMP checksum is wrong.
	DropChecksum
	// DropTarget: the target address is multicast.
	DropTarget
	// DropOption: an option has length 0, exceeds the packet, or is a
	// link-layer address that is none of a station on Ethernet.
	DropOption
	// DropUnspecified: a solicitation from the unspecified address that is not
	// sent to a solicited-node address, or has a source link-layer option.
	DropUnspecified
	// DropSolicited: an advertisement to a group with the solicited flag (RFC
	// 4861 section 7.1.2).
	DropSolicited
	// DropLease: a request while the lease had run out.
	DropLease
	// DropOverrun: the kernel had no room for the frame, because more came than
	// could be read.
	DropOverrun

	dropReasons = iota
)

var dropNames = [dropReasons]string{
	DropOther: "other", DropShort: "short", DropForeign: "foreign", DropOperation: "operation",
	DropSender: "sender", DropHopLimit: "hop-limit", DropCode: "code", DropChecksum: "checksum",
	DropTarget: "target", DropOption: "option", DropUnspecified: "unspecified",
	DropSolicited: "solicited", DropLease: "lease", DropOverrun: "overrun",
}

// String returns a short name of the reason, such as "hop-limit".
func (d Drop) String() string {
	if int(d) < len(dropNames) {
		return dropNames[d]
	}
	return fmt.Sprintf("drop %d", uint8(d))
}

// counters are the counters behind Stats.
type counters struct {
	requests, replies, announced, probes, sightings, sendErrors atomic.Uint64
	dropped                                                     [dropReasons]atomic.Uint64
}

func (c *counters) drop(why Drop) { c.dropped[why].Add(1) }

func (c *counters) load() Stats {
	s := Stats{
		Requests: c.requests.Load(), Replies: c.replies.Load(), Announced: c.announced.Load(),
		Probes: c.probes.Load(), Sightings: c.sightings.Load(), SendErrors: c.sendErrors.Load(),
	}
	for i := range s.Dropped {
		s.Dropped[i] = c.dropped[i].Load()
	}
	return s
}

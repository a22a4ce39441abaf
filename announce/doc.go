// Package announce is the wire of l2vip: it makes this host the one that answers
// for virtual IP addresses on its Ethernet segments, and tells what it sees there.
// It decides nothing. Who shall own an address is told by [Announcer.Set] and
// [Announcer.Renew]; what came of it, and what other stations do, goes back as
// [Facts]. IPv4 is spoken with ARP; IPv6 is refused with [errors.ErrUnsupported]
// for now.
//
//	Set ──► assignments ─────────────┐                    Renew ──► lease
//	         │ fill, before            │ at once                       │
//	         │ Set returns             ▼                               │
//	         │              ┌────────────────────┐  one address        │
//	         │   list       │     Run's loop     ├────────────► binder ┼─► lo, or
//	         │  ┌───────────┤                    │  after the          │   the interface
//	         │  │           │  claims by address │  other              │
//	         │  │           │  queue by time     ├────────► report(Facts)
//	         │  │           └─┬───────▲──────────┘                     │
//	         │  │   announce, │       │ other stations' claims,        │
//	         │  │   probe     │       │ one for each address           │
//	         ▼  │             ▼       │                                │
//	       ┌────┼────────────────┐    │                                │
//	       │  port: eth0         ├────┘                                │
//	       │  table by address   │◄──── responder ◄────────────────────┘
//	       └────┼──────────▲─────┘      one goroutine for each interface
//	            │          │
//	        watcher     AF_PACKET socket with a filter
//	        (netlink)
//
// Everything belongs to the goroutine of [Announcer.Run], but for two things. A
// responder, one for each interface in use, looks each request up in its table
// and answers, whatever else happens: it takes the same time for one address as
// for ten thousand, and allocates nothing. And Set fills the tables itself. A
// frame is sent only under the lock of its table, so when Set has returned
// nothing is answered or announced any more for an address that it took away.
//
// # What is answered and announced
//
// An address with the mode [Answer] is answered on every usable interface that
// the assignment names or, if it names none, that has a subnet for it: requests
// that are broadcast or sent to the interface itself, probes too, once each.
// Nothing else is: no other mode, no other interface, no frame for another
// station, no VLAN, nothing malformed, nothing once the lease has run out.
//
// The first announcement is sent at once, in the form of a request and of a
// reply; five repeats follow over four seconds; then comes a refresh each
// [Config.Refresh] with jitter. A new [Assignment.Claim], an interface that comes
// up, also one that was only down for a moment, another hardware address, or
// another interface for the address begin anew. Of many addresses the first
// announcement of each is sent before the second of any.
//
// # Probes and rivals
//
// With the mode [Probe] three probes are sent within 150 ms, and if nobody has
// claimed the address or probed for it 100 ms after the last one, the result is
// [Clear]. While an address is answered another station that claims it is
// reported as [Address].Rival. Frames with the hardware address of any
// interface of this host mean nothing. Under a flood of claims there is a report
// now and then, with the latest for each address.
//
// # The lease
//
// A process that was stopped, starved or suspended does not know what happened
// meanwhile. So each answer and each announcement first looks whether the lease
// that Renew gave holds, by a clock that goes on during all of these. What was
// due meanwhile is dropped. An Announcer that is never renewed has no lease, and
// answers until it is told otherwise.
//
// # Binding
//
// See [Loopback], [Interface] and [None]. With Loopback an assigned address is
// bound in every mode. What is bound is noticed when somebody takes it away:
// that is reported as [NotBound], and repaired. What others have bound is used
// and left alone. An address on lo that is ours is known by its label, "lo:l2-"
// and a name whose owner holds the abstract Unix socket "@l2vip/lo:l2-…"; a label
// without an owner is that of a killed process, whose addresses the next one
// takes over without taking them off first.
//
// # What can go wrong
//
// Run ends with an error only when nothing could be announced rightly: a missing
// capability, settings that can't be made, no netlink. An interface that is
// absent, down or broken is a fact; what fails without the kernel telling when
// it will work is tried again with growing pauses, and logged once.
//
// # What the RFCs ask, and the tests that show it
//
//	RFC 826, Packet Reception  reply to a request, sender as it came     TestReplyTo, TestAnswersOnce
//	                           check htype, ptype and lengths            TestNeverAnswers, FuzzARP
//	RFC 5227 section 1.1       an ARP probe, an ARP announcement         TestGratuitousAndProbe
//	RFC 5227 section 2.1.1     probing before use; a claim or another's
//	                           probe meanwhile is a conflict             TestProbe…
//	RFC 5227 section 2.3       announcing after a claim                  TestAnnouncesAtOnceInBothForms
//	RFC 5227 section 2.4       noticing a conflict while in use          TestRivalIsAFact
//	RFC 5227 section 3         announcements are requests; a reply form
//	                           for hosts that learn only from those      TestAnnouncesAtOnceInBothForms
//	IEEE 802.1Q                a tag with VID 0 carries a priority only  TestAnswersOnce, TestNeverAnswers
//
// Probing is faster than RFC 5227 section 1.1 has it, whose seconds are for
// hosts that come up: 3 probes 75 ms apart and 100 ms of waiting.
package announce

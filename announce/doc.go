// Package announce is the wire of l2vip: it makes this host the one that answers
// for virtual IP addresses on its Ethernet segments, by ARP for IPv4 and by NDP
// for IPv6, and tells what it sees there. It decides nothing. Who shall own an
// address is told by [Announcer.Set] and [Announcer.Renew]; what came of it, and
// what other stations do, goes back as [Facts].
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
//	       │  ports: eth0 ARP    ├────┘                                │
//	       │         eth0 NDP    │◄──── responders ◄───────────────────┘
//	       │  table by address   │
//	       └────┼──────────▲─────┘      one goroutine for each port
//	            │          │
//	        watcher     AF_PACKET socket with a filter
//	        (netlink)
//
// Everything belongs to the goroutine of [Announcer.Run], but for two things. A
// responder, one for each interface in use and protocol, looks each request up in
// its table and answers, whatever else happens: it takes the same time for one
// address as for ten thousand, and allocates nothing. And Set fills the tables
// itself. A frame is sent only under the lock of its table, so when Set has
// returned nothing is answered or announced any more for an address that it took
// away.
//
// The two protocols differ in the form of their frames only (arp.go, ndp.go). A
// frame is read into a message, and that is judged and answered by one set of
// rules.
//
// # What is answered and announced
//
// An address with the mode [Answer] is answered on every usable interface that
// the assignment names or, if it names none, that has a subnet for it: requests
// and solicitations that are sent to everybody or to the interface itself, probes
// and duplicate address detection too, once each. A solicitation that is sent to
// the address itself is answered though no interface has it. Nothing else is: no
// other mode, no other interface, no frame for another station, no VLAN, nothing
// malformed, nothing once the lease has run out.
//
// The first announcement is sent at once: gratuitous ARP in the form of a request
// and of a reply, or an unsolicited neighbor advertisement. Five repeats follow
// over four seconds; then comes a refresh each [Config.Refresh] with jitter. A new
// [Assignment.Claim], an interface that comes up, also one that was only down for
// a moment, another hardware address, or another interface for the address begin
// anew; a new [Assignment.Defense] is announced once. Of many addresses the first
// announcement of each is sent before the second of any, at the pace of
// [Config.Burst] and [Config.Rate].
//
// The solicited-node groups of all IPv6 addresses that are assigned, in whatever
// mode, are joined on their interfaces, so switches that snoop forward
// solicitations to a successor before it has to answer them. The kernel keeps the
// groups of an interface in a list, which it searches for each multicast frame of
// IPv6: with ten thousand of them that takes it a third of a millisecond.
//
// # Interfaces
//
// What becomes of interfaces is told by netlink, and followed at once: they
// appear, disappear, go down and up, lose and gain carrier, change their name,
// hardware address or subnets, become the port of a bridge. One that can't be
// used is left out, and [Link].Problem says why: down, no carrier, no Ethernet, no
// ARP, point-to-point, a port of a bridge or bond. One that nobody was heard on
// lately, though known neighbors were asked, is [Link].Silent: this host may be
// cut off.
//
// # Probes and rivals
//
// With the mode [Probe] three probes are sent within 150 ms, and if nobody has
// claimed the address or probed for it 100 ms after the last one, the result is
// [Clear]. While an address is answered another station that claims it is
// reported as [Address].Rival. One that has the address and says nothing is asked
// for, by a probe with each refresh and each [Config.RivalProbe]. Frames with the
// hardware address of any interface of this host mean nothing. Under a flood of
// claims there is a report now and then, with the latest for each address.
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
// and left alone. An address on lo that is ours is known by its mark, whose owner
// holds the abstract Unix socket "@l2vip/lo:l2-" and the mark as eight hexadecimal
// digits: for IPv4 that is the label, for IPv6 the metric of the address. A mark
// without an owner is that of a killed process, whose addresses the next one takes
// over without taking them off first.
//
// # What can go wrong
//
// Run ends with an error only when nothing could be announced rightly: a missing
// capability, settings that can't be made, no netlink. An interface that is
// absent, down or broken is a fact; what fails without the kernel telling when
// it will work is tried again with growing pauses, and logged once. Frames that
// are dropped are counted by reason: [Stats].Dropped.
//
// # What the RFCs ask, and the tests that show it
//
//	RFC 826, Packet Reception  reply to a request, sender as it came     TestReplyARP, TestAnswersOnce
//	                           check htype, ptype and lengths            TestNeverAnswers, TestDropsAreCounted, FuzzARP
//	RFC 1122 section 2.3.2.1   a host polls what it knows by unicast     TestAnswersOnce, TestKernelsUnicastProbes
//	RFC 5227 section 1.1       an ARP probe, an ARP announcement         TestGratuitous, TestProbeARP
//	RFC 5227 section 2.1.1     probing before use; a claim or another's
//	                           probe meanwhile is a conflict             TestProbe…
//	                           a probe changes no ARP cache              TestProbesChangeNoNeighborTable
//	RFC 5227 section 2.3       announcing after a claim                  TestAnnouncesAtOnceInBothForms
//	                           stale entries of ARP caches follow        TestTakeoverMovesTheKernelsEntry
//	RFC 5227 section 2.4       noticing a conflict while in use          TestRivalIsAFact, TestArpingClaimsTheAddress
//	                           also with a host that says nothing        TestRivalsAreProbedFor, TestSilentRivalIsFound
//	                           a defense is a single announcement        TestDefense, TestDefenseOnTheWire
//	RFC 5227 section 3         announcements are requests; a reply form
//	                           for hosts that learn only from those      TestAnnouncesAtOnceInBothForms
//	RFC 3810 section 6.1       groups are reported when they are joined  TestNDPSnooping, TestNDPSnoopingLinks,
//	                                                                     TestNDPSnoopingManyAddresses
//	RFC 4291 section 2.7.1     solicited-node groups, which addresses
//	                           may share                                 TestNDPSnoopingSharedGroups
//	RFC 4861 section 4.4       an advertisement; whose router flag is
//	                           for routers                               TestNDPAnswers, TestReplyNDP
//	RFC 4861 section 7.1.1     solicitations that are not believed       TestNDPNeverAnswers, FuzzNDP
//	RFC 4861 section 7.1.2     advertisements that are not believed      TestNDPNeverAnswers, FuzzNDP
//	RFC 4861 section 7.2.4     answers: to the asker, or to all nodes    TestNDPAnswers, TestNDPAnswersDetection,
//	                                                                     TestNDPTools
//	RFC 4861 section 7.2.6     unsolicited advertisements, which
//	                           neighbors believe                         TestNDPAnnounces, TestNDPKernelNeighbors
//	RFC 4861 section 7.3       neighbors check whether the address is
//	                           there still, by unicast to it             TestNDPAnswers, TestNDPKernelNeighbors
//	RFC 4862 section 5.4.2     duplicate address detection, in the group TestNDPProbeIsClear
//	RFC 4862 sections 5.4.3-5  who has the address, or is about to, is a
//	                           conflict; and leaves it to who has it     TestNDPProbeMeets…, TestNDPKernelDetection
//	IEEE 802.1Q                a tag with VID 0 carries a priority only  TestAnswersOnce, TestNeverAnswers,
//	                                                                     TestNDPAnswers, TestNDPNeverAnswers
//
// Probing is faster than RFC 5227 section 1.1 and RFC 4862 section 5.4.2 have it,
// whose seconds are for hosts that come up: 3 probes 75 ms apart and 100 ms of
// waiting.
package announce

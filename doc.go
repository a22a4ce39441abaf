// Package l2vip announces virtual IP addresses on the local network (ARP for
// IPv4, NDP for IPv6) from exactly one healthy node at a time, and moves an
// address to another node when the node, its network port or the application
// behind the address fails. It is made to be embedded: a [Runner] in an ingress proxy, a DNS server
// or a database front end carries the program's own address.
//
//	g, err := gossip.New(gossip.Config{Peers: []string{"192.168.122.11", "192.168.122.12"}})
//	...
//	r, err := l2vip.New(l2vip.Config{
//		Interfaces: []string{"eth0"},
//		Membership: g,
//		Services:   []l2vip.Service{{Addresses: []netip.Addr{netip.MustParseAddr("192.168.122.100")}}},
//	})
//	...
//	return r.Run(ctx)
//
// # The house
//
//	l2vip                the Runner: configuration, plan, status, events
//	pool/                ranges, pools, advertisements, selectors, allocation
//	pool/manifest/       reads MetalLB's IPAddressPool and L2Advertisement manifests
//	election/            who owns an address: pure, no clock, no I/O, no logging
//	election/gossip/     the membership engine: hashicorp/memberlist behind Membership
//	election/heartbeat/  who can't be heard where the clients are, found out in milliseconds
//	health/              is the application up: sources, checks, the monitor
//	announce/            the wire: ARP and NDP, bursts, probes, rivals, links, binding
//	internal/testnet/    labs: an in-memory network, and namespaces joined by a bridge
//	internal/labprog/    programs in the nodes of a lab: started, watched, waited for
//	internal/bench/      l2vip and keepalived, measured side by side
//	examples/            announce, embed, failover
//
// pool, election, health and announce import none of each other. This package
// imports those four and heartbeat, and neither gossip nor manifest: a program
// that brings its own membership links no memberlist.
//
// # The way of the data
//
//	Config ─► pool: addresses, and where they may be announced ─┐
//	health: ready? ───────────────────────┐                     │
//	announce: links, bindings, probes ────┼─► plan (pure) ◄─────┘
//	                                      │     │ Publish(Offer)
//	                                      │     ▼
//	             Membership: every live member's offer
//	             Heartbeat: less those that can't be heard
//	                                      │     ▼
//	                                      │  election: View.Next (pure)
//	                                      │     ▼
//	                                      └─ the loop ─► announce.Set ─► clients
//
// The Runner's loop is the only place where the streams meet. On any change it
// takes a snapshot of what is known (situation), computes what follows (plan.go,
// rival.go and pulse.go, pure), hands the Announcer the whole desired state and publishes the node's
// offer. The Announcer reports facts; only the root decides.
//
// # How an address moves
//
// A node offers an address while it is a candidate: an advertisement selects it,
// an interface for the address is up, the kernel accepts the traffic, the
// service is ready, the node does not drain and has joined the others. The
// election makes one candidate the owner, the owner claims: it announces,
// answers, and says so in its offer.
//
// The claim of an address whose holder was seen until it lost it is never
// delayed. Any other is a first claim, and is probed first: an address that a
// stranger uses is not claimed, reported, and tried again with growing pauses.
//
// A node that stops being a candidate but is alive says so first and answers
// until its successor's claim arrives (Config.HandoverTimeout at most). So does
// Run when its context is cancelled, which then keeps the addresses bound for
// Config.Linger, and leaves.
//
// A node whose port, kernel or power fails is noticed by its heartbeats, in the
// time that [Profile] tells, and so is one whose process has ended, because its
// kernel says so. A process that is stopped or starved, while its kernel answers,
// is left the time of its lease: clients still reach what they reached before, and
// there is no hurry.
//
// A node answers only while its lease holds, which each heartbeat renews, and each
// turn of the loop. One that was stopped, starved or suspended for longer than
// Config.Lease is silent when it comes back, until it has heard from the others;
// where another member has claimed the address meanwhile, that one keeps it.
//
// # Rivals
//
// Another station may claim an address that this node holds. What follows depends
// on whose Ethernet address the station has; members, former ones too, are known
// by theirs.
//
//   - A member's: the two exchange what they hold, and nothing is done before that
//     (or before some time has passed without meeting the member). If it holds the
//     address as well, a partition has healed, and the election's rules say who
//     keeps it (package election, "Two holders"). If not, neighbors may have
//     believed it, and this node announces once more. If it claims the address
//     again later its kernel answers for what is only bound there, which is an
//     event ([KernelAnswers]).
//   - A stranger's: it is defended against at most once in 10 seconds, or yielded
//     to ([Config].Strangers).
//
// A rival is an event when it appears and when it is gone, and in [Status] in
// between.
//
// A holder that hears nobody at all on its interfaces is most likely cut off, and
// says so in its offer. When it is connected again it loses the address to one
// that kept serving, whichever claimed last.
package l2vip

// Package l2vip announces virtual IP addresses on the local network (ARP for
// IPv4, NDP for IPv6) from exactly one healthy node at a time, and moves an
// address to another node when the node, its network port or the application
// behind the address fails. It is made to be embedded: a [Runner] in an ingress
// proxy, a DNS server or a database front end carries the program's own address.
//
//	r, err := l2vip.New(l2vip.Config{
//		Interfaces: []string{"eth0"},
//		Services:   []l2vip.Service{{Addresses: []netip.Addr{netip.MustParseAddr("192.168.122.100")}}},
//	})
//	...
//	return r.Run(ctx)
//
// The nodes find each other on the segment: no peers, no port, no other
// configuration. Package election/gossip, as Config.Membership, adds members that
// share no segment.
//
// # Layout
//
//	l2vip                  the Runner: configuration, loop, lease, status, events
//	internal/core/         decides: Step(State, Input), pure
//	pool/                  ranges, pools, advertisements, selectors, allocation
//	pool/manifest/         reads MetalLB's IPAddressPool and L2Advertisement manifests
//	election/              who owns an address: pure, no clock, no I/O, no logging
//	election/segment/      the members on one segment: who is alive, who hears whom, what each offers and holds
//	election/gossip/       members beyond one segment: hashicorp/memberlist behind Membership
//	health/                is the application up: sources, checks, the monitor
//	announce/              the wire: ARP and NDP, bursts, probes, conflicts, links, binding
//	internal/testnet/      labs: namespaces joined by a bridge
//	internal/testnet/memnet/  the same in memory: UDP, TCP and Ethernet segments
//	internal/asynclog/     a logger that never waits for its handler
//	internal/labprog/      programs in the nodes of a lab: started, watched, waited for
//	internal/bench/        l2vip and keepalived, measured side by side
//	examples/              announce, embed, failover
//
// pool, election, health and announce import none of each other; core imports the
// types of these four and of segment. This package imports core and the others, and
// neither gossip nor manifest: a program that does not use memberlist links none.
//
// Within this package the arrows run one way:
//
//	runner.go ─► loop.go ─► lease.go, group.go, event.go, refusals.go
//	    │           └─────► inbox.go ─► catalog.go ─► config.go ─► ports.go, profile.go, secret.go
//	    └─► status.go
//
// # Data flow
//
//	Config ─► pool: addresses, and where they may be announced ──┐
//	health: ready? ───────────┐                                  │
//	announce: links, probe    ├─► inbox ─► core.Step: members    │
//	results, conflicts ───────┤            first, then what this ◄┘
//	segment: beats, offers ───┤            node offers, then the election,
//	membership: offers ───────┘            then the machine of each address
//	                                  │
//	                                  ▼ Output, acted on in this order
//	   announce.Set ─► clients; segment.Set and Publish ─► members; deadline ─► timer; transitions ─► events, log
//
// The loop is the only place where the streams meet: on any change it takes what they
// have told last, calls one pure function, and acts. The announcer and the segment
// report facts; only core decides. No log handler, no callback of the program and no
// lock that they can hold runs on the loop or on the thread that beats.
//
// # How an address moves
//
// A node offers an address while it is a candidate: an advertisement selects it, an
// interface for the address is up and hears other stations, the kernel accepts the
// traffic, the service is ready, the node does not drain and has met the others. The
// election makes one candidate the owner, and the owner claims: it announces, answers,
// and says so in its offer. Package internal/core has the machine.
//
// The claim of an address whose holder was seen until it lost it is never delayed. Any
// other is a first claim, and is probed first: an address that a foreign station uses
// is not claimed, reported, and tried again with growing pauses.
//
// A node that stops being a candidate but is alive says so first and answers until its
// successor's claim arrives (Config.HandoverTimeout at most). So does Run when its
// context is cancelled, which then keeps the addresses bound for Config.Linger, and
// leaves.
//
// # Who is alive
//
// There is one list of members, by which everything is decided, shown and told. Where
// a member beats on a segment that this node shares, its beats decide: a node whose
// port, kernel or power fails is replaced in the time that [Profile] tells, and so is
// one whose process has ended, because its kernel says so. A process that is stopped
// or starved, while its kernel answers, is left the time of its lease, and what it held
// is probed before it is claimed: it may be a node that was left behind when the secrets
// were rotated. What only the
// membership says (left, dead, a port that is closed) changes no holder while beats
// are exchanged. Where no beats are exchanged, the membership decides, as slowly as it
// does.
//
// Beats tell whom their sender hears. A node that hears no station at all on a segment
// where there were some is no candidate there, and a holder that hears none is
// succeeded, and announces nothing meanwhile. A node that is heard by none of those
// that it hears stops at once. All of this is judged for each link.
//
// A node answers only while its lease holds, which each beat renews that was sent,
// and the loop has turned within the last second. One that was stopped, starved or
// suspended for longer says in its beats that it holds nothing, and is silent until it
// has heard from the others; where another member has claimed the address meanwhile,
// that one keeps it.
//
// # Conflicts
//
// Another station may claim an address that this node holds. What follows depends on
// whose Ethernet address the station has; members, former ones too, are known by
// theirs.
//
//   - A member's: its next beats tell whether it holds the address as well. If so, a
//     partition has healed, and the election's rules say which of the two keeps it
//     (package election, "Two holders"). If not, neighbors may have believed it, and
//     this node announces once more. If it claims the address again later its kernel
//     answers for what is only bound there, which is an event ([KernelAnswers]).
//   - A foreign station's: it is defended against at most once in 10 seconds, or
//     yielded to ([Config].Strangers).
//
// A conflict is an event when it appears and when it is over, and in [Status] in
// between.
package l2vip

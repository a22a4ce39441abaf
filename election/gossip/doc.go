// Package gossip is a membership engine of l2vip, for members beyond one segment,
// or many: it finds the other members, notices when one dies, and carries every
// member's [election.Offer] to all others. It is HashiCorp's memberlist, tuned for
// a local network and for short times, behind the methods that the Runner asks of a
// membership:
//
//	g, err := gossip.New(gossip.Config{Peers: []string{"192.168.122.11", "192.168.122.12"}})
//	...
//	runner, err := l2vip.New(l2vip.Config{Membership: g, ...})
//
// # How it is built
//
//	   Publish ─┐                      ┌─► report(members, their offers)
//	            ▼                      │
//	┌─────────────────────────────────────────┐
//	│ loop: encode, send, ask, deliver        │◄── keepPeers: join, and join again
//	│ table: members, their offers, versions  │◄── keepLearned: the same for learned peers
//	│                                         │◄── Sync: exchange with a live member
//	└───▲──────────────────────────────┬──────┘
//	    │ delegate                     │ datagrams, streams, gossip queue
//	┌───┴──────────────────────────────▼──────┐
//	│ memberlist: probes, suspicion, gossip   │
//	└───▲──────────────────────────────┬──────┘
//	    │ gate: label, plausibility    │
//	┌───┴──────────────────────────────▼──────┐
//	│ transport on a Network: UDP and TCP     │
//	└─────────────────────────────────────────┘
//
// memberlist calls the delegate, often under its own lock; the delegate changes
// the table and wakes the loop. Only the loop sends, and only the loop calls
// report. What is logged goes through an asynchronous logger: a handler that hangs
// holds up neither the members nor the end of Run.
//
// # Finding each other
//
// Members join the peers that they are configured with, and those that they learn
// of elsewhere: what each reports as its Endpoint, the segment carries, and the
// Runner delivers it to the others in [election.Local]. A member that is missing is
// tried again several times a second; a learned peer for five minutes.
//
// # How offers travel
//
// An offer that changes goes straight to every live member, in a datagram if it
// fits, else on a stream for each, where what is superseded before it was sent
// is skipped. Small ones are gossiped too. Members that join, for the first time
// or again, send each other their offers and ask for the other's. Once a second
// each member compares versions with a random other and asks for what it
// misses; while an offer is missing it is asked for with growing pauses. When
// a member joins, everything that is known is in the first exchange.
//
// The Instance and the Revision in an offer are its publisher's, and travel as they
// are. What orders offers here is a version of the engine's own, beside the offer.
//
// # Restarts
//
// A version begins with the engine's instance: the wall clock at the start, in
// nanoseconds, raised above every instance of the same name that others still
// know, should the clock have gone back. It is in memberlist's metadata too. As
// soon as anything of a later instance arrives, the earlier one's offer is void;
// so a member that restarts faster than the others notice leaves no ghost.
//
// # Detection
//
// A dead member is noticed after about half a second with the defaults, never
// before the Detection that is reported. Measured in memory, from the death of one
// to the moment when the last of the others has noticed, 40 trials each:
//
//	members   median   worst
//	      3   0.48 s   0.63 s
//	      4   0.46 s   0.61 s
//	     10   0.51 s   0.89 s
//
// For memberlist one member's word is enough, and one that was cut off says of
// all others that they are dead when it returns. So for a moment a member may be
// reported as gone that is not. Where members share a segment, what that tells
// decides; beyond it, this is what the Runner knows.
//
// What a member offered before it was taken for dead stays void when it returns:
// it may have been stopped, and not know yet that it lost what it held. It is
// asked for its offer, calls report, and what is published then counts.
//
// All times scale with Config.ProbeInterval.
//
// # Strangers
//
// Everything begins with a label: l2vip, the protocol's major version and the
// cluster's name. What has another one, is broken, too large or of a member that
// is not live is dropped and counted in [Stats]. Without a key any station that
// reaches the port may join and speak in any member's name; with one, only one that
// has it.
package gossip

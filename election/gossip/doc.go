// Package gossip is the membership engine of l2vip: it finds the other members,
// notices when one dies, and carries every member's [election.Offer] to all
// others. It is HashiCorp's memberlist, tuned for a local network and seconds
// that matter, behind the three methods that the Runner asks of a membership:
//
//	g, err := gossip.New(gossip.Config{Peers: []string{"192.168.122.11", "192.168.122.12"}})
//	...
//	runner, err := l2vip.New(l2vip.Config{Membership: g, ...})
//
// # How it is built
//
//	   Publish ─┐                      ┌─► update(offers of the live members)
//	            ▼                      │
//	┌─────────────────────────────────────────┐
//	│ loop: encode, send, ask, deliver        │◄── keepPeers: join, and join again
//	│ table: members, their offers, versions  │◄── keepMet: the same for who was met
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
// update.
//
// # Finding each other
//
// Members join the peers that they are configured with, and those that somebody
// else came across: a protocol that finds members by itself, as package
// election/heartbeat does on the segment, carries [Gossip.Endpoint] and tells
// [Gossip.Meet] of the others'. It may be keyed by [Gossip.Derive], so that one
// secret does for both. Who is missing is tried again several times a second;
// one that was only met, not configured, for five minutes.
//
// # How offers travel
//
// An offer that changes goes straight to every live member, in a datagram if it
// fits, else on a stream for each, where what is superseded before it was sent
// is skipped. Small ones are gossiped too. Members that meet, for the first time
// or again, send each other their offers and ask for the other's. Once a second
// each member compares versions with a random other and asks for what it
// misses; while an offer is missing it is asked for with growing pauses. When
// somebody joins, everything that is known is in the first exchange.
//
// # Restarts
//
// An offer carries the instance of its member: the wall clock at the start, in
// nanoseconds, raised above every instance of the same name that others still
// know, should the clock have gone back. It is in memberlist's metadata too. As
// soon as anything of a later instance is heard, the earlier one's offer is void;
// so a member that restarts faster than anyone notices leaves no ghost.
//
// # Detection
//
// A dead member is noticed after about half a second with the defaults, never
// before [Gossip.Detection]. Measured in memory, from the death of one to the
// moment when the last of the others has noticed, 40 trials each:
//
//	members   median   worst
//	      3   0.50 s   0.69 s
//	      4   0.49 s   0.71 s
//	     10   0.50 s   0.95 s
//
// For memberlist one member's word is enough, and one that was cut off says of
// all others that they are dead when it returns. So a member that is said to be
// dead is asked first, which takes the 30 ms of a probe's timeout, and stays live
// as long as it answers. On a machine that is so busy that no answer comes in time,
// whoever hears it by other means can say so ([Gossip.Vouch]): then it is asked for
// half a minute, and joined again.
//
// What a member offered before it was taken for dead stays void when it returns:
// it may have been stopped, and not know yet that it lost what it held. It is
// asked for its offer, calls update, and what is published then counts.
//
// All times scale with Config.ProbeInterval.
//
// # Strangers
//
// Everything begins with a label: l2vip, the protocol's major version and the
// cluster's name. What has another one, is broken, too large or of a member that
// is not live is dropped and counted in [Stats]. Without a key whoever reaches
// the port may join and speak in any member's name; with one, only who has it.
package gossip

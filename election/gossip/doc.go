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
//	┌──────────────────────────────────────────────┐
//	│ engine: a loop that encodes, sends, reports  │◄── Sync: exchange with a live member
//	│ table:  members, their offers, outboxes      │◄── seeds: join, and join again
//	└───▲──────────────────────────────┬───────────┘
//	    │ delegate                     │ offers, requests
//	┌───┴─────────────────────────┐    │
//	│ memberlist: probes, gossip  │    │
//	└───▲──────────────┬──────────┘    │
//	    │ gate         │ its messages  │
//	┌───┴──────────────▼───────────────▼───────────┐
//	│ transport: UDP and TCP on a Network          │
//	│ links:     keys, counters, tokens of names   │
//	└──────────────────────────────────────────────┘
//
// memberlist calls the delegate, often under its own lock; the delegate changes the table
// and wakes the loop. Only the loop calls report. What is logged goes through an
// asynchronous logger: a handler that hangs holds up neither the members nor the end of
// Run.
//
// # Finding each other
//
// Members join the peers that they are configured with, and those that they learn of
// elsewhere: what each reports as its Endpoint, the segment carries, and the Runner
// delivers it to the others in [election.Local]. A member that is missing is tried again
// several times a second; a learned one for five minutes.
//
// # How offers travel
//
// An offer that changes goes straight to every live member, in a datagram if it fits,
// else on a stream for each, where what is superseded before it was sent is skipped; one
// that is published again unchanged goes nowhere. Members that join, for the first time
// or again, send each other their offers and ask for the other's. Unless all members beat,
// each tells a random other once a second which versions it knows; while an offer is
// missing it is asked for with growing pauses. When a member joins, everything that is
// known is in the first exchange.
//
// The Instance and the Revision in an offer are its publisher's, and travel as they are.
// What orders offers here is a version of the engine's own, beside the offer. A member's
// own word counts: what another member says of its offer stands in only until then, and
// is reason to ask it.
//
// # What is believed
//
// Each datagram is sealed for its receiver under a key that follows from the cluster's
// secret, the sender's name and its instance, with a counter that comes once. It shows a
// token that the receiver gave the sender; what shows none is answered with a challenge,
// no larger than itself but for a few bytes and at most 50 times a second, at the address
// where the member is known. Streams begin with a fresh number of each side, and give the
// tokens for datagrams along. So what was recorded is of no use, whoever sends it. See
// wire.go for the bytes.
//
// An instance is the wall clock at the start, in nanoseconds. One that has proven itself
// voids all earlier ones of its name, and their offers, for as long as this process runs;
// one that is more than a day ahead is refused. An engine whose clock has gone back learns
// that in its first hello, and becomes a later instance than the known one. A member that
// restarts faster than the others notice leaves no ghost.
//
// Nothing reaches memberlist but what it writes itself: no compression, no encryption of
// its own, and no header that announces more than has come. Everything that the network
// fills has a bound, and everything that is dropped a reason that [Stats] counts and the
// log names, once a minute for each source.
//
// # Without a secret
//
// The same is done with a key that is public. A host that reaches the port may join
// as a member of its own, and what it says then is believed: it may offer to hold an
// address, or say of others that they are dead, which they deny. It may take the name of a
// member that is not there. It cannot speak in the name of a member that is, unless it
// sees that member's datagrams, and nothing that it has recorded works again.
//
// # Rotation
//
// Members understand each other as long as their keys have one in common: each tells in
// the clear, by names from which nothing follows, which ones it accepts, and is written to
// with the writer's first that is among them. A change is told to all at once.
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
// All times scale with Config.ProbeInterval. Members whose beats arrive on a segment are
// probed one each five seconds, and as often as the others from the moment when they stop:
// while all beat, memberlist waits within its probe.
package gossip

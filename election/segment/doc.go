// Package segment is the members on one Ethernet segment: who is alive, who hears
// whom, what each offers and holds. Members find each other there, and learn within
// milliseconds that one of them can no longer be heard.
//
//	      frames of members             ARP, NDP: signs of life
//	            │  ▲                            ▲  │
//	      ┌─────▼──┴────────────────────────────┴──▼──┐
//	      │ driver: packet sockets, on one thread in  │
//	      │ real time where that is allowed, or any   │
//	      │ Ethernet                                  │
//	      │  ┌─────────────────────────────────────┐  │
//	Set ──┼─►│ core: pure, no clock, no sockets    │  │
//	      │  └─────────────────────────────────────┘  │
//	      └───────────────────────┬───────────────────┘
//	                              ▼
//	                report(Report): a whole picture
//
// The segment tells facts and decides nothing about addresses.
//
// # Frames
//
//	frame      to               says
//	beat       group            what the sender is and holds, whom it hears, when the next beat comes
//	challenge  a station        prove that you are alive now
//	proof      a station        the nonce of the challenge
//	ask        group            which member hears this one?
//	answer     a station        I hear it, or I do not
//	leave      group            this was the last frame
//	request    a station        send your offer, from there on
//	part       group            a part of the sender's offer
//
// All go out on every link of the [State] on its own. Members with other intervals
// understand each other: a beat says when the next one comes. A member that holds
// addresses beats each [Config.Interval], others each [Config.Idle], and all at once
// when they have something new to say. A process that finds that it was late announces
// a wider interval for a while.
//
// # Rows
//
// What is known of a member is known for each of its starts and each link. Such a row
// is made when the member has proven on that very link, from that very station, that
// it is alive now. From then on each of its frames counts once, and of its beats only
// one that is newer than all before.
//
//	          ┌───────────────── a beat ────────────────┐
//	          ▼                                         │
//	  Up ──── no beat for Misses intervals ────────► Suspect
//	   ▲                                                │ asked for a while:
//	   ├── others hear it, and not fewer than miss it ──┤
//	   ├── no other station is heard either ────────────┤
//	   │     its kernel: no process at that port ───────┼──► Ended
//	   │     its kernel answers ────────────────────────┼──► Stalled
//	   │     none of that ──────────────────────────────┴──► Unreachable
//	   └──────────────── a beat, from all of them
//
//	Left: the member has said so.
//
// While a member is Suspect the others are asked whether they hear it; its kernel, by
// the ARP or NDP probe for one of its addresses and by an empty UDP datagram to its
// membership; and other stations that the own kernel knows, for any sign of life. The
// question is repeated once, because a frame may be lost. A member that is Stalled or
// Ended, or Up without being heard here, is asked for again after a while. Only a beat
// brings a member back.
//
// So a receiver that is broken or was late ends no member: what came meanwhile is
// read before any member is asked for, and the answers before any is judged.
//
// # Links
//
// A link is isolated if members were heard on it, none is any more, all were asked for,
// and no station at all was heard since. Nothing can then be said of the others: they
// are Unreachable, and the first frame of any station ends it. They then have the time
// to beat, before they are judged anew.
//
// Each beat lists the members that its sender hears, as two-way detection does in BFD
// (RFC 5880). A member that is on none of the lists, of those that it hears itself, is
// unheard: its frames do not arrive. A member is struck off a list only when it was
// judged, so one beat is enough to know.
//
// # Offers
//
// Beats carry the revision of the sender's offer and a digest of the addresses that it
// holds. An offer that fits into one frame is sent before the beat that tells of it.
// Others are asked for by those that miss them, in windows of 32 parts; the answer
// goes to all members on the link, so that many that miss the same cause one answer.
// A new offer counts from the beat on that tells of it: what a member holds is always
// seen together with what it says that it holds.
//
// # Several members of one name
//
// Each start has its own instance. A start that is admitted at the station of a former
// one supersedes it: a process that restarts faster than anything is noticed. If both
// go on beating they are different processes. Of those that are alive the one with the
// lowest instance is the member, the others are reported as [Namesake].
//
// # Strangers
//
// With a key no frame can be made or changed, nor sent between other stations than its
// sender meant. Frames that were recorded are of no use: each counts once, and only if
// fewer than 64 have overtaken it; on other links and for newcomers their sender must
// answer a challenge first. A station can cause no more than one small frame for each
// of its own, and the tables have bounds: 256 members, as many handshakes on a link, 16
// of each at one station, 4 MiB for an offer and 64 MiB for those of all. Every frame that is dropped is counted by its reason ([Stats]).
//
// The kernel's own signs of life have no key. With forged ARP or NDP frames a stranger
// can make a dead member look stalled until its lease is over, and an isolated link
// look as if somebody were there; with a forged ICMP message it can make a member whose
// beats are missing, and which no other member hears, look ended. It cannot end one
// whose beats arrive.
//
// Without a key any station on the segment can do harm, as with ARP: pretend to be a
// member, end one, or offer what it likes. Only memory and time are still bounded.
package segment

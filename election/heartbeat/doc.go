// Package heartbeat finds out within milliseconds that a member which holds
// addresses can no longer be heard on the segment where its clients are. The
// membership stays with another engine; this one only says of whom it must not
// wait for.
//
//	         beats, questions, answers        ARP, NDP: signs of life
//	                   │  ▲                        ▲  │
//	             ┌─────▼──┴────────────────────────┴──▼─────┐
//	             │ thread: AF_PACKET sockets of each link   │  real-time scheduling,
//	             │  ┌────────────────────────────────────┐  │  where it may ask for it
//	Set(State) ──┼─►│ core: pure, no clock, no sockets   │  │
//	             │  └────────────────────────────────────┘  │
//	             └──────────────────────┬───────────────────┘
//	                                    ▼
//	                         report([]Peer): who is dead
//
// # Beats
//
// A member that holds addresses beats each [Config.Interval] to a group address on
// every link that it announces on, the others each [Config.Idle]. A beat says when
// the next one comes, so the receivers need no matching configuration. A process
// that finds that it was late announces a wider interval for a while.
//
// # Before anybody is dead
//
// When [Config.Misses] beats are missing, the member that misses them asks: all
// others whether they hear the accused; the kernel of the accused, by the ARP or
// NDP probe for one of its addresses and by an empty UDP datagram to its
// membership; and other stations, the neighbors that the own kernel knows, for any
// sign of life. The question is repeated once, because a frame may be lost. After
// a couple of milliseconds:
//
//   - A beat of the accused, or an answer of any kind of its kernel, is a veto. A
//     process that is stopped or starved has a kernel that is alive, and clients
//     whose traffic still arrives; what is to be done about it is for the
//     membership to tell, which takes its time, but not before the lease is over
//     that the process had said it would act by ([Peer].Leased).
//   - If its kernel says that nobody listens where the membership of the accused
//     was, its process has ended, and nothing is to be waited for ([Peer].Gone).
//   - If others answer, most of them must miss the accused as well.
//   - If nobody answers, or there are only two members, this one must have heard
//     some other station since the last beat of the accused. Otherwise it may be
//     the one that is cut off, and waits for the verdict of the membership.
//
// So a receiver that is broken or was late accuses nobody: what came meanwhile is
// read before anybody is asked for, and the answers before anybody is judged.
//
// # Security
//
// With a key no frame can be forged. A new start of a member is believed only
// after it has answered a challenge, and its frames only in their order, so
// nothing that was recorded is of any use. Without a key everybody on the segment
// can do harm, as with ARP.
package heartbeat

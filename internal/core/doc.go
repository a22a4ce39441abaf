// Package core decides. Given what a node remembers and what it knows now, [Step]
// returns what it remembers next and what it does: no clock, no goroutine, no I/O, no
// log.
//
//	Input                                    step, in this order               Output
//	Settings, Table ──┐
//	Membership ───────┼─► members.go   the one list of members
//	Segment ──────────┤     │          who is alive, on which link
//	                  ├─► links.go     joining, damped, isolated, unheard
//	LeaseLost ────────┼─► fence.go     valid, expired, resyncing
//	Facts, Health ────┼─► offer.go     what this node offers ───────────────► Offer
//	                  │     ▼
//	                  │   election.View.Next: owner and holder of each address
//	                  │     ▼
//	                  └─► address.go   the machine of one address ──────────► Assignments
//	                        │ conflict.go  other stations that claim it
//	                        ▼
//	                      transition.go, each told by the function that made it ► Transitions
//
// Every delay stands in timing.go; each function asks for the time at which it wants
// to be called again, and the earliest of these is Output.Deadline.
//
// # The machine of one address
//
//	              elected, its holder was seen to lose it
//	   ┌──────────────────────────────────────────────────┐
//	   │      elected      probe clear                    ▼
//	Standby ──────────► Probing ─────────────────────► Holding ◄──┐
//	   ▲  ▲ ▲  not elected │ │ a member probed too        │ │ │   │ owner again
//	   │  │ └──────────────┘ └──────────► Backoff         │ │ ▼   │
//	   │  │            pause over            │            │ │ Releasing
//	   │  └──────────────────────────────────┘            │ │   │
//	   │      another holds by right, link lost, unheard  │ │   │ the successor holds,
//	   ├──────────────────────────────────────────────────┘ │   │ none in time, link lost
//	   ├────────────────────────────────────────────────────┼───┘
//	   │      pause over                 used by a          │ used by a foreign station,
//	   └──────────────────── Disputed ◄─ foreign station ───┘ and Settings.Yield
//
// What belongs to one claim (Claim) lives and ends with it; what is counted or timed
// throughout stands beside it in AddressState.
//
// # The fence
//
// A process that did not run in time does not know what happened meanwhile. Its lease
// has run out (Expired), so it answers nothing, claims nothing and says so in its
// beats. It waits (Resyncing) until each member that was live has beaten since, or is
// known to be gone, or for a second; then what it held and no other member has claimed
// is announced once more (Valid).
package core

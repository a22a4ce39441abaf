// Package memnet hands out networks in memory, for logic under
// [testing/synctest]. What touches a wire is tested in the labs of package
// testnet.
//
// A [Network] joins [Host]s. A host's ListenPacket, Listen and DialContext have
// the shape of [net.ListenConfig] and [net.Dialer], so a host is what a program
// takes as its network. Datagrams and streams take a latency, datagrams are
// lost with a probability and a seed, [Network.Partition] cuts hosts from each
// other, [Host.Crash] is a killed process and [Host.PowerOff] a dead machine.
//
// A [Switch] joins [Station]s, an Ethernet segment:
//
//	station front-0                  station gateway
//	┌─────────────────────────┐     ┌──────────┐
//	│ process ─ ports         │     │          │   ← Stop, Continue, Kill
//	│ kernel: answers ARP, NDP│     │ kernel   │   ← PowerOff, Restart
//	│ link 2        link 3    │     │ link 2   │   ← SetDown, SetDeaf, SetMute, SetSide
//	└───┬─────────────┬───────┘     └───┬──────┘
//	    │   switch    │                 │           ← SetLoss, SetDuplicates, SetJitter,
//	    └─────────────┼─────────────────┘             SetCut
//	                  │
//	               another
//
// A [Process] opens a [Port] on a link of its station and reads and writes whole
// frames. The kernel of a station answers for its addresses as Linux does, whether
// or not a process runs.
//
// Nothing runs in the background: what is sent is queued at the receiver with
// the time of its arrival, and the reader waits for that time. So there is no
// goroutine to join, time under synctest advances only when all goroutines
// wait, and the same program sees the same network in each run.
package memnet

// Package testnet hands out networks to test against: labs of real network
// namespaces, for everything that touches a wire. Networks in memory, for logic
// under [testing/synctest], are in package memnet. Package testnet imports none of
// the module's packages and hands out standard types: [net.PacketConn],
// [net.Listener], [net.Conn].
//
// A [Lab] is a switch and the nodes plugged into it, each in a network namespace
// of its own:
//
//	 node front-0        node front-1         node client
//	┌─────────────┐     ┌─────────────┐     ┌─────────────┐
//	│ lo     eth0 │     │ lo     eth0 │     │ lo     eth0 │
//	└──────────┬──┘     └──────────┬──┘     └──────────┬──┘
//	           │ veth              │                   │      ← Unplug, Plug
//	┌──────────┴───────────────────┴───────────────────┴──┐
//	│ front-0            front-1              client      │   ← Block, Unblock
//	│                     bridge                          │   ← Split, Join, Snoop
//	└─────────────────────────────────────────────────────┘
//
// [Node.Unplug] takes the carrier away; [Node.Block] and [Lab.Split] leave it, so
// that a node has to notice by what it hears. [Lab.Snoop] makes the switch
// forward multicast only to those who have asked for it, as real ones do, and so
// shows who has not. [Node.AddInterface] plugs a node in once more.
//
// The namespaces have no names: threads, file descriptors, sockets and processes
// of the program hold them, so the kernel takes everything down when the
// program is gone, in whatever way it went. Programs run in a node with
// [Node.Start], functions with [Node.Do]. Code that opens sockets from
// goroutines of its own belongs in a program: goroutines are not inside.
//
// A lab needs the rights of root over its own namespaces. [Main] gives them to
// ordinary users through a user namespace; a test that needs a lab starts with
// [Require]:
//
//	func TestMain(m *testing.M) { os.Exit(testnet.Main(m.Run)) }
//
//	func TestOnTheWire(t *testing.T) {
//		testnet.Require(t)
//		lab, err := testnet.NewLab()
//		...
//		defer lab.Close()
//		node, err := lab.AddNode("front-0", netip.MustParsePrefix("192.168.122.10/24"))
//		...
//	}
package testnet

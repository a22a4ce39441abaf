package testnet

import (
	"context"
	"net"
	"net/netip"
	"os/exec"
)

// Lab is a switch and the nodes plugged into it. Its methods may be called from
// any goroutine.
type Lab struct {
	lab
}

// NewLab makes a switch without nodes. What it needs is told by [Available];
// the error wraps [os.ErrPermission] without the rights and
// [errors.ErrUnsupported] where there are no such labs.
func NewLab() (*Lab, error) {
	l := &Lab{}
	if err := l.open(); err != nil {
		return nil, err
	}
	return l, nil
}

// Close kills every process that lives in the lab's namespaces, those that
// [Node.Start] started with all their descendants, waits until they are dead,
// and gives the namespaces back. Closing twice does nothing.
//
// The processes are killed, not reaped: who started one calls its Wait. Sockets
// that a node handed out, and functions that are still running in [Node.Do],
// stay with their owners and keep their namespace alive for as long.
func (l *Lab) Close() error { return l.close() }

// AddNode plugs a node into the switch, with the addresses on its interface
// eth0. When it returns the link is up, forwards, and the addresses are usable.
//
// The name is the node's host name too, and unique in the lab. Hardware
// addresses are 02:00:00:00:00:01 for the first interface that is added and so
// on. IPv6 works, without duplicate address detection and without router
// solicitations; who wants them back writes accept_dad or accept_ra below
// /proc/sys/net/ipv6/conf/eth0 inside [Node.Do].
func (l *Lab) AddNode(name string, prefixes ...netip.Prefix) (*Node, error) {
	return l.addNode(name, prefixes)
}

// Snoop makes the switch snoop on multicast, as real ones do: from now on it
// forwards a frame to an IPv6 or IPv4 group only to the ports behind which
// somebody has joined the group, as it learns from their MLD and IGMP reports.
// What is for all nodes (ff02::1, 224.0.0.0/24) still goes everywhere.
//
// The switch is the querier too: about once a second it asks who listens to
// what, which a node sees as MLD and IGMP queries. A group that nobody reports
// any more is forgotten a fraction of a second after it was left, or three
// seconds after a node fell silent.
//
// When Snoop returns the switch forwards like that, and has heard of every group
// that its nodes are in. The same then holds for what AddNode, [Lab.Split],
// [Lab.Join], [Node.Plug] and [Node.Unblock] bring back. Snooping twice does
// nothing; a switch does not stop snooping. The error wraps
// [errors.ErrUnsupported] where the kernel has no IPv6.
func (l *Lab) Snoop() error { return l.snoop() }

// Split parts the switch in two, between which nothing is forwarded: the given
// nodes are on one side, all others on the other. The carriers stay: no node can
// tell from its link. When Split returns, both sides forward among themselves.
//
// The nodes change sides one after the other, within a millisecond or so each.
// Splitting a split switch moves only those that are to be elsewhere. Nodes that
// are added later are on the side of the others. Unplugged and blocked nodes
// change sides too, and find themselves there when they are back.
func (l *Lab) Split(nodes ...*Node) error { return l.split(nodes) }

// Join makes the two sides of a split switch one again. Joining twice does
// nothing.
func (l *Lab) Join() error { return l.split(nil) }

// Node is a machine in a [Lab]: a network namespace and a host name of its own,
// and an interface to the switch. Its fields do not change.
type Node struct {
	// Name is the node's name, and its host name.
	Name string
	// Interface is the name of its interface to the switch: "eth0", unless it
	// is one that AddInterface has added.
	Interface string
	// Index is the interface's index in the node's namespace.
	Index int
	// HardwareAddr is the interface's hardware address.
	HardwareAddr net.HardwareAddr
	// Addrs are the addresses the node was added with, in their order.
	Addrs []netip.Addr
	// LinkLocal is the interface's IPv6 address of link scope, without a zone;
	// the zero Addr where the kernel has no IPv6.
	LinkLocal netip.Addr

	node
}

// AddInterface plugs the node into the switch once more, with another interface
// and addresses on it. When it returns the link is up, forwards, and the
// addresses are usable.
//
// What it returns is the same machine, seen through its new interface: Unplug,
// Plug, Block, Unblock, Frames and [Lab.Split] mean that one interface and the
// switch's port for it, everything else the machine. Both interfaces hear what is
// broadcast on the switch, and the kernel answers ARP requests for an address on
// either of them, unless arp_ignore says otherwise or Split keeps them apart.
func (n *Node) AddInterface(name string, prefixes ...netip.Prefix) (*Node, error) {
	return n.addInterface(name, prefixes)
}

// Unplug pulls the cable out of the switch: the node loses its carrier, and has
// seen so when Unplug returns. Unplugging twice does nothing.
func (n *Node) Unplug() error { return n.unplug() }

// Plug puts the cable back. The link is ready when it returns.
func (n *Node) Plug() error { return n.plug() }

// Block makes the switch's port drop everything in both directions. The carrier
// stays: the node can't tell from its link. Blocking twice does nothing.
func (n *Node) Block() error { return n.block() }

// Unblock lets the switch's port forward again.
func (n *Node) Unblock() error { return n.unblock() }

// Do runs fn inside the node, on a thread of its own that ends with it, and
// returns its error. Every call has its own thread, so fn may block for long,
// and the calls may overlap and nest.
//
// Only fn itself is inside the node: goroutines that it starts are not, nor is
// what they open. Sockets stay in the node where they were opened, whoever uses
// them. The thread sees the node's /proc/sys/net and /proc/thread-self/net, and
// its host name, while /proc/self/net and /sys/class/net show another
// namespace. A process that fn starts with [syscall.SysProcAttr]'s Pdeathsig
// dies with the thread: use Start instead. Runtime.Goexit, thus FailNow of a
// test, ends the caller as well.
func (n *Node) Do(fn func() error) error { return n.do(fn) }

// Start starts a command inside the node, in a process group of its own. The
// caller calls Wait, as always. The process is killed with all its descendants
// when the lab is closed, and when this program dies, after SIGKILL too.
//
// In that last case the kernel kills the command itself. Its descendants, such
// as the workers of a server, are killed by a second process of this program,
// if it started with [Main]; otherwise they are on their own.
func (n *Node) Start(cmd *exec.Cmd) error { return n.start(cmd) }

// ListenPacket is [net.ListenConfig.ListenPacket] inside the node.
func (n *Node) ListenPacket(ctx context.Context, network, address string) (net.PacketConn, error) {
	var c net.PacketConn
	err := n.Do(func() (err error) {
		c, err = new(net.ListenConfig).ListenPacket(ctx, network, address)
		return err
	})
	return c, err
}

// Listen is [net.ListenConfig.Listen] inside the node.
func (n *Node) Listen(ctx context.Context, network, address string) (net.Listener, error) {
	var l net.Listener
	err := n.Do(func() (err error) {
		l, err = new(net.ListenConfig).Listen(ctx, network, address)
		return err
	})
	return l, err
}

// DialContext is [net.Dialer.DialContext] inside the node; the address is
// literal.
func (n *Node) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	var c net.Conn
	err := n.Do(func() (err error) {
		c, err = new(net.Dialer).DialContext(ctx, network, address)
		return err
	})
	return c, err
}

// Frames opens a raw port on the node's interface: ReadFrom returns whole
// Ethernet frames of every type, those for others and those that the node
// itself sends included, and WriteTo sends one as it is, to any address that
// the port's LocalAddr has the type of. Frames written to a port do not come
// back from it.
func (n *Node) Frames() (net.PacketConn, error) { return n.frames() }

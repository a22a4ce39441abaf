package core

import (
	"net/netip"
	"time"
)

// Settings are what the configuration says of this node, besides the addresses.
type Settings struct {
	// Name is the node's name, and Instance tells its starts apart.
	Name     string
	Instance uint64
	// Labels are the node's labels.
	Labels map[string]string
	// MinMembers is the quorum. See election.Policy.
	MinMembers int
	// Failback is for how long a node must have been a candidate to take an address
	// back. If zero, it never does.
	Failback time.Duration
	// StartHold is for how long a node that meets no other claims nothing.
	StartHold time.Duration
	// HandoverTimeout is for how long an address is answered while its successor is
	// waited for.
	HandoverTimeout time.Duration
	// Detection is within what time a silent member is taken for dead. If zero, no
	// member is heard on a segment.
	Detection time.Duration
	// Lease is for how long a node answers after its process has last run.
	Lease time.Duration
	// Yield gives an address up to a foreign station that uses it.
	Yield bool
	// KernelAnswers says that the kernel answers for what a process held that has
	// ended, until its lease is over.
	KernelAnswers bool
	// Alone says that there are no other members, on purpose.
	Alone bool
}

// Address is one configured address, and what the configuration says of it on this
// node.
type Address struct {
	Addr    netip.Addr
	Service string
	// Automatic says that it was allocated, and not asked for by name.
	Automatic bool
	// Selected says that an advertisement selects this node for it.
	Selected bool
	// Interfaces are those to announce it on; none stands for those with a subnet
	// that contains it. NoneLeft says that it is selected, but on no interface that
	// this node announces on.
	Interfaces []string
	NoneLeft   bool
	// Weight is that of the advertisements.
	Weight uint32
}

// Table is all addresses of a configuration. It is immutable.
type Table struct {
	// Addresses are in their order.
	Addresses []Address
	// Digest is of what must be configured alike on all nodes.
	Digest uint64
}

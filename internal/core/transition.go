package core

import (
	"net/netip"
	"time"

	"github.com/l2vip/l2vip/election"
)

// Kind is what a transition is.
type Kind uint8

// The kinds of transitions, each with what it fills in besides Kind.
const (
	_ Kind = iota
	// Moved: the address state went From one phase To another because of Cause. Node
	// is the member that it was handed over by, if one did.
	Moved
	// Announced: the claim of Addr was announced for the first time, At.
	Announced
	// HolderChanged: Node holds Addr as this node sees it; none if it is empty.
	HolderChanged
	// Contested: another member holds Addr too, and this node keeps it.
	Contested
	// OfferChanged: this node offers Addr or not, for Reason, said in Detail.
	OfferChanged
	// HealthChanged: Service is ready or not, said in Detail.
	HealthChanged
	// DisputedBy: a foreign Station uses Addr, which is not claimed or is given up.
	DisputedBy
	// ForeignStation: Station, which was Node's if that is known, claims Addr, which
	// this node keeps.
	ForeignStation
	// KernelAnswers: Station is that of the live member Node, which does not hold
	// Addr: its kernel answers.
	KernelAnswers
	// Defended: Addr was announced again because of Station.
	Defended
	// ConfiguredHere: somebody has configured Addr on an interface of this node, said in
	// Detail, which is empty when that is over.
	ConfiguredHere
	// ConflictOver: Station has not claimed Addr any more for a while.
	ConflictOver
	// MemberJoined, MemberOffered, MemberLeft and MemberSilent: Node is live, its
	// offer is known, it has left, or it is not heard any more.
	MemberJoined
	MemberOffered
	MemberLeft
	MemberSilent
	// BeatsMissing: Node is live for the membership alone: its beats do not arrive any
	// more, and its kernel answers.
	BeatsMissing
	// ConfigDiffers: Node is configured differently.
	ConfigDiffers
	// NameConflict: Node's name is used by another live member, at Station.
	NameConflict
	// LeaseLost and LeaseRegained: this process did not run in time, or may act again.
	LeaseLost
	LeaseRegained
)

// Transition is a change, as the function tells that made it.
type Transition struct {
	Kind    Kind
	Addr    netip.Addr
	Service string
	// From and To are the phases of the address, and Cause is what moved it.
	From, To Phase
	Cause    string
	Node     string
	Station  election.HardwareAddr
	Reason   election.Reason
	Detail   string
	// At is when it happened; zero for now.
	At time.Time
}

package election

import (
	"net/netip"
	"time"
)

// Local is the member that runs in this process, as its Runner tells it to whatever
// carries its offers: a membership engine, or the segment.
type Local struct {
	// Name is the member's name, of 1 to 128 bytes.
	Name string
	// Instance tells the starts of one name apart. It is the same wherever this
	// start appears, so that two ways to one member are known to lead to one.
	Instance uint64
	// Cluster is the cluster's name. Members of different clusters do not see each
	// other.
	Cluster string
	// Keys returns the keys for a protocol between the members, named by purpose: the
	// same on all members, and neither the cluster's secrets nor the keys for another
	// purpose follow from them. It returns nil, and may itself be nil, if the cluster has
	// no secret. When the secrets are rotated it returns another pointer; it is cheap
	// enough to be asked for each packet. Whether there is a secret never changes.
	Keys func(purpose string) *Keys
	// Beats returns the names of the members whose beats arrive on a segment now, which
	// must not be changed, and a channel that is closed when they are others: a membership
	// needs to ask such members less often whether they are there. It may be nil, is called
	// from any goroutine, and never blocks.
	Beats func() (names map[string]bool, changed <-chan struct{})
	// Refused is told of each message that is refused: where it comes from, see
	// [Refusal].From, and why. It may be nil, is called from any goroutine, and never
	// blocks.
	Refused func(from, why string)
	// Learned delivers where other members can be joined, as they were heard of
	// elsewhere. If nil, nobody is heard of elsewhere.
	Learned <-chan netip.AddrPort
}

// KeysFor returns the keys for purpose, or nil if the cluster has no secret.
func (l *Local) KeysFor(purpose string) *Keys {
	if l.Keys == nil {
		return nil
	}
	return l.Keys(purpose)
}

// Refuse tells of a message that is refused.
func (l *Local) Refuse(from, why string) {
	if l.Refused != nil {
		l.Refused(from, why)
	}
}

// Membership is what a membership engine tells of the other members: a whole
// picture each time.
type Membership struct {
	// Offers are the offers of all other live members. A member whose offer is not
	// known, or is void, has one with only its Node.
	Offers []Offer
	// Endpoint is where other members reach this one's engine; invalid if nowhere.
	Endpoint netip.AddrPort
	// Detection is the shortest time after which the others may
	// declare a member dead that does not answer. If zero, it is not known.
	Detection time.Duration
}

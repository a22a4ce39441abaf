package election

import (
	"fmt"
	"time"
)

// Why two nodes do not understand each other, wherever that is found out.
const (
	// OtherSecret: the two have no secret in common, or only one of them has any.
	OtherSecret = "no secret in common"
	// OtherVersion: the two speak versions of the protocol that do not understand each
	// other.
	OtherVersion = "another version of the protocol"
)

// Refusal is a host whose messages this node refuses for one reason.
type Refusal struct {
	// From is the address that they come from: an Ethernet address if they come by the
	// segment, an IP address if by the membership's port. Nothing proves it.
	From string
	// Why says why they are refused, for people.
	Why string
	// Since and Last are when the first and the last of them came, and Count is how many
	// did.
	Since, Last time.Time
	Count       uint64
}

// String says who is refused, why, and since when.
func (r Refusal) String() string {
	return fmt.Sprintf("%s: %s (%d since %s, last %s)", r.From, r.Why, r.Count, r.Since.Format(time.DateTime), r.Last.Format(time.DateTime))
}

package segment

import (
	"net/netip"

	"github.com/l2vip/l2vip/election"
)

// FNV-1a, with the finaliser of splitmix64 because what is hashed is short and much
// alike. Both are part of the protocol.
const (
	fnvOffset = 14695981039346656037
	fnvPrime  = 1099511628211
)

func mix(h uint64) uint64 {
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	return h ^ h>>31
}

// tag is a member in the list of those that are heard.
type tag [tagLen]byte

// tagOf returns the tag of an instance of a member.
func tagOf(name string, instance uint64) tag {
	h := uint64(fnvOffset)
	for i := range len(name) {
		h = (h ^ uint64(name[i])) * fnvPrime
	}
	h = mix(h ^ mix(instance))
	return tag{byte(h >> 24), byte(h >> 16), byte(h >> 8), byte(h)}
}

// hashAddr hashes an address.
func hashAddr(addr netip.Addr) uint64 {
	h := uint64(fnvOffset)
	for _, b := range addr.As16() {
		h = (h ^ uint64(b)) * fnvPrime
	}
	return mix(h)
}

// digestOf returns the digest of the addresses that an offer says are held: the sum
// of their hashes, so that their order does not matter, and zero for none only.
func digestOf(o *election.Offer) (digest uint64) {
	holds := false
	for i := range o.Entries {
		if o.Entries[i].Holds {
			holds = true
			digest += hashAddr(o.Entries[i].Addr)
		}
	}
	if holds && digest == 0 {
		return 1
	}
	return digest
}

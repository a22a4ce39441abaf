package election

import "net/netip"

// HashVersion is the version of [Score], which is part of the protocol between
// members: a version never changes. All members use the lowest version that any
// of them knows; one that says nothing of it in its offer knows version 1, so
// nothing is said as long as there is no other.
const HashVersion = 1

const (
	fnvOffset = 14695981039346656037
	fnvPrime  = 1099511628211
)

// Score returns the score of node for addr in rendezvous hashing: of candidates
// with equal weight the one with the highest score owns the address, so a
// member that leaves moves only its own addresses, and each member gets an even
// share.
//
// This is version 1: FNV-1a over the bytes of the name, a zero byte and the 16
// bytes of the address (an IPv4 address in its IPv4-mapped form), followed by
// the finaliser of splitmix64, without which FNV-1a is far from even on short
// keys that are much alike.
func Score(node string, addr netip.Addr) uint64 {
	return score(hashName(node), addr)
}

// hashName is the part of [Score] that is alike for all addresses.
func hashName(node string) uint64 {
	h := uint64(fnvOffset)
	for i := range len(node) {
		h = (h ^ uint64(node[i])) * fnvPrime
	}
	return h * fnvPrime // the zero byte between name and address
}

// score goes on from hashName.
func score(h uint64, addr netip.Addr) uint64 {
	for _, b := range addr.As16() {
		h = (h ^ uint64(b)) * fnvPrime
	}
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	return h ^ h>>31
}

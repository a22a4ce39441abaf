package election

const (
	// KeySize is the length of a key, in bytes.
	KeySize = 32
	// MaxKeys is how many keys are accepted at once, at the most: a frame on the segment
	// has room for so many proofs.
	MaxKeys = 3
)

// Keys are the keys for one protocol between the members: the first seals what this
// member sends, and each opens what others send. Keys are immutable, so a consumer sees
// by the pointer alone that they have been rotated. Members understand each other as
// long as they have one key in common.
type Keys struct{ keys [][KeySize]byte }

// NewKeys returns the keys, or nil if there are none. Members use the first MaxKeys.
func NewKeys(keys ...[KeySize]byte) *Keys {
	if len(keys) == 0 {
		return nil
	}
	return &Keys{append([][KeySize]byte(nil), keys...)}
}

// Len returns how many keys there are; nil has none.
func (k *Keys) Len() int {
	if k == nil {
		return 0
	}
	return len(k.keys)
}

// At returns the i-th key. The first seals.
func (k *Keys) At(i int) [KeySize]byte { return k.keys[i] }

package gossip

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"slices"

	"github.com/l2vip/l2vip/election"
)

// keyPurpose names the keys of the engines among those that follow from the cluster's
// secrets.
const keyPurpose = "gossip"

// keyID names a key in the clear: nothing about the key follows from it.
type keyID [4]byte

// noKey names the public key. The engines of a cluster without a secret
// use it: all else is the same for them.
var noKey keyID

// secret is one of the cluster's keys, and its name.
type secret struct {
	id  keyID
	key [election.KeySize]byte
}

// ring is the secrets that are accepted at a moment. It never changes.
type ring struct {
	from    *election.Keys
	secrets []secret // the first is the one to send with
}

// newRing returns the secrets for the members of a cluster.
func newRing(cluster string, keys *election.Keys) *ring {
	r := &ring{from: keys}
	for i := range min(keys.Len(), election.MaxKeys) {
		s := secret{key: keys.At(i)}
		copy(s.id[:], s.derive(cluster, "id", len(s.id)))
		s.id[0] |= 1 // never noKey
		r.secrets = append(r.secrets, s)
	}
	if len(r.secrets) == 0 {
		r.secrets = []secret{{id: noKey}}
	}
	return r
}

// keyed reports whether the secrets are secret.
func (r *ring) keyed() bool { return r.secrets[0].id != noKey }

// find returns the secret with the name, or nil.
func (r *ring) find(id keyID) *secret {
	for i := range r.secrets {
		if r.secrets[i].id == id {
			return &r.secrets[i]
		}
	}
	return nil
}

// choose returns the first secret that the other accepts, too; nil if there is none.
func (r *ring) choose(accepted []keyID) *secret {
	for i := range r.secrets {
		if slices.Contains(accepted, r.secrets[i].id) {
			return &r.secrets[i]
		}
	}
	return nil
}

// ids returns the names of the secrets, that of first at the head.
func (r *ring) ids(first *secret) []keyID {
	ids := []keyID{first.id}
	for i := range r.secrets {
		if r.secrets[i].id != first.id {
			ids = append(ids, r.secrets[i].id)
		}
	}
	return ids
}

// derive returns a key for one purpose within the protocol (RFC 5869).
func (s *secret) derive(cluster, info string, size int) []byte {
	key, err := hkdf.Key(sha256.New, s.key[:], []byte(cluster), protocol+info, size)
	if err != nil {
		panic(err) // never at these lengths
	}
	return key
}

// datagrams returns what seals the datagrams of one instance of a sender.
func (s *secret) datagrams(cluster, sender string, instance uint64) cipher.AEAD {
	info := binary.BigEndian.AppendUint64([]byte("datagram\x00"+sender+"\x00"), instance)
	return newAEAD(s.derive(cluster, string(info), election.KeySize))
}

func newAEAD(key []byte) cipher.AEAD {
	block, err := aes.NewCipher(key)
	if err != nil {
		panic(err) // never at this length
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic(err) // never for AES
	}
	return aead
}

// sealSize is by how much sealing lengthens.
const sealSize = 16

// nonce returns the counter as a nonce. No counter comes twice under one key.
func nonce(counter uint64) []byte {
	return binary.BigEndian.AppendUint64(make([]byte, 4, 12), counter)
}

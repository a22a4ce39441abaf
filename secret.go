package l2vip

import (
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"golang.org/x/crypto/argon2"

	"github.com/l2vip/l2vip/election"
)

// keyring has the secrets of the cluster, from which the members derive the keys for
// each purpose. All of that is part of the protocol.
type keyring struct {
	cluster string
	current atomic.Pointer[secrets] // nil: the cluster has no secret
}

// secrets are those of one moment. They never change; their keys are derived when they
// are asked for.
type secrets struct {
	all []func() []byte // the first sends

	mu   sync.Mutex
	keys map[string]*election.Keys
}

// newKeyring returns the secrets of a configuration. With a passphrase the first call
// for a key takes some ten milliseconds.
func newKeyring(cluster string, key []byte, passphrase string, accept [][]byte) *keyring {
	r := &keyring{cluster: cluster}
	first := func() []byte { return key }
	if passphrase != "" {
		first = sync.OnceValue(func() []byte {
			// Argon2id with the parameters that OWASP asks for at the least.
			const passes, memoryKiB, lanes = 2, 19 * 1024, 1
			return argon2.IDKey([]byte(passphrase), []byte("github.com/l2vip/l2vip 2\x00"+cluster), passes, memoryKiB, lanes, sha256.Size)
		})
	}
	if len(key) > 0 || passphrase != "" {
		r.current.Store(newSecrets(append([]func() []byte{first}, given(accept)...)))
	}
	return r
}

func newSecrets(all []func() []byte) *secrets {
	return &secrets{all: all, keys: make(map[string]*election.Keys)}
}

// given returns secrets that are there already, as copies.
func given(keys [][]byte) (all []func() []byte) {
	for _, key := range keys {
		key = append([]byte(nil), key...)
		all = append(all, func() []byte { return key })
	}
	return all
}

// set replaces the secrets.
func (r *keyring) set(keys [][]byte) error {
	if err := checkKeys(keys); err != nil {
		return err
	}
	if r.current.Load() == nil {
		return errors.New("the cluster has no secret, and cannot be given one while it runs")
	}
	r.current.Store(newSecrets(given(keys)))
	return nil
}

// checkKeys returns what is wrong with the secrets of a rotation.
func checkKeys(keys [][]byte) error {
	switch {
	case len(keys) == 0:
		return errors.New("no key: the cluster cannot be left without a secret while it runs")
	case len(keys) > election.MaxKeys:
		return fmt.Errorf("%d keys, more than %d", len(keys), election.MaxKeys)
	}
	for i, key := range keys {
		if len(key) < minKey {
			return fmt.Errorf("key %d is %d bytes long, fewer than %d", i+1, len(key), minKey)
		}
	}
	return nil
}

// Keys implements election.Local's Keys: the same pointer until the secrets change.
func (r *keyring) Keys(purpose string) *election.Keys {
	s := r.current.Load()
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	keys := s.keys[purpose]
	if keys == nil {
		derived := make([][election.KeySize]byte, len(s.all))
		for i, secret := range s.all {
			// RFC 5869.
			key, err := hkdf.Key(sha256.New, secret(), []byte(r.cluster), "github.com/l2vip/l2vip 2 for "+purpose, election.KeySize)
			if err != nil {
				panic(err) // never at this length; no key would mean that there is no secret
			}
			derived[i] = [election.KeySize]byte(key)
		}
		keys = election.NewKeys(derived...)
		s.keys[purpose] = keys
	}
	return keys
}

package l2vip

import (
	"crypto/hkdf"
	"crypto/sha256"
	"sync"

	"golang.org/x/crypto/argon2"
)

// derivation returns the function by which members of a cluster derive the key for a
// purpose from its key or its passphrase; nil if it has neither. All of this is part of
// the protocol. With a passphrase the first call takes some ten milliseconds.
func derivation(cluster string, key []byte, passphrase string) func(purpose string) []byte {
	if len(key) == 0 && passphrase == "" {
		return nil
	}
	secret := sync.OnceValue(func() []byte {
		if len(key) > 0 {
			return key
		}
		// Argon2id with the parameters that OWASP asks for at the least.
		const passes, memoryKiB, lanes = 2, 19 * 1024, 1
		return argon2.IDKey([]byte(passphrase), []byte("github.com/l2vip/l2vip 2\x00"+cluster), passes, memoryKiB, lanes, sha256.Size)
	})
	return func(purpose string) []byte {
		// RFC 5869.
		key, err := hkdf.Key(sha256.New, secret(), []byte(cluster), "github.com/l2vip/l2vip 2 for "+purpose, sha256.Size)
		if err != nil {
			panic(err) // never at this length; no key would mean that there is no secret
		}
		return key
	}
}

package l2vip

import (
	"crypto/hkdf"
	"crypto/sha256"
	"sync"

	"golang.org/x/crypto/argon2"
)

// derivation returns the function by which members of the cluster derive the key for
// a purpose; nil if the cluster has no secret. All of this is part of the protocol.
// With a Passphrase the first call takes some ten milliseconds.
func (c *Config) derivation() func(purpose string) []byte {
	if len(c.Key) == 0 && c.Passphrase == "" {
		return nil
	}
	secret := sync.OnceValue(c.secret)
	return func(purpose string) []byte {
		// RFC 5869.
		key, err := hkdf.Key(sha256.New, secret(), []byte(c.Cluster), "github.com/l2vip/l2vip 2 for "+purpose, sha256.Size)
		if err != nil {
			panic(err) // never at this length; no key would mean that there is no secret
		}
		return key
	}
}

// secret returns the cluster's, from which all keys are derived.
func (c *Config) secret() []byte {
	if len(c.Key) > 0 {
		return c.Key
	}
	// Argon2id with the parameters that OWASP asks for at the least.
	const passes, memoryKiB, lanes = 2, 19 * 1024, 1
	return argon2.IDKey([]byte(c.Passphrase), []byte("github.com/l2vip/l2vip 2\x00"+c.Cluster), passes, memoryKiB, lanes, sha256.Size)
}

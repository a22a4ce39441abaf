package l2vip

import (
	"encoding/hex"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/l2vip/l2vip/election"
)

// What the members derive is part of the protocol.
func TestKeyVectors(t *testing.T) {
	key := func(r *keyring, purpose string) string {
		k := r.Keys(purpose).At(0)
		return hex.EncodeToString(k[:8])
	}
	r := newKeyring("l2vip", []byte("0123456789abcdef"), "", nil)
	require.Equal(t, "193251cb37e920df", key(r, "gossip"))
	require.Equal(t, "d79ffe9859f9829a", key(r, "segment"))
	require.Equal(t, "0cdc2ea603214afb", key(newKeyring("l2vip", nil, "a passphrase", nil), "gossip"))
	require.Nil(t, newKeyring("l2vip", nil, "", nil).Keys("gossip"))
}

func TestSetKeys(t *testing.T) {
	one, two := []byte(strings.Repeat("1", 16)), []byte(strings.Repeat("2", 16))
	r := newKeyring("l2vip", one, "", [][]byte{two})
	before := r.Keys("gossip")
	require.Same(t, before, r.Keys("gossip"))
	require.Equal(t, 2, before.Len())
	require.NoError(t, r.set([][]byte{two, one}))
	after := r.Keys("gossip")
	require.NotSame(t, before, after)
	require.Equal(t, before.At(0), after.At(1))
	require.Equal(t, before.At(1), after.At(0))

	require.ErrorContains(t, r.set(nil), "no key")
	require.ErrorContains(t, r.set([][]byte{one, nil}), "key 2 is 0 bytes long")
	require.ErrorContains(t, r.set(make([][]byte, election.MaxKeys+1)), "4 keys, more than 3")
	require.Same(t, after, r.Keys("gossip"), "an error changes nothing")
	require.ErrorContains(t, newKeyring("l2vip", nil, "", nil).set([][]byte{one}), "no secret")
}

func TestAcceptKeysAreChecked(t *testing.T) {
	long := []byte(strings.Repeat("x", 16))
	for want, c := range map[string]Config{
		"AcceptKeys: set without Key or Passphrase": {AcceptKeys: [][]byte{long}},
		"AcceptKeys: key 1 is 3 bytes long":         {Key: long, AcceptKeys: [][]byte{long[:3]}},
		"AcceptKeys: 3 keys, more than 2":           {Key: long, AcceptKeys: [][]byte{long, long, long}},
	} {
		_, err := c.validated()
		require.ErrorContains(t, err, want)
	}
}

func TestRunnerSetKeys(t *testing.T) {
	long := []byte(strings.Repeat("x", 16))
	r, err := New(Config{Name: "a", Key: long, Membership: Alone})
	require.NoError(t, err)
	before := r.config.keyring.Keys("gossip")
	require.NoError(t, r.SetKeys(long, []byte(strings.Repeat("y", 16))))
	require.Equal(t, before.At(0), r.config.keyring.Keys("gossip").At(0))
	require.Equal(t, 2, r.config.keyring.Keys("gossip").Len())
	require.EqualError(t, r.SetKeys(), "l2vip: SetKeys: no key: the cluster cannot be left without a secret while it runs")
	require.ErrorContains(t, r.SetKeys(long[:15]), "key 1 is 15 bytes long, fewer than 16")

	r, err = New(Config{Name: "a", Membership: Alone})
	require.NoError(t, err)
	require.ErrorContains(t, r.SetKeys(long), "the cluster has no secret, and cannot be given one while it runs")
}

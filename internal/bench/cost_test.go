package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestParseStat(t *testing.T) {
	group, cpu, err := parseStat("4711 (a) b c) S 1 4700 4700 0 -1 4194560 1 2 3 4 10 20 30 40 20 0 1 0")
	require.NoError(t, err)
	require.Equal(t, 4700, group)
	require.Equal(t, time.Second, cpu)
	for _, text := range []string{"", "4711 (a) S 1", "4711 a", "1 (a) S 1 x 1 0 -1 4194560 1 2 3 4 10 20 30 40 20"} {
		_, _, err := parseStat(text)
		require.Error(t, err, text)
	}
}

func TestParseDev(t *testing.T) {
	text := []byte(`Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:    1000      10    0    0    0     0          0         0     1000      10    0    0    0     0       0          0
  eth0:  123456     700    0    0    0     0          0         0    98765     421    0    0    0     0       0          0
`)
	packets, err := parseDev(text, "eth0")
	require.NoError(t, err)
	require.Equal(t, uint64(421), packets)
	_, err = parseDev(text, "eth1")
	require.Error(t, err)
}

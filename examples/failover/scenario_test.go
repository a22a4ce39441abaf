package main

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// The manifest is the one that the parser is tested with, word for word; over
// IPv6 only the addresses differ.
func TestScenario(t *testing.T) {
	want, err := os.ReadFile("../../pool/manifest/testdata/scenario.yaml")
	require.NoError(t, err)
	require.Equal(t, string(want), scenario)
	for address, f := range map[string]family{"192.168.122.100": overIPv4, "2001:db8:122::100": overIPv6} {
		m, vip, err := readScenario(f)
		require.NoError(t, err)
		require.Equal(t, address, vip.String())
		require.Empty(t, m.Ignored)
		require.True(t, m.Advertisements[0].SelectsNode(map[string]string{"node-role": "front"}))
		require.False(t, m.Advertisements[0].SelectsNode(nil))
	}
}

package main

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// The manifest is the one that the parser is tested with, word for word.
func TestScenario(t *testing.T) {
	want, err := os.ReadFile("../../pool/manifest/testdata/scenario.yaml")
	require.NoError(t, err)
	require.Equal(t, string(want), string(scenario))
	m, vip, err := readScenario()
	require.NoError(t, err)
	require.Equal(t, "192.168.122.100", vip.String())
	require.Empty(t, m.Ignored)
	require.True(t, m.Advertisements[0].SelectsNode(map[string]string{"node-role": "front"}))
	require.False(t, m.Advertisements[0].SelectsNode(nil))
}

package main

import (
	"io"
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/l2vip/l2vip"
)

// The simulation is played with the timings of the profile, and counts its beats:
// ten seconds with two nodes and ten with three.
func TestRisk(t *testing.T) {
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip(err)
	}
	loss := caseNamed(t, "loss")
	for _, p := range profiles {
		s := ours(p)
		if !loss.fits(s) {
			continue
		}
		r, err := measureRisk(t.Context(), trial{system: s, options: options{seeds: 1, seed: 10 * time.Second}, log: io.Discard})
		require.NoError(t, err)
		require.Equal(t, 1, r.Seeds)
		require.Zero(t, r.Takeovers)
		require.InDelta(t, 20*time.Second/p.timings.Beat, r.Beats, 10, p.name)
	}
	require.Equal(t, l2vip.Fast().Beat, profileNamed("l2vip-fast").timings.Beat)
}

func TestParseRisk(t *testing.T) {
	r, err := parseRisk([]byte("=== RUN   TestLoss\n=== ATTR  TestLoss beats 7\n=== ATTR  TestLoss suspicions 2\n=== ATTR  TestLoss takeovers 1\n--- FAIL: TestLoss\n"))
	require.NoError(t, err)
	require.Equal(t, result{Beats: 7, Suspicions: 2, Takeovers: 1}, r)
	_, err = parseRisk([]byte("=== ATTR  TestLoss beats 7\nPASS\n"))
	require.ErrorContains(t, err, "does not say")
	_, err = parseRisk([]byte("=== ATTR  TestLoss beats seven\n"))
	require.Error(t, err)
}

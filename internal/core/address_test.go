package core

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTermsNeverWrap(t *testing.T) {
	require.EqualValues(t, 1, above(0))
	require.EqualValues(t, 8, above(7))
	require.EqualValues(t, uint64(math.MaxUint64), above(math.MaxUint64))
}

func TestPhasesHaveNames(t *testing.T) {
	require.Equal(t, "standby", Standby.String())
	require.Equal(t, "backoff", Backoff.String())
	require.Equal(t, "phase 6", Phase(6).String())
}

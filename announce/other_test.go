//go:build !linux

package announce_test

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/l2vip/l2vip/announce"
)

func runSpeaker() int  { return 1 }
func runSpeaker6() int { return 1 }
func runObedient() int { return 1 }

func TestRunIsUnsupported(t *testing.T) {
	a, err := announce.New(announce.Config{})
	require.NoError(t, err)
	require.ErrorIs(t, a.Run(t.Context(), func(announce.Facts) {}), errors.ErrUnsupported)
}

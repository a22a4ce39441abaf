//go:build !linux

package health_test

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/l2vip/l2vip/health"
)

func TestProcessNeedsLinux(t *testing.T) {
	require.ErrorIs(t, health.Process{PID: 1}.Run(t.Context(), nil), errors.ErrUnsupported)
}

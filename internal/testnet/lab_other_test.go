//go:build !linux

package testnet_test

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/l2vip/l2vip/internal/testnet"
)

var roles map[string]func() int

func TestNoLabsHere(t *testing.T) {
	require.ErrorIs(t, testnet.Available(), errors.ErrUnsupported)
	_, err := testnet.NewLab()
	require.ErrorIs(t, err, errors.ErrUnsupported)
}

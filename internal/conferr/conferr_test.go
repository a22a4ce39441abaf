package conferr_test

import (
	"errors"
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/l2vip/l2vip/internal/conferr"
)

func TestMergeKeepsEveryFindingWithItsPath(t *testing.T) {
	var inner conferr.List
	inner.Addf("[0]", "reversed: %w", io.ErrUnexpectedEOF)
	inner.AddPair("Name", "[0]", "empty")

	var outer conferr.List
	outer.Addf("Membership", "required")
	outer.Merge("Pools", inner.Err())
	outer.Merge("Announcer", errors.New("no such thing"))
	outer.Merge("Nothing", nil)

	err := outer.Err()
	require.EqualError(t, err, "Membership: required\nPools[0]: reversed: unexpected EOF\nPools.Name: empty\nAnnouncer: no such thing")
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)

	var finding *conferr.Error
	require.ErrorAs(t, err, &finding)
	require.Equal(t, "Membership", finding.Path)
	require.Empty(t, finding.Other)

	require.ErrorAs(t, err.(interface{ Unwrap() []error }).Unwrap()[2], &finding)
	require.Equal(t, "Pools.Name", finding.Path)
	require.Equal(t, "Pools[0]", finding.Other)
}

func TestEmptyListIsNoError(t *testing.T) {
	var l conferr.List
	require.NoError(t, l.Err())
}

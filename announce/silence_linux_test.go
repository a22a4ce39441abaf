package announce_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/l2vip/l2vip/announce"
)

func silent(f announce.Facts) bool { return len(f.Links) > 0 && f.Links[0].Silent }

func hears(f announce.Facts) bool { return len(f.Links) > 0 && !f.Links[0].Silent }

// A switch's port that forwards nothing leaves the carrier alone. It is found by
// asking the neighbors that the kernel knows; as long as they answer, a segment may
// be as quiet as it likes.
func TestSilence(t *testing.T) {
	t.Parallel()
	eachFamily(t, func(t *testing.T, b *bench, f family) {
		f.setEntry(t, b.node, f.client, b.client.node.HardwareAddr)
		own := newStation(t, b.node) // hears what is sent, wherever it ends
		s := start(t, b.node, announce.Config{}, answering(f.vip)...)
		for range 3 {
			q := own.nextQuestion(t, b.node.HardwareAddr, f.client)
			require.True(t, q.from.IsUnspecified())
		}
		s.ready(t, 1)
		for _, got := range s.reports() {
			require.False(t, silent(got))
		}

		require.NoError(t, b.node.Block())
		got := s.await(t, silent)
		require.Empty(t, got.Links[0].Problem)
		require.Equal(t, announce.NoProblem, about(got, f.vip).Problem)
		// From now on it says who asks, so that kernels that have lost each other
		// learn where they are as soon as they can.
		for {
			q := own.nextQuestion(t, b.node.HardwareAddr, f.client)
			if !q.from.IsUnspecified() {
				require.Equal(t, f.speaker, q.from)
				break
			}
		}

		// A neighbor that answers ends it.
		require.NoError(t, b.node.Unblock())
		s.await(t, hears)

		// So does an end of answering: it is nobody's business any more.
		require.NoError(t, b.node.Block())
		s.await(t, silent)
		require.NoError(t, s.Set(assigned(announce.Standby, f.vip)))
		s.await(t, hears)
	})
}

// Where no neighbor is known there is nobody to ask: alone, or cut off.
func TestSilenceWithoutNeighbors(t *testing.T) {
	t.Parallel()
	eachFamily(t, func(t *testing.T, b *bench, f family) {
		s := start(t, b.node, announce.Config{}, answering(f.vip)...)
		s.await(t, silent)
		// Whatever is heard of another station ends it, a question to a third, too.
		talk(t, b.client.node, f.other, func() bool {
			return len(s.reports()) > 0 && hears(s.reports()[len(s.reports())-1])
		}, "a neighbor is heard")
		s.await(t, silent)
	})
}

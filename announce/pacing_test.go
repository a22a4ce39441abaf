package announce

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// Within any time no more is sent than a burst and what the rate gives for that
// time; and that much may be sent.
func TestPacer(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		burst, rate := rapid.IntRange(1, 50).Draw(t, "burst"), rapid.IntRange(1, 5000).Draw(t, "rate")
		each := time.Second / time.Duration(rate)
		p := newPacer(burst, rate)
		now := time.Now()
		var sent []time.Time
		send := func(most int) (n int) {
			for ; n < most && p.ready(now); n++ {
				p.sent(1, now)
				sent = append(sent, now)
			}
			return n
		}
		require.Equal(t, burst, send(2*burst), "a burst goes at once")
		for range rapid.IntRange(0, 20).Draw(t, "steps") {
			if !p.ready(now) && rapid.Bool().Draw(t, "wait for it") {
				now = p.readyAt()
				require.True(t, p.ready(now))
				require.False(t, p.ready(now.Add(-1)))
			} else {
				now = now.Add(time.Duration(rapid.Int64Range(0, int64(2*each)).Draw(t, "pause")))
			}
			send(rapid.IntRange(0, 5).Draw(t, "frames"))
		}
		for i, first := range sent {
			for j, last := range sent[i:] {
				require.LessOrEqual(t, time.Duration(j+1-burst)*each, last.Sub(first), "%d frames", j+1)
			}
		}
		now = now.Add(time.Duration(burst) * each)
		require.Equal(t, burst, send(2*burst), "a burst again, after a pause")
	})
}

// A burst or a rate beyond all measure is no pace at all.
func TestPacerOfExtremes(t *testing.T) {
	now := time.Now()
	for _, p := range []pacer{newPacer(math.MaxInt, 1), newPacer(1, math.MaxInt), newPacer(math.MaxInt, math.MaxInt)} {
		for range 1000 {
			now = now.Add(time.Nanosecond)
			require.True(t, p.ready(now))
			p.sent(1, now)
		}
	}
}

// A rival is probed for at least as often as Config.RivalProbe says, each 10
// seconds by default.
func TestRivalProbeAfter(t *testing.T) {
	require.Equal(t, 10*time.Second, DefaultRivalProbe)
	rapid.Check(t, func(t *rapid.T) {
		most := time.Duration(rapid.Int64Range(1, int64(24*time.Hour)).Draw(t, "most"))
		after := rivalProbeAfter(most, rapid.Float64Range(0, 0.9999).Draw(t, "spread"))
		require.GreaterOrEqual(t, after, most*3/4)
		require.LessOrEqual(t, after, most)
	})
}

func TestConfigOfPacingAndProbing(t *testing.T) {
	_, err := New(Config{RivalProbe: -time.Second, Burst: -1, Rate: -2})
	require.ErrorContains(t, err, "RivalProbe: -1s is negative")
	require.ErrorContains(t, err, "Burst: -1 is negative")
	require.ErrorContains(t, err, "Rate: -2 is negative")
	a, err := New(Config{})
	require.NoError(t, err)
	require.Equal(t, DefaultRivalProbe, a.config.RivalProbe)
	require.Equal(t, DefaultBurst, a.config.Burst)
	require.Equal(t, DefaultRate, a.config.Rate)
}

// Every reason to drop a frame has a name of its own.
func TestDropStrings(t *testing.T) {
	names := make(map[string]bool)
	for d := range Drop(dropReasons) {
		require.NotEmpty(t, d.String())
		require.NotContains(t, d.String(), "drop ")
		names[d.String()] = true
	}
	require.Len(t, names, dropReasons)
	require.Equal(t, "drop 99", Drop(99).String())
}

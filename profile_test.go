package l2vip_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/l2vip/l2vip"
)

func TestDetectionOfTheProfiles(t *testing.T) {
	for _, tt := range []struct {
		name    string
		profile l2vip.Profile
		within  time.Duration
	}{
		{"zero", l2vip.Profile{}, 280 * time.Millisecond},
		{"default", l2vip.DefaultProfile(), 280 * time.Millisecond},
		{"fast", l2vip.Fast(), 10 * time.Millisecond},
		{"slow", l2vip.Slow(), 2290 * time.Millisecond},
		{"one field", l2vip.Profile{Beat: 10 * time.Millisecond}, 70 * time.Millisecond},
	} {
		require.Equal(t, tt.within, tt.profile.Detection(), tt.name)
	}
}

func TestProfilesThatCannotWork(t *testing.T) {
	for _, tt := range []struct {
		profile l2vip.Profile
		want    string
	}{
		{l2vip.Profile{Beat: time.Microsecond}, "Profile.Beat: 1µs is not between 500µs and 10s"},
		{l2vip.Profile{Beat: time.Minute}, "Profile.Beat: 1m0s is not between"},
		{l2vip.Profile{Beat: -1}, "Profile.Beat: "},
		{l2vip.Profile{Misses: 1}, "Profile.Misses: 1: a single frame that is lost must not count"},
		{l2vip.Profile{Misses: -1}, "Profile.Misses: -1"},
		{l2vip.Profile{Misses: 1000}, "Misses: 1000"},
		{l2vip.Profile{Probe: -1}, "Profile.Probe: -1ns is negative"},
	} {
		_, err := l2vip.New(l2vip.Config{Profile: tt.profile})
		require.ErrorContains(t, err, tt.want)
		var finding *l2vip.ConfigError
		require.ErrorAs(t, err, &finding)
	}
	for _, p := range []l2vip.Profile{{}, l2vip.DefaultProfile(), l2vip.Fast(), l2vip.Slow()} {
		_, err := l2vip.New(l2vip.Config{Profile: p})
		require.NoError(t, err)
	}
}

func TestNoBeatsWithoutOthersOrASegment(t *testing.T) {
	for name, configure := range map[string]func(int, *l2vip.Config){
		"alone": func(_ int, c *l2vip.Config) { c.Membership = l2vip.Alone },
		"none":  func(_ int, c *l2vip.Config) { c.Segment = l2vip.NoSegment },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				s := newClusterOf(t, layout{engines: gossipAlone}, 1, configure).nodes[0].Status()
				require.Empty(t, s.Segment)
				require.Zero(t, s.Beats)
				require.False(t, s.Realtime)
			})
		})
	}
}

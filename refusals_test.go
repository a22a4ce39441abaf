package l2vip

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/l2vip/l2vip/election"
)

func TestRefusalsAreToldOnceAMinute(t *testing.T) {
	var r refusals
	now := time.Unix(1_800_000_000, 0)
	began := now
	told := 0
	for range 121 {
		if r.note("192.168.122.12", election.OtherSecret, now) {
			told++
		}
		now = now.Add(time.Second)
	}
	require.Equal(t, 3, told)
	require.True(t, r.note("192.168.122.12", election.OtherVersion, now), "another reason")
	require.Equal(t, []election.Refusal{
		{From: "192.168.122.12", Why: election.OtherVersion, Since: now, Last: now, Count: 1},
		{From: "192.168.122.12", Why: election.OtherSecret, Since: began, Last: now.Add(-time.Second), Count: 121},
	}, r.read())
}

func TestRefusalsAreBounded(t *testing.T) {
	var r refusals
	now := time.Unix(1_800_000_000, 0)
	told := 0
	for i := range 10_000 {
		if r.note(fmt.Sprint(i), "x", now) {
			told++
		}
		now = now.Add(time.Millisecond)
	}
	require.Equal(t, maxRefusals, told, "in one minute")
	all := r.read()
	require.Len(t, all, maxRefusals)
	require.Equal(t, "9999", all[0].From, "the latest are kept")
	require.Equal(t, fmt.Sprint(10_000-maxRefusals), all[maxRefusals-1].From)
}

func TestRefusalInWords(t *testing.T) {
	at := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	r := election.Refusal{From: "02:00:00:00:00:01", Why: election.OtherSecret, Since: at, Last: at.Add(time.Minute), Count: 7}
	require.Equal(t, "02:00:00:00:00:01: no secret in common (7 since 2026-11-30 12:00:00, last 2026-11-30 12:01:00)", r.String())
}

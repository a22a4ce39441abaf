package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const ms = time.Millisecond

// sent makes requests that are sent every 5 ms: a digit is the front that has
// served it, and a dash one that has failed.
func sent(line string) []request {
	requests := make([]request, len(line))
	for i, c := range line {
		requests[i] = request{Number: i, Sent: time.Duration(i) * every, Took: ms}
		if c != '-' {
			requests[i].By = "front-" + string(c)
		}
	}
	return requests
}

func TestLongestGap(t *testing.T) {
	for name, tc := range map[string]struct {
		line     string
		from, to int
		want     time.Duration
	}{
		"nothing":                {"", 0, 0, 0},
		"all served":             {"11111", 0, 5, 5 * ms},
		"one failed":             {"11-11", 0, 5, 10 * ms},
		"the longest of two":     {"1-1---1", 0, 7, 20 * ms},
		"leads into the phase":   {"1--1111", 3, 7, 15 * ms},
		"of an earlier phase":    {"1---1111", 5, 8, 5 * ms},
		"of a later phase":       {"111-1111", 0, 3, 5 * ms},
		"not over":               {"11---", 0, 5, 15 * ms},
		"nothing served":         {"-----", 0, 5, 20 * ms},
		"nothing served in it":   {"1-----", 3, 6, 25 * ms},
		"by one, then by others": {"1-2-0", 0, 5, 10 * ms},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, tc.want, longestGap(sent(tc.line), tc.from, tc.to))
		})
	}
}

// The gap is between the times at which requests were sent, whenever they were
// answered.
func TestGapIsBetweenSendingTimes(t *testing.T) {
	requests := sent("1111")
	requests[1].Took = 200 * ms
	require.Equal(t, 5*ms, longestGap(requests, 0, 4))
	requests[2].Sent, requests[3].Sent = 40*ms, 41*ms // the client was late
	require.Equal(t, 35*ms, longestGap(requests, 0, 4))
	require.Equal(t, 35*ms, longestPause(requests))
}

func TestSpans(t *testing.T) {
	require.Empty(t, spans(nil))
	require.Equal(t, []span{
		{"front-1", 0, 10 * ms},
		{"", 10 * ms, 20 * ms},
		{"front-0", 20 * ms, 25 * ms},
	}, spans(sent("11--00")))
}

func TestFailures(t *testing.T) {
	require.Equal(t, 3, failures(sent("1-1--1")))
}

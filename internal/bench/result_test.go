package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const ms = time.Millisecond

// sent makes a trace that begins at a second, of a datagram each millisecond: a
// digit is the node that has answered, and a dash that nobody has.
func sent(line string) trace {
	t := trace{Start: time.Second}
	for i, c := range line {
		t.Sent = append(t.Sent, int32(i*1000))
		by := int32(0)
		if c != '-' {
			by = c - '0' + 1
		}
		t.By = append(t.By, by)
	}
	return t
}

func TestGap(t *testing.T) {
	for name, tc := range map[string]struct {
		line     string
		from, to int // milliseconds
		gap      time.Duration
		lost     int
	}{
		"nothing":                  {"", 0, 0, 0, 0},
		"not looked at":            {"1111", 2, 2, 0, 0},
		"after the end":            {"1111", 7, 9, 0, 0},
		"all answered":             {"11111", 0, 5, 1 * ms, 0},
		"one lost":                 {"11-11", 0, 5, 2 * ms, 1},
		"the longest of two":       {"1-1---1", 0, 7, 4 * ms, 4},
		"under way when it began":  {"1--1111", 3, 7, 3 * ms, 2},
		"lost before":              {"1---1111", 6, 8, 1 * ms, 0},
		"lost after":               {"111-1111", 0, 3, 1 * ms, 0},
		"not over":                 {"11---", 0, 5, 3 * ms, 3},
		"nobody has ever answered": {"-----", 0, 5, 4 * ms, 5},
		"nobody within":            {"1-----", 3, 6, 5 * ms, 5},
		"by one, then by others":   {"0-1-2", 0, 5, 2 * ms, 2},
		"to the end and beyond":    {"11-11", 0, 50, 2 * ms, 1},
	} {
		t.Run(name, func(t *testing.T) {
			at := func(ms int) time.Duration { return time.Second + time.Duration(ms)*time.Millisecond }
			gap, lost, _ := sent(tc.line).gap(at(tc.from), at(tc.to))
			require.Equal(t, tc.gap, gap)
			require.Equal(t, tc.lost, lost)
		})
	}
}

// The gap is between the times at which datagrams were sent, and it is known
// what the client itself was late by.
func TestGapOfALateClient(t *testing.T) {
	trace := sent("11111")
	trace.Sent[3] += 20_000
	trace.Sent[4] += 20_000
	gap, lost, late := trace.gap(time.Second, 2*time.Second)
	require.Equal(t, 21*ms, gap)
	require.Zero(t, lost)
	require.Equal(t, 21*ms, late)
}

func TestSighting(t *testing.T) {
	s := sighting{
		Claims: []claim{{10 * ms, "a"}, {11 * ms, "a"}, {500 * ms, "b"}, {900 * ms, "a"}, {901 * ms, "b"}},
		Asked:  []time.Duration{100 * ms, 200 * ms, 550 * ms, 700 * ms, 800 * ms},
		Answers: []answer{
			{0, 100 * ms, "a"},
			{2, 550 * ms, "a"}, // was under way, or a has not heard of b yet
			{3, 700 * ms, "b"},
			{3, 700 * ms, "a"},
			{4, 800 * ms, "b"},
			{1, 1500 * ms, "b"}, // late, but it is one
		},
	}
	require.Equal(t, 3, s.takeovers("a", 100*ms, time.Second))
	require.Equal(t, 1, s.takeovers("a", 100*ms, 900*ms))
	require.Equal(t, 0, s.takeovers("b", 600*ms, 900*ms))
	require.Equal(t, 2, s.takeovers("b", 600*ms, time.Second))
	require.Equal(t, 1, s.strays("a", 100*ms, time.Second))
	require.Equal(t, 0, s.strays("a", 0, 600*ms))
	require.Equal(t, 1, s.strays("b", 600*ms, time.Second))
	require.Equal(t, 0, s.unanswered(0, time.Second))
	require.Equal(t, 1, s.twoHolders(0, time.Second))
	require.Equal(t, 0, s.twoHolders(0, 700*ms))
	require.Equal(t, 0, s.twoHolders(701*ms, time.Second))
	s.Answers = s.Answers[:5]
	require.Equal(t, 1, s.unanswered(0, time.Second))
	require.Equal(t, 0, s.unanswered(300*ms, time.Second))
	require.Equal(t, 400*ms, s.announced("a", 100*ms, time.Second))
	require.Negative(t, s.announced("a", 100*ms, 400*ms))

	var nothing sighting
	require.Zero(t, nothing.takeovers("a", 0, time.Second)+nothing.strays("a", 0, time.Second)+nothing.unanswered(0, time.Second)+nothing.twoHolders(0, time.Second))
}

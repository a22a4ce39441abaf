package main

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// boardOf is a board that knows the requests, in an order of their ends.
func boardOf(requests []request, order ...int) *board {
	b := newBoard()
	for _, i := range order {
		b.add(requests[i])
	}
	return b
}

func TestBoardKeepsOrder(t *testing.T) {
	requests := sent("0123")
	b := boardOf(requests, 2, 0)
	require.Equal(t, 1, b.settled)
	require.Empty(t, b.served(2))
	b.add(requests[3])
	require.Equal(t, 1, b.settled)
	b.add(requests[1])
	require.Equal(t, 4, b.settled)
	require.Equal(t, requests, b.requests)
}

// A mark waits for the requests that were sent before it, so that none of them
// sees what is done after it.
func TestMark(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		requests := sent("0000")
		b := boardOf(requests, 0, 3)
		time.AfterFunc(time.Second, func() { b.add(requests[1]) })
		time.AfterFunc(2*time.Second, func() { b.add(requests[2]) })
		begun := time.Now()
		number, err := b.mark(t.Context())
		require.NoError(t, err)
		require.Equal(t, 4, number)
		require.Equal(t, 2*time.Second, time.Since(begun))
	})
}

func TestServed(t *testing.T) {
	for line, want := range map[string]string{
		"":      "",
		"11":    "",
		"2111":  "front-1",
		"2-111": "front-1",
		"1211":  "",
		"111-":  "",
		"---":   "",
	} {
		requests := sent(line)
		b := newBoard()
		for _, r := range requests {
			b.add(r)
		}
		require.Equal(t, want, b.served(3), line)
	}
}

func TestLeader(t *testing.T) {
	b := newBoard()
	require.Empty(t, b.leader())
	b.speakers["front-1"] = standing{Holds: true}
	b.speakers["front-0"] = standing{Candidate: true}
	require.Equal(t, "front-1", b.leader())
	b.speakers["front-0"] = standing{Holds: true}
	require.Empty(t, b.leader(), "two hold it")
}

func TestComplete(t *testing.T) {
	b := newBoard()
	for _, at := range speakers() {
		require.False(t, b.complete())
		b.speakers[at.name] = standing{Ready: true, Members: 3, Candidate: isFront(at.name)}
	}
	require.True(t, b.complete())
	for want, s := range map[string]standing{
		"front-2 is not ready":          {},
		"front-2 knows 2 of 3 members":  {Ready: true, Members: 2, Candidate: true},
		"front-2 is a candidate: false": {Ready: true, Members: 3},
	} {
		b.speakers["front-2"] = s
		require.Equal(t, []string{want}, b.lacking())
		require.False(t, b.complete())
	}
}

func TestIntruder(t *testing.T) {
	b := boardOf(sent("01-2"), 0, 1, 2, 3)
	b.answered["front-0"] = true
	require.NoError(t, b.intruder())
	b.answered["worker-0"] = true
	require.EqualError(t, b.intruder(), `"worker-0" answered for the address`)
	b = boardOf([]request{{Took: ms, By: "worker-0"}}, 0)
	require.EqualError(t, b.intruder(), `"worker-0" served a request`)
}

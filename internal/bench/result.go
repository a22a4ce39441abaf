package main

import (
	"slices"
	"time"
)

// result is what came of one run. In a document it says what it has measured.
type result struct {
	Gap  time.Duration `json:"gap_ns,omitempty"` // the longest time without an answered datagram
	Lost int           `json:"lost,omitempty"`   // datagrams
	// Late is the longest time between two datagrams that the client sent: what
	// it was late by itself, and a gap contains.
	Late time.Duration `json:"late_ns,omitempty"`
	// Announced is when another node announced the address for the first time,
	// from the moment at which it happened; negative if none did.
	Announced time.Duration `json:"announced_ns,omitempty"`

	Takeovers  int `json:"takeovers,omitempty"`           // changes of the node that announces the address
	Unanswered int `json:"unanswered_requests,omitempty"` // questions
	Strays     int `json:"stray_answers,omitempty"`       // answers of nodes after another had announced the address
	TwoHolders int `json:"two_holders,omitempty"`         // questions that two nodes have answered

	CPU     float64 `json:"cpu_ms_per_second,omitempty"`
	Packets float64 `json:"packets_per_second,omitempty"`

	Seeds      int `json:"seeds,omitempty"`      // of the simulation
	Beats      int `json:"beats,omitempty"`      // simulated ones of the leader
	Suspicions int `json:"suspicions,omitempty"` // how often it was asked for, because beats were missing
}

// newResult returns what the client and the watcher have seen of what happened
// to the leader, which began at from and was looked at until to.
func newResult(t trace, s sighting, leader string, from, to time.Duration) result {
	r := result{
		Takeovers: s.takeovers(leader, from, to), Unanswered: s.unanswered(from, to), Strays: s.strays(leader, from, to),
		TwoHolders: s.twoHolders(from, to), Announced: s.announced(leader, from, to),
	}
	r.Gap, r.Lost, r.Late = t.gap(from, to)
	return r
}

// gap returns the longest time between the sending of two datagrams that were
// answered, with none answered between them, of those sent between two times;
// how many were not; and the longest pause of the client. What leads into the
// time counts: what was under way when it began may have been lost by it. If the
// last ones were not answered, so does the time to the end.
func (t trace) gap(from, to time.Duration) (longest time.Duration, lost int, late time.Duration) {
	at := func(i int) time.Duration { return t.Start + time.Duration(t.Sent[i])*time.Microsecond }
	index := func(when time.Duration) int {
		i, _ := slices.BinarySearch(t.Sent, int32((when-t.Start)/time.Microsecond))
		return i
	}
	first, end := index(from), index(to)
	if first >= end {
		return 0, 0, 0
	}
	for first > 0 {
		if first--; t.By[first] != 0 {
			break
		}
	}
	last := at(first)
	for i := first; i < end; i++ {
		if i > first {
			late = max(late, at(i)-at(i-1))
		}
		if t.By[i] == 0 {
			lost++
			continue
		}
		longest = max(longest, at(i)-last)
		last = at(i)
	}
	return max(longest, at(end-1)-last), lost, late
}

// announced returns how long after from a node other than the leader announced
// the address; negative if none did.
func (s sighting) announced(leader string, from, to time.Duration) time.Duration {
	for _, c := range s.Claims {
		if c.At >= from && c.At < to && c.By != leader {
			return c.At - from
		}
	}
	return -1
}

// takeovers returns how often the address was announced by another node than
// before; at from that is the leader.
func (s sighting) takeovers(leader string, from, to time.Duration) int {
	changes := 0
	for _, c := range s.Claims {
		if c.At >= from && c.At < to && c.By != leader {
			changes++
			leader = c.By
		}
	}
	return changes
}

// unanswered returns how many questions no node has answered.
func (s sighting) unanswered(from, to time.Duration) int {
	answered := make([]bool, len(s.Asked))
	for _, a := range s.Answers {
		answered[a.Question] = true
	}
	n := 0
	for i, at := range s.Asked {
		if at >= from && at < to && !answered[i] {
			n++
		}
	}
	return n
}

// twoHolders returns how many questions two nodes have answered: each is a moment at
// which both held the address.
func (s sighting) twoHolders(from, to time.Duration) int {
	by := make([]string, len(s.Asked))
	twice := make(map[int]bool)
	for _, a := range s.Answers {
		if at := s.Asked[a.Question]; at < from || at >= to {
			continue
		}
		if by[a.Question] != "" && by[a.Question] != a.By {
			twice[a.Question] = true
		}
		by[a.Question] = a.By
	}
	return len(twice)
}

// underway is how long after an announcement the answers of another node may
// still come: they were under way, or it has not heard of it yet.
const underway = 100 * time.Millisecond

// strays returns how many answers came from a node although another one had
// announced the address since; at from that is the leader.
func (s sighting) strays(leader string, from, to time.Duration) int {
	n := 0
	holder, claims := claim{By: leader}, s.Claims
	for _, a := range s.Answers {
		for ; len(claims) > 0 && claims[0].At <= a.At; claims = claims[1:] {
			if claims[0].At >= from && claims[0].By != holder.By {
				holder = claims[0]
			}
		}
		if a.At >= from && a.At < to && a.By != holder.By && a.At > holder.At+underway {
			n++
		}
	}
	return n
}

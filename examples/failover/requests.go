package main

import "time"

// request is one request of the client that has ended.
type request struct {
	Number int
	Sent   time.Duration // since the client began
	Took   time.Duration // until it was answered or failed; more than 0
	By     string        // the front that served it; empty if it failed
	Error  string        // why it failed
}

// failures counts the requests that were not served.
func failures(requests []request) int {
	failed := 0
	for _, r := range requests {
		if r.By == "" {
			failed++
		}
	}
	return failed
}

// longestGap returns the longest time between the sending of two requests that
// were served, with none served between them, for the requests from number from
// up to number to. The gap that leads into them counts, and if the last ones
// failed, so does the time from the last one served to the end.
func longestGap(requests []request, from, to int) time.Duration {
	if from >= to {
		return 0
	}
	last := requests[from].Sent
	for i := from - 1; i >= 0; i-- {
		if requests[i].By != "" {
			last = requests[i].Sent
			break
		}
	}
	longest := time.Duration(0)
	for _, r := range requests[from:to] {
		if r.By != "" {
			longest = max(longest, r.Sent-last)
			last = r.Sent
		}
	}
	return max(longest, requests[to-1].Sent-last)
}

// longestPause returns the longest time between the sending of two requests: what
// the client itself was late by, and a gap contains.
func longestPause(requests []request) time.Duration {
	longest := time.Duration(0)
	for i := 1; i < len(requests); i++ {
		longest = max(longest, requests[i].Sent-requests[i-1].Sent)
	}
	return longest
}

// span is a run of consecutive requests with the same outcome.
type span struct {
	by       string // the front that served them; empty if they failed
	from, to time.Duration
}

// spans joins requests with the same outcome. Each span lasts until the next
// one begins.
func spans(requests []request) []span {
	var all []span
	for _, r := range requests {
		if n := len(all); n > 0 {
			all[n-1].to = r.Sent
			if all[n-1].by == r.By {
				continue
			}
		}
		all = append(all, span{r.By, r.Sent, r.Sent})
	}
	return all
}

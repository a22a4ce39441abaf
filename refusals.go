package l2vip

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/l2vip/l2vip/election"
)

const (
	// maxRefusals is how many of the latest refusals are remembered, and how many are told
	// within refusalPause: whoever makes up addresses fills neither memory nor the log.
	maxRefusals = 16
	// refusalPause is the pause between two times that the same refusal is told.
	refusalPause = time.Minute
)

// refusals are the hosts whose messages are refused, on the segment and by the membership.
// They change without the loop. The zero value is ready.
type refusals struct {
	mu    sync.Mutex
	all   []refusal
	began time.Time // of the time in which lines are counted
	lines int
}

// refusal is one of them, and when it was told last.
type refusal struct {
	election.Refusal
	told time.Time
}

// note counts a message that was refused, and reports whether that is to be told.
func (r *refusals) note(from, why string, now time.Time) (tell bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	i := slices.IndexFunc(r.all, func(f refusal) bool { return f.From == from && f.Why == why })
	if i < 0 {
		if len(r.all) == maxRefusals {
			latest := func(a, b refusal) int { return b.Last.Compare(a.Last) }
			slices.SortStableFunc(r.all, latest)
			r.all = r.all[:maxRefusals-1]
		}
		i = len(r.all)
		r.all = append(r.all, refusal{Refusal: election.Refusal{From: from, Why: why, Since: now}})
	}
	f := &r.all[i]
	f.Last = now
	f.Count++
	if now.Sub(r.began) >= refusalPause {
		r.began, r.lines = now, 0
	}
	if now.Sub(f.told) < refusalPause || r.lines >= maxRefusals {
		return false
	}
	f.told = now
	r.lines++
	return true
}

// read returns the refusals, the latest first.
func (r *refusals) read() []election.Refusal {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make([]election.Refusal, 0, len(r.all))
	for i := range r.all {
		all = append(all, r.all[i].Refusal)
	}
	slices.SortStableFunc(all, func(a, b election.Refusal) int {
		return cmp.Or(b.Last.Compare(a.Last), cmp.Compare(a.From, b.From))
	})
	return all
}

// refuse is election.Local's Refused.
func (o *outbox) refuse(log *slog.Logger, from, why string) {
	if !o.refusals.note(from, why, time.Now()) {
		return
	}
	ev := Event{Kind: Refused, Detail: from + ": " + why}
	o.events.emit(ev)
	log.Log(context.Background(), ev.level(), string(ev.Kind), "from", from, "why", why)
}

package gossip

import (
	"errors"
	"sync"
	"time"
)

const (
	// beatingProbe is the pause between two probes by a member among members that beat:
	// what they find is only whether the port can be reached.
	beatingProbe = 5 * time.Second
	// relayPause is for how long after a request to probe for another member every probe
	// goes out: it may be that one.
	relayPause = 100 * time.Millisecond
)

// errHeld is what memberlist is told of a probe that is not sent: it goes on to the next
// one, and draws no conclusion.
var errHeld = errors.New("a probe of a member that beats")

// holder holds up memberlist's probes of members whose beats arrive on a segment: they are
// alive, and a datagram and its answer ten times a second would not say it better. While
// all members beat, memberlist waits within its probe and does not turn at all.
type holder struct {
	beats func() (names map[string]bool, changed <-chan struct{}) // nil: none does

	mu      sync.Mutex
	probed  time.Time     // when a member that beats was really probed
	relayed time.Time     // when another member asked to probe for it
	joined  chan struct{} // closed and replaced when a member has joined
}

// beating reports whether all of the members beat, and returns what is closed when that
// may change.
func (h *holder) beating(members []location) (all bool, changed <-chan struct{}) {
	if h.beats == nil {
		return false, nil
	}
	names, changed := h.beats()
	for _, m := range members {
		if !names[m.name] {
			return false, changed
		}
	}
	return true, changed
}

// holds reports whether a datagram of memberlist is a probe that need not be sent. It
// returns when the next probe is due.
func (h *holder) holds(b []byte, name string, members []location, done <-chan struct{}) bool {
	// With other messages, or about a suspicion, it goes out.
	if b = withoutChecksum(b); h.beats == nil || len(b) == 0 || b[0] != mlPing {
		return false
	}
	all, changed := h.beating(members)
	if names, _ := h.beats(); !names[name] {
		return false
	}
	h.mu.Lock()
	now := time.Now()
	pause := beatingProbe - now.Sub(h.probed)
	if pause <= 0 || now.Sub(h.relayed) < relayPause {
		h.probed = now
		h.mu.Unlock()
		return false
	}
	joined := h.joined
	h.mu.Unlock()
	if !all {
		return true // others are probed meanwhile
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-changed:
	case <-joined:
	case <-done:
	}
	return true
}

// release ends the wait: a member has joined.
func (h *holder) release() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.joined != nil {
		close(h.joined)
	}
	h.joined = make(chan struct{})
}

// relays notes that another member has asked to probe for it, if that is in b.
func (h *holder) relays(b []byte, now time.Time) {
	if b = withoutChecksum(b); len(b) > 0 && (b[0] == mlIndirect || b[0] == mlCompound) {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.relayed = now
	}
}

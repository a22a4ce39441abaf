package core

import (
	"slices"
	"time"

	"github.com/l2vip/l2vip/election/segment"
)

// FenceState is whether a node may act on what it holds.
type FenceState uint8

const (
	// Valid: the lease holds.
	Valid FenceState = iota
	// Expired: the lease ran out, and the node has not begun to ask yet.
	Expired
	// Resyncing: the node waits to hear from the others what happened meanwhile.
	Resyncing
)

// fence keeps a node whose process did not run in time from acting on what it
// believed before. The zero value is that of a node whose lease has never run out.
type fence struct {
	state FenceState
	since time.Duration // when it was noticed
	epoch uint64        // of the beats that count
	// members are the names of the members at expiry, by which the node waits for
	// those that were live.
	members []string
}

// fence returns the one after before. A node is resynced when each member that was
// live at expiry was heard since, or is known not to answer any more, or when the
// time to wait for them is over.
func (s *step) fence(before fence) fence {
	f := before
	if s.LeaseLost && f.state == Valid {
		f.state, f.since = Expired, s.Now
		f.epoch++
		f.members = nil
		for i := range s.before.Members {
			if m := &s.before.Members[i]; m.Live {
				f.members = append(f.members, m.Name)
			}
		}
		s.tell(Transition{Kind: LeaseLost})
	}
	switch f.state {
	case Expired:
		f.state = Resyncing // from the next turn on: its question is not out yet
		s.wakeAt(f.since + resyncTimeout)
	case Resyncing:
		if s.Now > f.since+resyncTimeout+resyncTimeout/2 {
			f.since = s.Now // this process did not run again
			f.epoch++
		}
		waiting := slices.ContainsFunc(f.members, func(name string) bool { return !s.resynced(&f, name) })
		if waiting && s.Now < f.since+resyncTimeout {
			s.wakeAt(f.since + resyncTimeout)
			break
		}
		f.state, f.members = Valid, nil
		s.tell(Transition{Kind: LeaseRegained})
	}
	return f
}

// resynced reports whether it is known what a member does since the lease ran out.
func (s *step) resynced(f *fence, name string) bool {
	m := s.member(name)
	if m == nil {
		return false
	}
	if !m.beats() {
		return m.Known() && s.Synced >= f.since
	}
	current, _ := m.confirmed()
	for _, r := range m.Peer.Rows {
		switch r.State {
		case segment.Up:
			if m.Known() && current && m.Peer.Epoch >= f.epoch {
				return true
			}
		case segment.Ended, segment.Left:
			return true
		case segment.Unreachable:
			if heard := s.heardOn(r.Link); heard != nil && !heard.Isolated {
				return true
			}
		}
	}
	return false
}

// wantsSync reports whether a member can only be heard of by an exchange with the
// membership.
func (s *step) wantsSync(f *fence) bool {
	return f.state == Resyncing && s.Synced < f.since && slices.ContainsFunc(f.members, func(name string) bool {
		m := s.member(name)
		return m == nil || !m.beats()
	})
}

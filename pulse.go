package l2vip

import (
	"context"
	"slices"
	"time"

	"github.com/l2vip/l2vip/announce"
	"github.com/l2vip/l2vip/election"
	"github.com/l2vip/l2vip/election/heartbeat"
)

// Heartbeat finds out fast that a member which holds addresses can no longer be
// heard. Package election/heartbeat has one.
type Heartbeat interface {
	// Run beats as the member self, and reports all members that beat whenever
	// something about them has changed, until ctx is cancelled.
	Run(ctx context.Context, self string, report func([]heartbeat.Peer)) error
	// Set replaces what this member says of itself; it takes effect at once.
	Set(heartbeat.State)
}

// NoHeartbeat is the Heartbeat of a node that relies on its Membership alone.
var NoHeartbeat Heartbeat = noHeartbeat{}

type noHeartbeat struct{}

func (noHeartbeat) Run(ctx context.Context, _ string, _ func([]heartbeat.Peer)) error {
	<-ctx.Done()
	return nil
}

func (noHeartbeat) Set(heartbeat.State) {}

// version is a version of a member's offer.
type version struct{ instance, revision uint64 }

func versionOf(o *election.Offer) version { return version{o.Instance, o.Revision} }

func (v version) newer(old version) bool {
	if v.instance != old.instance {
		return v.instance > old.instance
	}
	return v.revision > old.revision
}

// pulse is what heartbeats say on top of the membership: what a member had offered
// when it fell silent is void. It counts again when a newer offer arrives, or when
// the member is heard again for a while and an exchange has brought none.
type pulse map[string]fallen

// fallen is a member that fell silent.
type fallen struct {
	offered version
	heard   time.Duration // since when it is heard again; zero if it is not
}

// pulse returns the one that follows before, and wants the exchange that is due.
func (s *situation) pulse(p *plan, before pulse) pulse {
	dead := make(map[string]bool)
	for i := range s.peers {
		dead[s.peers[i].Node] = s.peers[i].Dead
	}
	next := make(pulse)
	for i := range s.others {
		node, offered := s.others[i].Node, versionOf(&s.others[i])
		f, fell := before[node]
		switch {
		case dead[node]:
			if !fell {
				f.offered = offered
			}
			f.heard = 0
			next[node] = f
		case fell && !offered.newer(f.offered):
			if f.heard == 0 {
				f.heard = s.now
			}
			if s.exchange.done && s.exchange.began >= f.heard && s.now >= f.heard+revival {
				continue
			}
			next[node] = f
			p.wakeAt(s.now, f.heard+revival)
			if s.exchange.began < f.heard {
				again := s.exchange.began + revivalPause
				p.exchange = p.exchange || s.exchange.began == 0 || s.now >= again
				p.wakeAt(s.now, again)
			}
		}
	}
	return next
}

// kept is a member that the membership has lost and heartbeats have not: its
// process is starved rather than dead. Or it is stopped, and its lease not over.
type kept struct {
	instance uint64 // as its heartbeats have it
	until    time.Duration
}

// keptFor bounds for how long heartbeats alone keep a member: what it offers may
// change meanwhile, and nobody would hear of that.
const keptFor = 5 * time.Second

// members returns the members with those that are kept. A member that is found
// again is kept until its offer is known again.
func (s *situation) members(p, before *plan) []election.Offer {
	all := s.others
	p.kept = make(map[string]kept)
	for _, o := range before.others {
		k, lost := before.kept[o.Node]
		at := slices.IndexFunc(s.others, func(other election.Offer) bool { return other.Node == o.Node })
		if o.Instance == 0 || at >= 0 && (!lost || s.others[at].Instance != 0) {
			continue
		}
		peer, beats := s.peer(o.Node)
		if !beats || peer.Silent && !peer.Leased || peer.Dead {
			continue
		}
		if !lost {
			k = kept{instance: peer.Instance, until: s.now + keptFor}
		}
		if k.instance != peer.Instance || s.now >= k.until {
			continue
		}
		p.kept[o.Node] = k
		p.wakeAt(s.now, k.until)
		all = slices.DeleteFunc(slices.Clone(all), func(other election.Offer) bool { return other.Node == o.Node })
		all = append(all, o)
	}
	return all
}

// beaten reports whether all other members beat, or have until lately: then they
// know for how long they must wait for this one, should its process not run.
func (s *situation) beaten() bool {
	return !slices.ContainsFunc(s.others, func(o election.Offer) bool {
		_, beats := s.peer(o.Node)
		return !beats
	})
}

// heard returns how many members are heard, this one included. Those that beat and
// fell silent are not: which of two holders is cut off shows there sooner than in
// what the membership knows.
func (s *situation) heard() int {
	heard := len(s.others) + 1
	for i := range s.others {
		if peer, beats := s.peer(s.others[i].Node); beats && peer.Silent {
			heard--
		}
	}
	return heard
}

// doubted is for how long a claim is in doubt: an announcer knows half a second
// after a claim whether it hears anybody.
const doubted = 600 * time.Millisecond

// doubtful reports whether a holder is gone for the membership alone, while by its
// heartbeats it may as well be this node that is cut off. Then a claim of what it
// held is isolated, until this node is known to hear others.
func (s *situation) doubtful(holder string) bool {
	peer, beats := s.peer(holder)
	return beats && peer.Holds && peer.Silent && !peer.Dead && !peer.Stalled
}

// returning is for how long a holder that is heard again may take to become a
// member again.
const returning = time.Second

// returns reports whether the last holder of the address is no member any more, but
// is heard again: this node was cut off for a moment, or the holder, and it holds.
func (s *situation) returns(p *plan, pos *position) bool {
	peer, beats := s.peer(pos.holder)
	if _, member := p.view.Offer(pos.holder); member || !beats || !peer.Holds || peer.Silent || peer.Dead {
		return false
	}
	p.wakeAt(s.now, pos.lost+returning)
	return s.now < pos.lost+returning
}

// peer returns the member as heartbeats show it, and whether it beats at all.
func (s *situation) peer(node string) (peer heartbeat.Peer, beats bool) {
	i := slices.IndexFunc(s.peers, func(p heartbeat.Peer) bool { return p.Node == node })
	if i < 0 {
		return heartbeat.Peer{}, false
	}
	return s.peers[i], true
}

const (
	// revivalPause is the least time between two exchanges because of members
	// that are heard again.
	revivalPause = 100 * time.Millisecond
	// revival is for how long what such a member has offered while it could not
	// be heard may be on its way: the exchange may be with another that does not
	// know it either.
	revival = 500 * time.Millisecond
)

// silent reports whether the offer is void.
func (p pulse) silent(o *election.Offer) bool {
	f, fell := p[o.Node]
	return fell && !versionOf(o).newer(f.offered)
}

// beats returns what this node is to say of itself by heartbeats: the links that
// it announces on, each with an address that the kernel answers for.
func beats(facts announce.Facts, holds bool, membership string, lease time.Duration) heartbeat.State {
	state := heartbeat.State{Holds: holds, Membership: membership, Lease: lease}
	for i := range facts.Links {
		l := &facts.Links[i]
		if l.Problem != "" || len(l.HardwareAddr) != 6 {
			continue
		}
		link := heartbeat.Link{Index: l.Index, HardwareAddr: [6]byte(l.HardwareAddr)}
		if len(l.Prefixes) > 0 {
			link.Addr = l.Prefixes[0].Addr()
		}
		state.Links = append(state.Links, link)
	}
	return state
}

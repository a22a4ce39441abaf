package l2vip

import (
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/l2vip/l2vip/announce"
	"github.com/l2vip/l2vip/election"
	"github.com/l2vip/l2vip/health"
)

// Kind is what an event tells of.
type Kind string

// The kinds of events, each with the fields that it fills in besides Seq and Time.
const (
	// Claimed: this node answers for Addr now. Node is the member that handed
	// it over, if one did.
	Claimed Kind = "claimed"
	// Announced: the first announcement of this node's claim of Addr was sent; the
	// time between Claimed and this is what the announcer took.
	Announced Kind = "announced"
	// Released: this node no longer answers for Addr.
	Released Kind = "released"
	// HolderChanged: Node answers for Addr now, as this node sees it; nobody if
	// Node is empty.
	HolderChanged Kind = "holder-changed"
	// Contested: another member holds Addr as well, and this node keeps it.
	Contested Kind = "contested"
	// AddressDisputed: a station outside of the cluster, known by Hardware, uses
	// Addr. It is not claimed, or given up if Config.Strangers is Yield, and tried
	// again later.
	AddressDisputed Kind = "disputed"
	// RivalSighted: a station outside of the cluster, known by Hardware, claims
	// Addr, which this node holds and keeps. If the station was a member, Node
	// is which.
	RivalSighted Kind = "rival-sighted"
	// KernelAnswers: the host of Node, known by Hardware, claims Addr again and
	// again though Node does not hold it: its kernel answers for what is only
	// bound there, because arp_ignore is wrong.
	KernelAnswers Kind = "kernel-answers"
	// Defended: Addr was announced again because of the station known by Hardware.
	Defended Kind = "defended"
	// RivalGone: the station known by Hardware has not claimed Addr any more for
	// half a minute.
	RivalGone Kind = "rival-gone"
	// OfferChanged: whether this node offers Addr, or why not, in Reason and Detail.
	OfferChanged Kind = "offer-changed"
	// HealthChanged: whether Service is ready on this node, or why not, in Detail.
	HealthChanged Kind = "health-changed"
	// MemberJoined and MemberLeft: Node is a live member, or no longer.
	MemberJoined Kind = "member-joined"
	MemberLeft   Kind = "member-left"
	// MemberSilent: Node is live for all that the Membership knows, but its
	// heartbeats are missing, and it can't be heard or its kernel says that its
	// process has ended. It counts as gone until it says something new.
	MemberSilent Kind = "member-silent"
	// MemberOffered: Node's offer is known; from now on it counts in decisions.
	MemberOffered Kind = "member-offered"
	// ConfigDiffers: Node is configured differently from this node.
	ConfigDiffers Kind = "config-differs"
	// LeaseLost and LeaseRegained: this process did not run in time and fell
	// silent, or may answer again.
	LeaseLost     Kind = "lease-lost"
	LeaseRegained Kind = "lease-regained"
)

// Event is something that happened.
type Event struct {
	// Seq numbers the events of a Runner from 1 on, without gaps.
	Seq uint64
	// Time is when it happened, or when the loop turned that noticed it.
	Time time.Time
	// Kind is what happened.
	Kind Kind
	// Addr is the address, if the event is about one.
	Addr netip.Addr
	// Service is the service, if the event is about one or about its address.
	Service string
	// Node is the member, if the event is about one.
	Node string
	// Hardware is the Ethernet address of another station, if the event is about
	// one.
	Hardware string
	// Reason is why this node is no candidate for Addr, if Kind is OfferChanged.
	Reason election.Reason
	// Detail says more, for people.
	Detail string
}

// level is how urgently a log tells of the event.
func (ev Event) level() slog.Level {
	switch ev.Kind {
	case AddressDisputed, ConfigDiffers, Contested, KernelAnswers, LeaseLost, RivalSighted:
		return slog.LevelWarn
	case OfferChanged:
		switch ev.Reason {
		case election.NoInterface, election.LinkDown, election.NotBound:
			return slog.LevelWarn
		}
	}
	return slog.LevelInfo
}

// The events that are kept for those who ask later, and the buffer that each
// subscriber has for itself.
const (
	keptEvents      = 1024
	subscriberSlots = 2 * keptEvents
)

// events is the newest events, and those who want more. The zero value is ready.
type events struct {
	mu   sync.Mutex
	last uint64
	kept []Event // the newest, oldest first
	subs map[chan Event]bool
}

// emit numbers the event and hands it to all. A subscriber whose buffer is full
// misses it.
func (e *events) emit(ev Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.last++
	ev.Seq = e.last
	if ev.Time.IsZero() {
		ev.Time = time.Now()
	}
	if len(e.kept) == keptEvents {
		e.kept = slices.Delete(e.kept, 0, keptEvents/2)
	}
	e.kept = append(e.kept, ev)
	for ch := range e.subs {
		select {
		case ch <- ev:
		default:
		}
	}
}

// Events returns a channel of the events that come after the one numbered after,
// as far as they are still known, the newest thousand or half of that; 0 asks for
// all. The channel has a buffer of its own and never holds the Runner up: who
// reads too slowly misses events, which shows as a gap in Seq and means to read
// Status again. It is closed when ctx is cancelled.
func (r *Runner) Events(ctx context.Context, after uint64) <-chan Event {
	e := &r.events
	ch := make(chan Event, subscriberSlots)
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, ev := range e.kept {
		if ev.Seq > after {
			ch <- ev
		}
	}
	if e.subs == nil {
		e.subs = make(map[chan Event]bool)
	}
	e.subs[ch] = true
	context.AfterFunc(ctx, func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		delete(e.subs, ch)
		close(ch)
	})
	return ch
}

// tell emits what has changed between two plans, and between the situations that
// they are of, and logs it.
func (l *loop) tell(before, after *plan, old, s *situation) {
	for name, state := range s.health {
		if was := old.health[name]; was.Ready != state.Ready || was.Reason != state.Reason {
			l.note(Event{Kind: HealthChanged, Service: name, Detail: healthDetail(state)})
		}
	}
	l.tellMembers(before.view, after.view, s)
	same := len(before.offer.Entries) == len(after.offer.Entries)
	for i := range after.positions {
		e := after.offer.Entries[i]
		about := Event{Addr: e.Addr, Service: e.Service}
		if !same || before.offer.Entries[i].Addr != e.Addr {
			continue // of another roster: the next turn compares again
		}
		was, now := &before.positions[i], &after.positions[i]
		if before.offer.Entries[i].Reason != e.Reason {
			changed := about.with(OfferChanged, "", s.detail(now, i))
			changed.Reason = e.Reason
			l.note(changed)
		}
		l.tellRival(about, was, now, s.roster.addresses[i].automatic)
		if now.holds != was.holds {
			kind := Released
			if now.holds {
				kind = Claimed
			}
			l.note(about.with(kind, now.from, ""))
		}
		l.tellAnnounced(about, now, s.matched[i], old)
		handed := now.from != "" && !was.holds // and not given up yet by who hands it over
		if now.contested && !was.contested && !handed {
			l.note(about.with(Contested, "", ""))
		}
		decision := after.decision(i)
		if previous, _ := before.view.Owner(e.Addr); previous.Holder != decision.Holder {
			l.note(about.with(HolderChanged, decision.Holder, ""))
		}
	}
}

// tellAnnounced emits that the claim is on the wire.
func (l *loop) tellAnnounced(about Event, now *position, fact *announce.Address, old *situation) {
	if fact == nil || fact.Announced.IsZero() || !now.holds || fact.Claim != now.claim {
		return
	}
	i, known := slices.BinarySearchFunc(old.facts.Addresses, about.Addr, func(a announce.Address, addr netip.Addr) int { return a.Addr.Compare(addr) })
	if known && old.facts.Addresses[i].Announced.Equal(fact.Announced) {
		return
	}
	about.Time = fact.Announced
	l.note(about.with(Announced, "", ""))
}

// tellRival emits what has changed about another station that claims an address.
func (l *loop) tellRival(about Event, was, now *position, automatic bool) {
	tell := func(kind Kind, r *rival, detail string) {
		ev := about.with(kind, r.member, detail)
		ev.Hardware = r.hardware.String()
		l.note(ev)
	}
	advice := ""
	if automatic {
		advice = excludeIt
	}
	switch {
	case now.disputes > was.disputes:
		tell(AddressDisputed, &now.rival, advice)
	case now.rival.told != was.rival.told && now.rival.told > 0 && now.rival.guilt == aStranger:
		tell(RivalSighted, &now.rival, advice)
	case now.rival.told != was.rival.told && now.rival.told > 0:
		tell(KernelAnswers, &now.rival, kernelAdvice(about.Addr))
	case was.holds && now.holds && was.rival.guilt != noGuilt && now.rival.since == 0:
		tell(RivalGone, &was.rival, "")
	}
	if now.defense > was.defense {
		tell(Defended, &now.rival, "")
	}
}

// excludeIt is what people can do about a stranger.
const excludeIt = "allocated automatically: exclude it from the pool, or take it away from that station"

// kernelAdvice returns what people can do about a kernel that answers.
func kernelAdvice(addr netip.Addr) string {
	if addr.Is4() {
		return "its kernel answers by itself: set net.ipv4.conf.all.arp_ignore=1 there"
	}
	return "its kernel answers by itself: take the address off the interface there"
}

func (l *loop) tellMembers(before, after *election.View, s *situation) {
	for o := range after.Offers() {
		was, known := before.Offer(o.Node)
		if !known && o.Node != l.config.Name {
			l.note(Event{Kind: MemberJoined, Node: o.Node})
		}
		if o.Instance != 0 && was.Instance == 0 {
			l.note(Event{Kind: MemberOffered, Node: o.Node})
		}
		if o.Instance != 0 && o.Config != s.roster.digest && (was.Instance == 0 || was.Config != o.Config) {
			l.note(Event{Kind: ConfigDiffers, Node: o.Node})
		}
	}
	for o := range before.Offers() {
		if _, live := after.Offer(o.Node); live {
			continue
		}
		kind := MemberLeft
		if slices.ContainsFunc(s.others, func(other election.Offer) bool { return other.Node == o.Node }) {
			kind = MemberSilent
		}
		l.note(Event{Kind: kind, Node: o.Node})
	}
}

// with returns the event with what sets it apart from others about the address.
func (ev Event) with(kind Kind, node, detail string) Event {
	ev.Kind, ev.Node, ev.Detail = kind, node, detail
	return ev
}

// note emits and logs an event.
func (l *loop) note(ev Event) {
	if ev.Time.IsZero() {
		ev.Time = l.turned
	}
	l.events.emit(ev)
	args := make([]any, 0, 10)
	if ev.Addr.IsValid() {
		args = append(args, "address", ev.Addr)
	}
	for _, field := range [][2]string{{"service", ev.Service}, {"member", ev.Node}, {"station", ev.Hardware}, {"detail", ev.Detail}} {
		if field[1] != "" {
			args = append(args, field[0], field[1])
		}
	}
	l.config.Logger.Log(context.Background(), ev.level(), string(ev.Kind), args...)
}

func healthDetail(s health.State) string {
	if s.Ready {
		return "ready"
	}
	if s.Reason == "" {
		return "not ready"
	}
	return "not ready: " + s.Reason
}

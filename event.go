package l2vip

import (
	"cmp"
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/l2vip/l2vip/election"
	"github.com/l2vip/l2vip/internal/core"
)

// Kind is what an event tells of.
type Kind string

// The kinds of events, each with the fields that it fills in besides Seq and Time.
const (
	// Claimed: this node answers for Addr now, because of what Detail says. Node is the
	// member that held it until then, if one did.
	Claimed Kind = "claimed"
	// Announced: the first announcement of this node's claim of Addr was sent; the
	// time between Claimed and this is what the announcer took.
	Announced Kind = "announced"
	// Released: this node no longer answers for Addr, because of what Detail says.
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
	// bound there, because arp_ignore is wrong, or for what is configured on an interface.
	KernelAnswers Kind = "kernel-answers"
	// ConfiguredHere: Addr is configured on an interface of this node as well, where
	// somebody else has put it: its kernel answers for it, whoever holds it. Detail says
	// where, and is empty when that is over.
	ConfiguredHere Kind = "configured-here"
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
	// MemberSilent: Node's beats are missing, and it is not heard or its kernel says
	// that its process has ended, whatever the Membership knows. It counts as gone until
	// it is heard again.
	MemberSilent Kind = "member-silent"
	// MemberOffered: Node's offer is known; from now on it counts in decisions.
	MemberOffered Kind = "member-offered"
	// BeatsMissing: Node's beats do not arrive any more, though its host is heard on the
	// segment and the Membership knows that its process runs: something filters them
	// out. Until they are back the Membership alone tells whether it is alive.
	BeatsMissing Kind = "beats-missing"
	// ConfigDiffers: Node is configured differently from this node.
	ConfigDiffers Kind = "config-differs"
	// NameConflict: Node's name is used by another live node as well, which is known by
	// Hardware. If it is this node's name, the one of the two that started later is no
	// candidate.
	NameConflict Kind = "name-conflict"
	// Refused: messages of the host that Detail names first are refused, for the reason that
	// follows. The same is told at most once in a minute; Status.Refusals counts.
	Refused Kind = "refused"
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
	case ConfiguredHere:
		if ev.Detail != "" {
			return slog.LevelWarn
		}
	case AddressDisputed, BeatsMissing, ConfigDiffers, Contested, KernelAnswers, LeaseLost, NameConflict, Refused, RivalSighted:
		return slog.LevelWarn
	case OfferChanged:
		switch ev.Reason {
		case election.NoInterface, election.LinkDown, election.NotBound, election.Isolated, election.Unheard, election.Damped:
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

// subscribe returns a channel of the events after the one numbered after.
func (e *events) subscribe(ctx context.Context, after uint64) <-chan Event {
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

// kinds says which event a transition is, if it is one that people are told of.
var kinds = map[core.Kind]Kind{
	core.Announced: Announced, core.HolderChanged: HolderChanged, core.Contested: Contested,
	core.OfferChanged: OfferChanged, core.HealthChanged: HealthChanged, core.DisputedBy: AddressDisputed,
	core.ForeignStation: RivalSighted, core.KernelAnswers: KernelAnswers, core.Defended: Defended, core.ConfiguredHere: ConfiguredHere, core.ConflictOver: RivalGone,
	core.MemberJoined: MemberJoined, core.MemberOffered: MemberOffered, core.MemberLeft: MemberLeft, core.MemberSilent: MemberSilent,
	core.BeatsMissing: BeatsMissing, core.ConfigDiffers: ConfigDiffers, core.NameConflict: NameConflict, core.LeaseLost: LeaseLost, core.LeaseRegained: LeaseRegained,
}

// eventOf returns the event that a transition is, and whether it is one.
func eventOf(t *core.Transition, now time.Time) (Event, bool) {
	ev := Event{
		Time: cmp.Or(t.At, now), Kind: kinds[t.Kind], Addr: t.Addr, Service: t.Service,
		Node: t.Node, Reason: t.Reason, Detail: t.Detail,
	}
	if t.Station != (election.HardwareAddr{}) {
		ev.Hardware = t.Station.String()
	}
	if t.Kind == core.Moved {
		held := t.From == core.Holding || t.From == core.Releasing
		holds := t.To == core.Holding || t.To == core.Releasing
		ev.Detail = t.Cause
		switch {
		case held == holds:
			return Event{}, false
		case holds:
			ev.Kind = Claimed
		default:
			ev.Kind, ev.Node = Released, ""
		}
	}
	return ev, ev.Kind != ""
}

// attrs returns what a log says of the event.
func (ev *Event) attrs() []any {
	args := make([]any, 0, 10)
	if ev.Addr.IsValid() {
		args = append(args, "address", ev.Addr)
	}
	for _, field := range [...][2]string{{"service", ev.Service}, {"member", ev.Node}, {"station", ev.Hardware}, {"detail", ev.Detail}} {
		if field[1] != "" {
			args = append(args, field[0], field[1])
		}
	}
	return args
}

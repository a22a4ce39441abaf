package l2vip

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/l2vip/l2vip/announce"
	"github.com/l2vip/l2vip/election"
	"github.com/l2vip/l2vip/election/segment"
	"github.com/l2vip/l2vip/health"
	"github.com/l2vip/l2vip/internal/core"
)

// Status is what a Runner knows and does at a moment. It is immutable, and the
// caller's.
type Status struct {
	// Node is this node's name.
	Node string
	// Draining says that the node hands its addresses over and takes none.
	Draining bool
	// Fenced says that the lease has run out: nothing is answered until the other
	// members were heard.
	Fenced bool
	// Members are all live members by name, this node among them.
	Members []Member
	// Services are the configured services, in their order.
	Services []ServiceStatus
	// Addresses are the configured addresses, in their order.
	Addresses []AddressStatus
	// Links are the interfaces that matter, by name.
	Links []announce.Link
	// Wire counts what happened on the wire; zero if the Announcer does not
	// count.
	Wire announce.Stats
	// Segment is what the segments tell: which members beat, on which link, whom they
	// hear, and which of this node's links are isolated or unheard.
	Segment segment.Report
	// Beats counts what happened between the members on the segments; zero if the
	// Segment does not count.
	Beats segment.Stats
	// Refusals are the hosts whose messages to the Segment or the Membership are refused,
	// and why, the latest first and at most 16: members with another secret or version, or
	// strangers. They disturb nothing.
	Refusals []election.Refusal
	// LogDropped is how many lines of the log were dropped because the handler was
	// slow.
	LogDropped uint64
	// Realtime says that the thread that beats is scheduled in real time, so that
	// a busy machine does not widen the beats.
	Realtime bool

	view *election.View
}

// Member is a live member.
type Member struct {
	// Name is its name.
	Name string
	// Offered says that its offer is known.
	Offered bool
	// Beats says that its beats are heard on a segment that this node shares; if not,
	// the Membership alone tells that it is live.
	Beats bool
	// ConfigDiffers says that it is configured differently from this node.
	ConfigDiffers bool
	// Holds is how many addresses it holds.
	Holds int
}

// ServiceStatus is the state of a service on this node.
type ServiceStatus struct {
	// Name is its name, and Addresses what it was allocated; none if it is
	// reserved.
	Name      string
	Addresses []netip.Addr
	// Health is what its source has reported, or ready if it has none.
	Health health.State
}

// AddressStatus is the state of an address as this node sees it.
type AddressStatus struct {
	// Addr is the address, and Service the service that it is for.
	Addr    netip.Addr
	Service string
	// Phase is what this node does about it: standby, probing, holding, releasing,
	// disputed or backoff.
	Phase string
	// Reason is why this node is no candidate for it, Offered if it is one.
	Reason election.Reason
	// Detail says more of the reason, for people.
	Detail string
	// Owner is the member that shall hold it, and Holder the one that does;
	// empty if there is none.
	Owner, Holder string
	// Holds says that this node answers for it.
	Holds bool
	// Contested says that another member holds it as well.
	Contested bool
	// Isolated says that this node holds it but was cut off: another holder has
	// the better right to it.
	Isolated bool
	// Automatic says that the address was allocated, and not asked for by name.
	Automatic bool
	// Rival is another station that claims the address while this node holds it,
	// or that keeps this node from claiming it; nil if there is none.
	Rival *Rival
	// Configured is the interface of this node on which somebody else has configured the
	// address; empty if there is none. The kernel answers for it there, whoever holds it.
	Configured string
	// Sightings is how many frames of other stations have claimed the address
	// while this node was to answer for it, and Defenses how often it was
	// announced again because of that.
	Sightings, Defenses uint64
	// Term is the highest term of any claim of it.
	Term uint64
	// OtherService are the members that have the address for another service.
	// They are no candidates as long as more members agree with this one.
	OtherService []string
}

// Rival is a station that claims an address and should not: one outside of the
// cluster, or the host of a member that does not hold it. It is forgotten when it
// has not claimed the address for half a minute.
type Rival struct {
	// Hardware is its Ethernet address.
	Hardware string
	// Member is the member that has or had this Ethernet address; empty for a
	// stranger.
	Member string
	// KernelAnswers says that the member is live and does not hold the address:
	// its kernel answers, because arp_ignore is wrong there.
	KernelAnswers bool
	// Since and LastSeen are when it was sighted, for the first and for the last
	// time.
	Since, LastSeen time.Time
}

// String says who the rival is.
func (r *Rival) String() string {
	switch {
	case r.KernelAnswers:
		return fmt.Sprintf("%s, the kernel of %s", r.Hardware, r.Member)
	case r.Member != "":
		return fmt.Sprintf("%s, which was %s", r.Hardware, r.Member)
	}
	return r.Hardware + ", a stranger"
}

// snapshot is what Status is made from, when it is asked for.
type snapshot struct {
	state   *core.State
	input   core.Input
	catalog *catalog
	taken   time.Time
}

// status returns what the snapshot shows of a node with that configuration.
func (snap *snapshot) status(c *Config) *Status {
	in, state := &snap.input, snap.state
	status := &Status{
		Node: c.Name, Draining: in.Draining, Fenced: state.Fence() != core.Valid,
		Segment: in.Segment, LogDropped: c.log.Dropped(), view: state.View,
	}
	if in.Facts != nil {
		status.Links = slices.Clone(in.Facts.Links)
	}
	if counter, ok := c.Announcer.(interface{ Stats() announce.Stats }); ok {
		status.Wire = counter.Stats()
	}
	if sg, ok := c.Segment.(interface {
		Stats() segment.Stats
		Realtime() bool
	}); ok {
		status.Beats, status.Realtime = sg.Stats(), sg.Realtime()
	}
	status.Members = snap.members()
	for _, service := range snap.catalog.services {
		status.Services = append(status.Services, ServiceStatus{
			Name: service.Name, Addresses: snap.catalog.allocation.Addresses(service.Name), Health: in.Health[service.Name],
		})
	}
	details := core.Details(state, *in)
	for i := range state.Addresses {
		a, st := &state.Table.Addresses[i], &state.Addresses[i]
		d, _ := state.View.Owner(a.Addr)
		s := AddressStatus{
			Addr: a.Addr, Service: a.Service, Phase: st.Phase.String(), Reason: election.Joining, Detail: details[i],
			Owner: d.Owner, Holder: d.Holder, Holds: st.Answers(), Contested: st.Claim.Contested, Term: d.Term,
			Isolated: st.Isolated(), Automatic: a.Automatic, Rival: snap.rival(&st.Conflict), Configured: st.Configured,
			Sightings: st.Sightings, Defenses: st.Defenses, OtherService: snap.otherService(a),
		}
		if len(state.Offer.Entries) > i {
			s.Reason = state.Offer.Entries[i].Reason
		}
		status.Addresses = append(status.Addresses, s)
	}
	return status
}

// members returns the live members by name, the node itself among them.
func (snap *snapshot) members() []Member {
	var all []Member
	for o := range snap.state.View.Offers() {
		m := Member{Name: o.Node, Offered: o.Instance != 0}
		m.Beats = slices.ContainsFunc(snap.input.Segment.Peers, func(p segment.Peer) bool { return p.Node == m.Name && p.Heard() })
		m.ConfigDiffers = m.Offered && o.Config != snap.state.Table.Digest
		for i := range o.Entries {
			if o.Entries[i].Holds {
				m.Holds++
			}
		}
		all = append(all, m)
	}
	return all
}

// rival returns the station that gets in the way of an address, or nil.
func (snap *snapshot) rival(c *core.Conflict) *Rival {
	if c.Class == core.NoConflict {
		return nil
	}
	at := func(t time.Duration) time.Time { return snap.taken.Add(t - snap.input.Now) }
	return &Rival{
		Hardware: c.Station.String(), Member: c.Member, KernelAnswers: c.Class == core.MemberKernelConflict,
		Since: at(c.Since), LastSeen: at(c.Last),
	}
}

// otherService returns the members that offer the address for another service
// than this node does.
func (snap *snapshot) otherService(a *core.Address) []string {
	var names []string
	for node, e := range snap.state.View.Entries(a.Addr) {
		if e.Service != a.Service {
			names = append(names, node)
		}
	}
	return names
}

// Explain says in a few lines of text who owns the address, and why: every
// member's place, in the order in which they would own it, and a rival's if there
// is one.
func (s *Status) Explain(addr netip.Addr) string {
	d, ok := s.view.Owner(addr)
	if !ok {
		return fmt.Sprintf("%v: no live member has it configured\n", addr)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%v for %q: owner %s, holder %s, term %d\n", addr, d.Service, orNobody(d.Owner), orNobody(d.Holder), d.Term)
	for i, r := range s.view.Rank(addr) {
		fmt.Fprintf(&b, "%3d. %s: %v", i+1, r.Node, r.Entry.Reason)
		if !r.Candidate && r.Entry.Reason == election.Offered {
			fmt.Fprintf(&b, ", but for %q", r.Entry.Service)
		}
		fmt.Fprintf(&b, ", weight %d, score %016x", r.Entry.Weight, election.Score(r.Node, addr))
		if r.Entry.Settled {
			b.WriteString(", settled")
		}
		if r.Entry.Holds {
			fmt.Fprintf(&b, ", holds with term %d", r.Entry.Term)
		}
		if r.Entry.Isolated {
			b.WriteString(", isolated")
		}
		b.WriteByte('\n')
	}
	for i := range s.Addresses {
		if r := s.Addresses[i].Rival; r != nil && s.Addresses[i].Addr == addr {
			fmt.Fprintf(&b, "rival: %v\n", r)
		}
	}
	return b.String()
}

func orNobody(name string) string {
	if name == "" {
		return "nobody"
	}
	return name
}

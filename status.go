package l2vip

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/l2vip/l2vip/announce"
	"github.com/l2vip/l2vip/election"
	"github.com/l2vip/l2vip/election/heartbeat"
	"github.com/l2vip/l2vip/health"
)

// Status is what a Runner knows and does at a moment. It is immutable, and the
// caller's.
type Status struct {
	// Node is this node's name.
	Node string
	// Draining says that the node hands its addresses over and takes none.
	Draining bool
	// Deserted says that the lease has run out: nothing is answered until the
	// other members were heard.
	Deserted bool
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
	// Peers are the members that beat, as this node hears them, and Beats counts
	// what happened between them; zero if the Heartbeat does not count.
	Peers []heartbeat.Peer
	Beats heartbeat.Stats
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

// snapshot is what Status is made from, when somebody asks.
type snapshot struct {
	situation situation
	plan      *plan
	taken     time.Time
}

// Status returns what the Runner knows and does now.
func (r *Runner) Status() *Status {
	snap := r.status.Load()
	s, p := &snap.situation, snap.plan
	status := &Status{
		Node: r.config.Name, Draining: s.draining, Deserted: s.deserted,
		Links: slices.Clone(s.facts.Links), Peers: slices.Clone(s.peers), view: p.view,
	}
	if counter, ok := r.config.Announcer.(interface{ Stats() announce.Stats }); ok {
		status.Wire = counter.Stats()
	}
	if h, ok := r.config.Heartbeat.(interface {
		Stats() heartbeat.Stats
		Realtime() bool
	}); ok {
		status.Beats, status.Realtime = h.Stats(), h.Realtime()
	}
	for o := range p.view.Offers() {
		m := Member{Name: o.Node, Offered: o.Instance != 0 || o.Node == r.config.Name}
		m.ConfigDiffers = m.Offered && o.Config != s.roster.digest
		for i := range o.Entries {
			if o.Entries[i].Holds {
				m.Holds++
			}
		}
		status.Members = append(status.Members, m)
	}
	for _, service := range s.roster.services {
		status.Services = append(status.Services, ServiceStatus{
			Name: service.Name, Addresses: s.roster.allocation.Addresses(service.Name), Health: s.health[service.Name],
		})
	}
	for i := range s.roster.addresses {
		a, pos := &s.roster.addresses[i], &p.positions[i]
		d, _ := p.view.Owner(a.addr)
		status.Addresses = append(status.Addresses, AddressStatus{
			Addr: a.addr, Service: a.service, Reason: s.reason(pos, i), Detail: s.detail(pos, i),
			Owner: d.Owner, Holder: d.Holder, Holds: pos.holds, Contested: pos.contested, Term: d.Term,
			Isolated: pos.cutOff(), Automatic: a.automatic,
			Rival: snap.rival(pos), Sightings: pos.sightings, Defenses: pos.defense,
			OtherService: p.otherService(a),
		})
	}
	return status
}

// rival returns the station that gets in the way of an address, or nil.
func (snap *snapshot) rival(pos *position) *Rival {
	r := &pos.rival
	if r.guilt == noGuilt {
		return nil
	}
	at := func(t time.Duration) time.Time { return snap.taken.Add(t - snap.situation.now) }
	return &Rival{
		Hardware: r.hardware.String(), Member: r.member, KernelAnswers: r.guilt == aKernel,
		Since: at(r.since), LastSeen: at(r.last),
	}
}

// otherService returns the members that offer the address for another service
// than this node does.
func (p *plan) otherService(a *address) []string {
	var names []string
	for node, e := range p.view.Entries(a.addr) {
		if e.Service != a.service {
			names = append(names, node)
		}
	}
	return names
}

// detail says in words why the node is no candidate for an address.
func (s *situation) detail(pos *position, i int) string {
	a := &s.roster.addresses[i]
	reason := s.reason(pos, i)
	switch reason {
	case election.NoInterface, election.LinkDown, election.NotBound:
		if a.noneLeft {
			return "the advertisement names no interface that this node announces on"
		}
		return fmt.Sprintf("%v: %s", reason, s.matched[i].Detail)
	case election.NotReady:
		return healthDetail(s.health[a.service])
	case election.Disputed:
		detail := fmt.Sprintf("%v: %v", reason, pos.rival.hardware)
		if a.automatic {
			detail += ", " + excludeIt
		}
		return detail
	}
	return reason.String()
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

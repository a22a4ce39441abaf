package core_test

import (
	"cmp"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/l2vip/l2vip/announce"
	"github.com/l2vip/l2vip/election"
	"github.com/l2vip/l2vip/election/segment"
	"github.com/l2vip/l2vip/health"
	"github.com/l2vip/l2vip/internal/core"
)

// epoch is when every story begins, by the clock of the input and by that of facts.
const epoch = time.Hour

var epochTime = time.Unix(1_000_000_000, 0)

// world is node a with everything around it: what its announcer, its segment, its
// membership and its health sources tell. Lines of a story change it.
type world struct {
	now      time.Duration
	settings core.Settings
	table    *core.Table
	names    map[string]netip.Addr // of the addresses of the table
	absent   bool                  // the announcer has reported nothing yet
	links    []announce.Link
	down     map[string]bool
	unbound  map[netip.Addr]bool           // the kernel would not take them
	heard    map[string]segment.LinkReport // by the name of the link; not all are open
	facts    map[netip.Addr]announce.Address
	health   map[string]health.State
	members  map[string]*member
	twins    []segment.Namesake
	engine   bool // there is a membership
	synced   time.Duration
	late     bool
	draining bool
	state    *core.State
	out      core.Output
	step     func(*core.State, core.Input) (*core.State, core.Output) // core.Step
	log      []string                                                 // what came out since the moment began
}

// member is another member, as the segment and the membership tell of it.
type member struct {
	peer    *segment.Peer // nil if it is not heard
	offer   election.Offer
	unheard uint64 // how many revisions its beats are ahead of the offer
	holds   bool   // what it holds is not known while they are
	told    bool   // the membership knows it as live
	void    bool   // but not its offer
}

func newWorld() *world {
	return &world{
		now: epoch,
		settings: core.Settings{
			Name: "a", Instance: 100,
			StartHold: 500 * time.Millisecond, HandoverTimeout: 500 * time.Millisecond,
			Detection: 280 * time.Millisecond, Lease: time.Second,
		},
		table: new(core.Table), names: make(map[string]netip.Addr),
		down: make(map[string]bool), unbound: make(map[netip.Addr]bool), heard: make(map[string]segment.LinkReport),
		facts: make(map[netip.Addr]announce.Address), health: make(map[string]health.State),
		members: make(map[string]*member), state: new(core.State), step: core.Step,
	}
}

// station returns the Ethernet address of a node on the link with the index.
func station(node string, link int) election.HardwareAddr {
	return election.HardwareAddr{2, 0, 0, 0, byte(link), node[0]}
}

// stranger is a station that is no member's.
var stranger = election.HardwareAddr{2, 0, 0, 0, 0, 0x99}

// input returns what the node knows now.
func (w *world) input() core.Input {
	settings := w.settings
	in := core.Input{
		Now: w.now, Settings: &settings, Table: w.table, Health: maps.Clone(w.health),
		Synced: w.synced, LeaseLost: w.late || w.state.Fence() != core.Valid, Draining: w.draining,
	}
	if !w.absent {
		in.Facts = &announce.Facts{Links: slices.Clone(w.links)}
		for i := range in.Facts.Links {
			if l := &in.Facts.Links[i]; w.down[l.Name] {
				l.Problem = "down"
			}
		}
		for _, addr := range slices.SortedFunc(maps.Keys(w.facts), netip.Addr.Compare) {
			in.Facts.Addresses = append(in.Facts.Addresses, w.facts[addr])
		}
	}
	for _, l := range w.links {
		if report, open := w.heard[l.Name]; open {
			in.Segment.Links = append(in.Segment.Links, report)
		}
	}
	if w.engine {
		in.Membership = new(election.Membership)
	}
	for _, name := range slices.Sorted(maps.Keys(w.members)) {
		m := w.members[name]
		if m.peer != nil {
			p := *m.peer
			p.Rows = slices.Clone(p.Rows)
			if len(m.offer.Entries) > 0 {
				o := m.offer
				p.Offer = &o
			}
			p.Instance, p.Revision = m.offer.Instance, m.offer.Revision+m.unheard
			none := !slices.ContainsFunc(m.offer.Entries, func(e election.Entry) bool { return e.Holds })
			p.HoldsNothing = m.unheard == 0 && none || m.unheard > 0 && !m.holds
			p.HoldsAsOffered = m.unheard == 0
			in.Segment.Peers = append(in.Segment.Peers, p)
		}
		if m.told {
			o := m.offer
			if m.void || len(o.Entries) == 0 {
				o = election.Offer{Node: name}
			}
			in.Membership.Offers = append(in.Membership.Offers, o)
		}
	}
	in.Segment.Namesakes = slices.Clone(w.twins)
	return in
}

// settle steps until nothing follows any more at this time: what the node does is
// taken up by its announcer, and that is told again.
func (w *world) settle() error {
	for range 8 {
		in := w.input()
		after, out := w.step(w.state, in)
		for _, t := range out.Transitions {
			w.log = append(w.log, w.at()+w.tell(&t))
		}
		if out.Resynced {
			w.log = append(w.log, w.at()+"the lease holds again")
		}
		if out.Epoch != w.out.Epoch {
			w.log = append(w.log, w.at()+fmt.Sprintf("asks who is heard from now on, question %d", out.Epoch))
		}
		if out.Sync && !w.out.Sync {
			w.log = append(w.log, w.at()+"asks for an exchange with the membership")
		}
		if out.Joined && !w.out.Joined {
			w.log = append(w.log, w.at()+"joined")
		}
		if out.Deadline != 0 && out.Deadline <= w.now {
			return fmt.Errorf("the deadline %v is not to come", out.Deadline-epoch)
		}
		w.late = false
		again := after.Fence() == core.Resyncing && w.state.Fence() == core.Valid
		w.state, w.out = after, out
		if !w.apply(out.Assignments) && !again {
			return nil
		}
	}
	return fmt.Errorf("nothing settles: %s", strings.Join(w.log, "; "))
}

// apply lets the announcer take up the assignments, and reports whether it has
// something new to tell.
func (w *world) apply(list []announce.Assignment) bool {
	if w.absent {
		return false
	}
	before := w.facts
	w.facts = make(map[netip.Addr]announce.Address, len(list))
	for _, a := range list {
		f, known := before[a.Addr]
		if !known || f.Mode != a.Mode || f.Claim != a.Claim {
			f = announce.Address{Addr: a.Addr, Mode: a.Mode, Claim: a.Claim, Sightings: f.Sightings}
		}
		f.Links, f.Problem, f.Detail = nil, announce.NoProblem, ""
		for _, l := range w.links {
			if (len(a.Interfaces) == 0 || slices.Contains(a.Interfaces, l.Name)) && !w.down[l.Name] {
				f.Links = append(f.Links, l.Name)
			}
		}
		if len(f.Links) == 0 {
			f.Problem, f.Detail = announce.LinkDown, strings.Join(a.Interfaces, ", ")
		}
		if w.unbound[a.Addr] {
			f.Links, f.Problem, f.Detail = nil, announce.NotBound, "permission denied"
		}
		if a.Mode == announce.Answer && f.Announced.IsZero() && len(f.Links) > 0 && !a.Quiet {
			// No two claims are announced at one time.
			f.Announced = epochTime.Add(w.now - epoch + time.Duration(a.Claim))
		}
		w.facts[a.Addr] = f
	}
	return !maps.EqualFunc(before, w.facts, func(x, y announce.Address) bool {
		return x.Mode == y.Mode && x.Claim == y.Claim && slices.Equal(x.Links, y.Links) && x.Problem == y.Problem && x.Announced.Equal(y.Announced)
	})
}

// pass lets time pass, with a step at each deadline on the way.
func (w *world) pass(d time.Duration) error {
	end := w.now + d
	for w.out.Deadline > 0 && w.out.Deadline <= end {
		w.now = w.out.Deadline
		if err := w.settle(); err != nil {
			return err
		}
	}
	w.now = end
	return nil
}

// at is the time since the story began.
func (w *world) at() string { return fmt.Sprintf("%v: ", w.now-epoch) }

// node says what a node is called in a story.
func node(name string) string { return cmp.Or(name, "no node") }

// tell puts a transition into words.
func (w *world) tell(t *core.Transition) string {
	addr := w.name(t.Addr)
	detail := ""
	if t.Detail != "" {
		detail = ", " + t.Detail
	}
	switch t.Kind {
	case core.Moved:
		from := ""
		if t.Node != "" {
			from = ", from " + t.Node
		}
		return fmt.Sprintf("%s goes from %v to %v: %s%s", addr, t.From, t.To, t.Cause, from)
	case core.Announced:
		return fmt.Sprintf("%s is announced", addr)
	case core.HolderChanged:
		return fmt.Sprintf("%s is held by %s", addr, node(t.Node))
	case core.Contested:
		return addr + " is held by another too"
	case core.OfferChanged:
		if t.Reason == election.Offered {
			return addr + " is offered"
		}
		return fmt.Sprintf("%s is not offered, %v: %s", addr, t.Reason, t.Detail)
	case core.HealthChanged:
		return fmt.Sprintf("%s is %s", t.Service, t.Detail)
	case core.DisputedBy:
		return fmt.Sprintf("%s is disputed by %v%s", addr, t.Station, detail)
	case core.ForeignStation:
		return fmt.Sprintf("%s is claimed by a foreign station, %v%s%s", addr, t.Station, formerly(t.Node), detail)
	case core.KernelAnswers:
		return fmt.Sprintf("%s is answered by the kernel of %s, %v%s", addr, t.Node, t.Station, detail)
	case core.Defended:
		return fmt.Sprintf("%s is defended against %v", addr, t.Station)
	case core.ConflictOver:
		return fmt.Sprintf("%s is claimed no more by %v", addr, t.Station)
	case core.MemberJoined:
		return t.Node + " is live"
	case core.MemberOffered:
		return t.Node + " has made an offer"
	case core.MemberLeft:
		return t.Node + " has left"
	case core.MemberSilent:
		return t.Node + " is silent"
	case core.BeatsMissing:
		return "the beats of " + t.Node + " are filtered out"
	case core.ConfigDiffers:
		return t.Node + " is configured differently"
	case core.NameConflict:
		return fmt.Sprintf("the name %s is used at %v%s", t.Node, t.Station, detail)
	case core.LeaseLost:
		return "the lease ran out"
	case core.LeaseRegained:
		return "the lease may hold again"
	}
	return fmt.Sprintf("what is %+v?", *t)
}

// formerly says whose station it was.
func formerly(name string) string {
	if name == "" {
		return ""
	}
	return " (was " + name + "'s)"
}

// name returns what the story calls the address.
func (w *world) name(addr netip.Addr) string {
	for name, a := range w.names {
		if a == addr {
			return name
		}
	}
	return addr.String()
}

// outcome says where everything stands.
func (w *world) outcome() []string {
	lines := w.log
	w.log = nil
	assigned := make(map[netip.Addr]announce.Assignment)
	for _, a := range w.out.Assignments {
		assigned[a.Addr] = a
	}
	for i := range w.table.Addresses {
		addr := w.table.Addresses[i].Addr
		st, e := &w.state.Addresses[i], &w.out.Offer.Entries[i]
		does := []string{"nothing is assigned"}
		if a, ok := assigned[addr]; ok {
			does = []string{a.Mode.String()}
			if a.Mode != announce.Standby {
				does[0] += fmt.Sprintf(" #%d", a.Claim)
			}
			if a.Defense > 0 {
				does = append(does, fmt.Sprintf("defense #%d", a.Defense))
			}
			if a.Quiet {
				does = append(does, "quiet")
			}
		}
		lines = append(lines, fmt.Sprintf("%s: %v; %s; %s", w.name(addr), st.Phase, strings.Join(does, ", "), says(e)))
	}
	rest := []string{}
	if f := w.state.Fence(); f != core.Valid {
		rest = append(rest, map[core.FenceState]string{core.Expired: "expired", core.Resyncing: "resyncing"}[f])
	}
	if w.out.Sync {
		rest = append(rest, "wants an exchange")
	}
	if w.out.Deadline > 0 {
		rest = append(rest, fmt.Sprintf("next at %v", w.out.Deadline-epoch))
	}
	if len(rest) > 0 {
		lines = append(lines, strings.Join(rest, ", "))
	}
	return lines
}

// says puts an entry into the words of the stories of package election.
func says(e *election.Entry) string {
	words := []string{"offers"}
	if e.Reason != election.Offered {
		words = []string{"is " + e.Reason.String()}
	}
	if e.Holds {
		words = append(words, "holds")
	}
	if e.Settled {
		words = append(words, "settled")
	}
	if e.Term > 0 {
		words = append(words, fmt.Sprintf("term %d", e.Term))
	}
	if e.From != "" {
		words = append(words, "from "+e.From)
	}
	if e.Isolated {
		words = append(words, "isolated")
	}
	return strings.Join(words, ", ")
}

// tellOf changes what a member says of an address, in the same words.
func tellOf(o *election.Offer, e *election.Entry, text string) error {
	*e = election.Entry{Addr: e.Addr, Service: e.Service, Reason: 99}
	for _, words := range strings.Split(text, ", ") {
		verb, object, _ := strings.Cut(words, " ")
		n, failed := strconv.ParseUint(object, 10, 64)
		var err error
		switch verb {
		case "offers":
			e.Reason = election.Offered
		case "is":
			e.Reason, err = parseReason(object)
		case "holds":
			e.Holds = true
		case "settled":
			e.Settled = true
		case "isolated":
			e.Isolated = true
		case "from":
			e.From = object
		case "for":
			e.Service = object
		case "term":
			e.Term, err = n, failed
		case "weight":
			e.Weight, err = uint32(n), failed
		case "saw":
			o.Members, err = uint32(n), failed
		default:
			err = fmt.Errorf("what is %q?", words)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// parseReason returns the reason that is called so.
func parseReason(name string) (election.Reason, error) {
	for n := range 256 {
		if r := election.Reason(n); r.String() == name {
			return r, nil
		}
	}
	return 0, fmt.Errorf("no reason is called %q", name)
}

// happen makes happen what a line of a story says. See TestStories.
func (w *world) happen(line string) error {
	subject, rest, _ := strings.Cut(line, " ")
	if d, ok := strings.CutSuffix(line, " pass"); ok {
		pause, err := time.ParseDuration(d)
		if err != nil {
			return err
		}
		if err := w.settle(); err != nil {
			return err
		}
		return w.pass(pause)
	}
	switch subject {
	case "node":
		return w.configure(rest)
	case "address":
		return w.address(rest)
	case "drain":
		w.draining = true
		return nil
	case "undrain":
		w.draining = false
		return nil
	case "lease":
		w.late = true
		return nil
	case "exchange":
		w.synced = w.now
		return nil
	case "another":
		words := strings.Fields(rest) // b, at c, started earlier
		w.twins = append(w.twins, segment.Namesake{
			Node: strings.TrimSuffix(words[0], ","), Instance: map[string]uint64{"earlier": 50, "later": 150}[words[len(words)-1]],
			HardwareAddr: station("z", 1), Addr: netip.MustParseAddr("192.168.122.26"),
		})
		return nil
	case "no":
		w.twins = nil
		return nil
	case "announcer":
		w.absent = rest == "reports nothing"
		return nil
	case "membership":
		w.engine = true
		return nil
	}
	if addr, ok := w.names[subject]; ok && strings.Contains(rest, "selected") {
		table := &core.Table{Addresses: slices.Clone(w.table.Addresses), Digest: w.table.Digest}
		for i := range table.Addresses {
			if table.Addresses[i].Addr == addr {
				table.Addresses[i].Selected = rest == "is selected"
			}
		}
		w.table = table
		return nil
	}
	if addr, ok := w.names[subject]; ok {
		return w.conflict(addr, rest)
	}
	if i := slices.IndexFunc(w.links, func(l announce.Link) bool { return l.Name == subject }); i >= 0 {
		return w.link(&w.links[i], rest)
	}
	if _, ok := w.health[subject]; ok {
		verb, reason, _ := strings.Cut(rest, ": ")
		switch {
		case verb == "is ready":
			w.health[subject] = health.State{Ready: true}
		case verb == "is not ready":
			w.health[subject] = health.State{Reason: reason}
		case strings.HasPrefix(verb, "scores "):
			score, err := strconv.Atoi(strings.TrimPrefix(verb, "scores "))
			w.health[subject] = health.State{Ready: true, Score: score}
			return err
		default:
			return fmt.Errorf("what is %q?", line)
		}
		return nil
	}
	if len(subject) == 1 {
		return w.member(subject, rest)
	}
	return fmt.Errorf("what is %q?", line)
}

// configure changes the settings of the node.
func (w *world) configure(text string) error {
	for _, words := range strings.Split(text, ", ") {
		at := strings.LastIndexByte(words, ' ')
		word, value := words, ""
		if at >= 0 && strings.ContainsAny(words[at:], "0123456789") {
			word, value = words[:at], words[at+1:]
		}
		d, _ := time.ParseDuration(value)
		n, _ := strconv.Atoi(value)
		switch word {
		case "alone":
			w.settings.Alone = true
		case "yields":
			w.settings.Yield = true
		case "kernel answers":
			w.settings.KernelAnswers = true
		case "min members":
			w.settings.MinMembers = n
		case "failback":
			w.settings.Failback = d
		case "digest":
			w.table = &core.Table{Addresses: w.table.Addresses, Digest: uint64(n)}
		default:
			return fmt.Errorf("no setting is called %q", word)
		}
	}
	return nil
}

// address configures an address: "vip on eth0 for web, automatic, weight 5".
func (w *world) address(text string) error {
	parts := strings.Split(text, ", ")
	words := strings.Fields(parts[0])
	name := words[0]
	table := &core.Table{Addresses: slices.Clone(w.table.Addresses), Digest: w.table.Digest}
	a := core.Address{Addr: netip.MustParseAddr(fmt.Sprintf("192.168.122.%d", 100+len(w.names))), Service: "web", Selected: true, Weight: 1}
	for i := 1; i+1 < len(words); i += 2 {
		switch words[i] {
		case "on":
			a.Interfaces = strings.Split(words[i+1], "+")
		case "for":
			a.Service = words[i+1]
		default:
			return fmt.Errorf("what is %q?", words[i])
		}
	}
	for _, part := range parts[1:] {
		switch part {
		case "automatic":
			a.Automatic = true
		case "not selected":
			a.Selected = false
		case "no interface left":
			a.NoneLeft = true
		default:
			return fmt.Errorf("what is %q?", part)
		}
	}
	for _, link := range a.Interfaces {
		if !slices.ContainsFunc(w.links, func(l announce.Link) bool { return l.Name == link }) {
			index := len(w.links) + 1
			hw := station("a", index)
			w.links = append(w.links, announce.Link{Name: link, Index: index, HardwareAddr: net.HardwareAddr(hw[:])})
			w.heard[link] = segment.LinkReport{Index: index, Since: w.now}
		}
	}
	if _, ok := w.health[a.Service]; !ok {
		w.health[a.Service] = health.State{Ready: true}
	}
	w.names[name] = a.Addr
	table.Addresses = append(table.Addresses, a)
	w.table = table
	for _, m := range w.members {
		m.offer.Entries = nil
	}
	return nil
}

// conflict is what the announcer hears of an address: "probe is clear", "probe meets
// stranger", "is claimed by b".
func (w *world) conflict(addr netip.Addr, text string) error {
	f := w.facts[addr]
	by := text[strings.LastIndexByte(text, ' ')+1:]
	hw := stranger
	if len(by) == 1 {
		hw = station(by, 1)
	}
	switch {
	case text == "probe is clear":
		f.Probe = announce.Clear
	case strings.HasPrefix(text, "probe meets "):
		f.Probe, f.Rival = announce.Conflict, net.HardwareAddr(hw[:])
		f.Sightings++
	case strings.HasPrefix(text, "is claimed by "):
		f.Rival = net.HardwareAddr(hw[:])
		f.Sightings++
	case text == "is not bound", text == "is bound":
		w.unbound[addr] = text == "is not bound"
		w.apply(w.out.Assignments)
		return nil
	default:
		return fmt.Errorf("what is %q?", text)
	}
	w.facts[addr] = f
	return nil
}

// link is what becomes of a link of this host.
func (w *world) link(l *announce.Link, text string) error {
	heard := w.heard[l.Name]
	switch text {
	case "goes down":
		w.down[l.Name] = true
		delete(w.heard, l.Name)
		for _, m := range w.members {
			if m.peer != nil {
				m.peer.Rows = slices.DeleteFunc(m.peer.Rows, func(r segment.Row) bool { return r.Link == l.Index })
			}
		}
		w.apply(w.out.Assignments)
		return nil
	case "comes up":
		w.down[l.Name] = false
		heard = segment.LinkReport{Index: l.Index, Since: w.now}
		w.apply(w.out.Assignments)
	case "is isolated":
		heard.Isolated, heard.Stations = true, false
	case "is isolated, though there are stations":
		heard.Isolated, heard.Stations = true, true
	case "is isolated no more":
		heard.Isolated = false
	case "is unheard":
		heard.Unheard = true
	case "is heard":
		heard.Unheard = false
	case "is silent":
		l.Silent = true
	case "is silent no more":
		l.Silent = false
	default:
		return fmt.Errorf("what is %q?", text)
	}
	w.heard[l.Name] = heard
	return nil
}

// member is what another member does.
func (w *world) member(name, text string) error {
	m := w.members[name]
	if m == nil {
		m = &member{offer: election.Offer{Node: name, Instance: 100, Members: 3, Config: w.table.Digest}}
		w.members[name] = m
	}
	verb, rest, _ := strings.Cut(text, " ")
	verb = strings.TrimSuffix(verb, ",")
	switch verb {
	case "beats", "stalls", "ends", "leaves", "vanishes", "pauses":
		return w.row(name, m, verb, rest)
	case "tells":
		return w.told(m, rest)
	case "announces": // a newer offer, which has not arrived
		m.unheard++
		m.holds = strings.Contains(rest, "holding")
		return nil
	case "restarts":
		m.offer = election.Offer{Node: name, Instance: m.offer.Instance + 1, Members: 3, Config: w.table.Digest}
		m.unheard = 0
		return nil
	}
	switch text {
	case "is fenced":
		m.peer.Fenced = true
	case "is fenced no more":
		m.peer.Fenced = false
	case "is forgotten":
		m.peer = nil
	case "is in the membership":
		m.told, m.void, w.engine = true, false, true
	case "is in the membership, its offer is not known":
		m.told, m.void, w.engine = true, true, true
	case "is dead to the membership":
		m.told = false
	default:
		return fmt.Errorf("what is %q?", text)
	}
	return nil
}

// row changes a member's rows: "beats on eth0, isolated", "stalls on eth0, leased".
func (w *world) row(name string, m *member, verb, rest string) error {
	parts := strings.Split(rest, ", ")
	var links []string
	if only, ok := strings.CutPrefix(parts[0], "on "); ok {
		links = []string{only}
		parts = parts[1:]
	} else {
		for _, l := range w.links {
			links = append(links, l.Name)
		}
	}
	if m.peer == nil {
		m.peer = &segment.Peer{Node: name}
	}
	for _, link := range links {
		at := slices.IndexFunc(w.links, func(l announce.Link) bool { return l.Name == link })
		if at < 0 {
			return fmt.Errorf("no link is called %q", link)
		}
		index := w.links[at].Index
		row := segment.Row{Link: index, HardwareAddr: station(name, index), Heard: w.now, Leased: slices.Contains(parts, "leased"), Isolated: slices.Contains(parts, "isolated")}
		row.State = map[string]segment.PeerState{
			"beats": segment.Up, "pauses": segment.Suspect, "stalls": segment.Stalled,
			"ends": segment.Ended, "vanishes": segment.Unreachable, "leaves": segment.Left,
		}[verb]
		if verb == "beats" {
			m.peer.Epoch = w.out.Epoch
		}
		if i := slices.IndexFunc(m.peer.Rows, func(r segment.Row) bool { return r.Link == index }); i >= 0 {
			m.peer.Rows[i] = row
		} else {
			m.peer.Rows = append(m.peer.Rows, row)
			slices.SortFunc(m.peer.Rows, func(a, b segment.Row) int { return cmp.Compare(a.Link, b.Link) })
		}
	}
	return nil
}

// told changes a member's offer: "vip: offers, holds, term 2", or "all: offers".
func (w *world) told(m *member, text string) error {
	if digest, ok := strings.CutPrefix(text, "digest "); ok {
		n, err := strconv.ParseUint(digest, 10, 64)
		m.offer.Config = n
		m.offer.Revision++
		return err
	}
	name, what, _ := strings.Cut(text, ": ")
	entries := make([]election.Entry, len(w.table.Addresses))
	for i := range entries {
		a := &w.table.Addresses[i]
		entries[i] = election.Entry{Addr: a.Addr, Service: a.Service}
		if len(m.offer.Entries) > 0 {
			entries[i] = m.offer.Entries[i]
		}
		if name == "all" || w.names[name] == a.Addr {
			if err := tellOf(&m.offer, &entries[i], what); err != nil {
				return err
			}
		}
	}
	m.offer.Entries = entries
	m.offer.Revision += 1 + m.unheard
	m.unheard = 0
	return nil
}

package l2vip_test

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/l2vip/l2vip"
	"github.com/l2vip/l2vip/announce"
	"github.com/l2vip/l2vip/election/segment"
	"github.com/l2vip/l2vip/internal/testnet/memnet"
)

// lan is local networks with announcers on them: which of them answers for an
// address, and which has announced it last. Who hears whom is the switches' matter.
type lan struct {
	switches []*memnet.Switch

	mu        sync.Mutex
	stations  []*station
	clients   []*memnet.Link                // none of which is an announcer's
	watchers  map[watched]*memnet.Link      // clients that say nothing themselves
	announced map[netip.Addr][]string       // every announcement on side zero, by the station's name
	machines  map[string]*memnet.Station    // by name
	prefixes  map[*memnet.Link]netip.Prefix // of the links' own addresses
	onLinks   map[*memnet.Station][]*memnet.Link
}

// watched is where a watcher is: on a side of a switch.
type watched struct {
	network, side int
}

// newLAN returns networks on each of which there is a client.
func newLAN(networks int) *lan {
	s := &lan{
		watchers: make(map[watched]*memnet.Link), announced: make(map[netip.Addr][]string),
		machines: make(map[string]*memnet.Station), prefixes: make(map[*memnet.Link]netip.Prefix),
		onLinks: make(map[*memnet.Station][]*memnet.Link),
	}
	for i := range networks {
		sw := memnet.NewSwitch(memnet.SwitchConfig{})
		if i > 0 {
			sw = s.switches[0].Another(memnet.SwitchConfig{})
		}
		s.switches = append(s.switches, sw)
		s.clients = append(s.clients, sw.Station("client", onNetwork(i, 50)).Link(2))
	}
	return s
}

// noClients leaves only the members on the networks.
func (s *lan) noClients() {
	for _, l := range s.clients {
		l.SetDown(true)
	}
}

// machine returns the machine with the name, which is plugged into all networks when
// it is first asked for.
func (s *lan) machine(name string, host int) *memnet.Station {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.machines[name]
	if m == nil {
		for i, sw := range s.switches {
			var l *memnet.Link
			if i == 0 {
				m = sw.Station(name, onNetwork(0, host))
				l = m.Link(2)
			} else {
				l = m.Plug(sw, onNetwork(i, host))
			}
			s.prefixes[l] = netip.PrefixFrom(onNetwork(i, host), 24)
			s.onLinks[m] = append(s.onLinks[m], l)
		}
		s.machines[name] = m
	}
	return m
}

// watcher returns a client that hears what is said on a side of a network.
func (s *lan) watcher(at watched) *memnet.Link {
	w := s.watchers[at]
	if w == nil {
		w = s.switches[at.network].Station("watcher").Link(2)
		w.SetSide(at.side)
		s.watchers[at] = w
	}
	return w
}

// station is an Announcer of a process on a machine.
type station struct {
	lan     *lan
	name    string
	process *memnet.Process
	links   []*memnet.Link // eth0, eth1
	changed chan struct{}
	gate    gate
	beating atomic.Bool // it is called on the thread that beats

	// All below is guarded by the lan's lock.
	running     bool
	lease       time.Time
	assignments []announce.Assignment
	probing     map[netip.Addr]probing
	probed      map[netip.Addr]probed
	told        map[netip.Addr]announce.Assignment // what was announced last
	at          map[netip.Addr]time.Time           // when its claim was announced first
	rivals      map[netip.Addr]seen
	kernel      bool                  // the kernel of its host answers for the addresses
	alone       map[*memnet.Link]int  // for how many ticks it has heard no station
	clients     map[*memnet.Link]bool // that the client was heard
}

// seen is what a station has seen of others that claim an address.
type seen struct {
	sightings uint64
	rival     net.HardwareAddr
}

// probed is the outcome of a probe.
type probed struct {
	claim  uint64
	result announce.ProbeResult
	rival  net.HardwareAddr
}

// probing is a probe under way.
type probing struct {
	claim uint64
	end   time.Time
}

const (
	// probeTime is how long a probe takes.
	probeTime = 250 * time.Millisecond
	// tick is how often a station that answers listens whether it is alone:
	// silentTicks in a row tell it. Every rivalTicks it asks for rivals.
	tick                    = 280 * time.Millisecond
	silentTicks, rivalTicks = 2, 36
)

// station returns the announcer of a process, in place of the one that was there
// under that name.
func (s *lan) station(name string, m *memnet.Station, p *memnet.Process) *station {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := &station{
		lan: s, name: name, process: p, links: s.onLinks[m], changed: make(chan struct{}, 1),
		probing: make(map[netip.Addr]probing), probed: make(map[netip.Addr]probed), told: make(map[netip.Addr]announce.Assignment), at: make(map[netip.Addr]time.Time),
		rivals: make(map[netip.Addr]seen), alone: make(map[*memnet.Link]int), clients: make(map[*memnet.Link]bool),
	}
	if i := slices.IndexFunc(s.stations, func(former *station) bool { return former.name == name }); i >= 0 {
		s.stations[i] = st
	} else {
		s.stations = append(s.stations, st)
	}
	return st
}

// stranger returns a station outside of the cluster.
func (s *lan) stranger(name string) *station {
	m := s.machine(name, 99)
	return s.station(name, m, m.Start())
}

// answering returns the names of those that answer for the address on side zero,
// where the clients are.
func (s *lan) answering(addr netip.Addr) []string { return s.answeringOn(0, addr) }

// answeringOn returns the names of those that answer for the address on a side.
func (s *lan) answeringOn(side int, addr netip.Addr) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var names []string
	for _, st := range s.stations {
		for i, l := range st.answersOn(addr) {
			if w := s.watcher(watched{i, side}); l != nil && w.Hears(l) && l.Hears(w) {
				names = append(names, st.name)
				break
			}
		}
	}
	return names
}

// answersOn returns the links on which the station answers for the address, by
// network; nil where it does not. The lock is held.
func (st *station) answersOn(addr netip.Addr) []*memnet.Link {
	if !st.running || !st.process.Runs() || !time.Now().Before(st.lease) {
		return nil
	}
	for i := range st.assignments {
		if a := &st.assignments[i]; a.Addr == addr && a.Mode == announce.Answer {
			return st.on(a)
		}
	}
	return nil
}

// on returns the links that an assignment is for, by network; nil in place of
// others.
func (st *station) on(a *announce.Assignment) []*memnet.Link {
	links := make([]*memnet.Link, len(st.links))
	for i, l := range st.links {
		if len(a.Interfaces) == 0 || slices.ContainsFunc(a.Interfaces, func(name string) bool {
			prefix, pattern := strings.CutSuffix(name, "*")
			return name == ethernetName(i) || pattern && strings.HasPrefix(ethernetName(i), prefix)
		}) {
			links[i] = l
		}
	}
	return links
}

func ethernetName(i int) string { return fmt.Sprintf("eth%d", i) }

// claims reports whether a client on a link hears that another station has the address.
// The lock is held.
func (st *station) claims(addr netip.Addr, to *memnet.Link) bool {
	if st.kernel && slices.ContainsFunc(st.links, to.Hears) {
		return true
	}
	return slices.ContainsFunc(st.answersOn(addr), func(l *memnet.Link) bool { return l != nil && to.Hears(l) && l.Hears(to) })
}

// last returns the station that announced the address last on side zero.
func (s *lan) last(addr netip.Addr) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if all := s.announced[addr]; len(all) > 0 {
		return all[len(all)-1]
	}
	return ""
}

// refresh is the announcers' refresh of an address, which stations leave out. Of
// several that answer there is no telling which one clients heard last.
func (s *lan) refresh(addr netip.Addr) {
	names := s.answering(addr)
	s.mu.Lock()
	defer s.mu.Unlock()
	names = slices.DeleteFunc(names, func(name string) bool {
		return slices.ContainsFunc(s.stations, func(st *station) bool { return st.name == name && st.quiet(addr) })
	})
	for _, st := range s.stations {
		if slices.Contains(names, st.name) {
			st.sighted(addr)
		}
	}
	if len(names) > 1 {
		names = []string{"one of " + strings.Join(names, " ")}
	}
	s.announced[addr] = append(s.announced[addr], names...)
}

// quiet reports whether the station announces nothing. The lock is held.
func (st *station) quiet(addr netip.Addr) bool {
	return slices.ContainsFunc(st.assignments, func(a announce.Assignment) bool { return a.Addr == addr && a.Quiet })
}

// set changes the station under the lan's lock.
func (st *station) set(change func(*station)) {
	st.lan.mu.Lock()
	change(st)
	st.lan.mu.Unlock()
	st.wake()
}

func (s *lan) locked(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

func (st *station) wake() {
	select {
	case st.changed <- struct{}{}:
	default:
	}
}

func (st *station) Renew(d time.Duration) {
	st.lan.locked(func() { st.lease = time.Now().Add(d) })
	if !st.beating.Load() {
		st.gate.pass() // this is what the loop does most often
	}
}

func (st *station) Set(assignments []announce.Assignment) error {
	st.gate.pass()
	st.set(func(st *station) {
		st.assignments = slices.SortedFunc(slices.Values(assignments), func(a, b announce.Assignment) int { return a.Addr.Compare(b.Addr) })
	})
	return nil
}

// Stations returns the clients that were ever heard on a link.
func (st *station) Stations(link int) (all []announce.Station) {
	st.lan.mu.Lock()
	defer st.lan.mu.Unlock()
	for i, l := range st.links {
		client := st.lan.clients[i]
		st.clients[l] = st.clients[l] || l.Hears(client)
		if l.Index() == link && st.clients[l] {
			all = append(all, announce.Station{Addr: client.Addrs()[0], HardwareAddr: client.HardwareAddr()})
		}
	}
	return all
}

func (st *station) Run(ctx context.Context, report func(announce.Facts)) error {
	st.set(func(st *station) { st.running = true })
	defer st.set(func(st *station) { st.running, st.assignments = false, nil })
	ticks := time.NewTicker(tick)
	defer ticks.Stop()
	for n := 1; ; {
		var due <-chan time.Time
		if st.process.Runs() {
			report(st.facts())
			if at := st.probeEnd(); !at.IsZero() {
				due = time.After(time.Until(at))
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-st.changed:
		case <-due:
			st.set((*station).concludeProbes)
		case <-ticks.C:
			st.set((*station).listen)
			if n++; n%rivalTicks == 0 {
				st.set((*station).askForRivals)
			}
		}
	}
}

// listen keeps for how long no other station was heard on the links on which it
// answers. The lock is held.
func (st *station) listen() {
	answers := make(map[*memnet.Link]bool)
	for i := range st.assignments {
		for _, l := range st.answersOn(st.assignments[i].Addr) {
			answers[l] = true
		}
	}
	for i, l := range st.links {
		st.clients[l] = st.clients[l] || l.Hears(st.lan.clients[i])
		st.alone[l]++
		heard := slices.ContainsFunc(st.lan.clients, l.Hears)
		for _, other := range st.lan.stations {
			heard = heard || slices.ContainsFunc(other.links, l.Hears)
		}
		if heard || !answers[l] {
			st.alone[l] = 0
		}
	}
}

// askForRivals probes for the addresses that the station answers for. The lock is
// held.
func (st *station) askForRivals() {
	for _, a := range st.assignments {
		for _, l := range st.answersOn(a.Addr) {
			for _, other := range st.lan.stations {
				if l != nil && other != st && other.claims(a.Addr, l) {
					st.sight(a.Addr, other)
				}
			}
		}
	}
}

// sight sees that another station claims the address. The lock is held.
func (st *station) sight(addr netip.Addr, other *station) {
	if st.answersOn(addr) != nil {
		st.rivals[addr] = seen{st.rivals[addr].sightings + 1, other.hardware()}
		st.wake()
	}
}

// hardware returns the Ethernet address of the first link.
func (st *station) hardware() net.HardwareAddr {
	hw := st.links[0].HardwareAddr()
	return hw[:]
}

// announces tells everybody that the station has the address. The lock is held.
func (st *station) announces(addr netip.Addr) {
	heard := false
	for i, l := range st.links {
		heard = heard || st.lan.watcher(watched{i, 0}).Hears(l)
	}
	if heard {
		st.lan.announced[addr] = append(st.lan.announced[addr], st.name)
	}
	st.sighted(addr)
}

// sighted lets the other stations see that this one has the address. The lock is held.
func (st *station) sighted(addr netip.Addr) {
	for _, other := range st.lan.stations {
		if other != st && slices.ContainsFunc(other.links, func(to *memnet.Link) bool { return slices.ContainsFunc(st.links, to.Hears) }) {
			other.sight(addr, st)
		}
	}
}

// probeEnd returns when the next probe is over; zero if none is under way.
func (st *station) probeEnd() (end time.Time) {
	st.lan.mu.Lock()
	defer st.lan.mu.Unlock()
	for _, a := range st.assignments {
		if !st.probes(a) {
			continue
		}
		if p := st.probing[a.Addr]; p.claim != a.Claim || p.end.IsZero() {
			st.probing[a.Addr] = probing{a.Claim, time.Now().Add(probeTime)}
		}
		if at := st.probing[a.Addr].end; end.IsZero() || at.Before(end) {
			end = at
		}
	}
	return end
}

// probes reports whether the station probes for an address. The lock is held.
func (st *station) probes(a announce.Assignment) bool {
	return st.running && a.Mode == announce.Probe && st.probed[a.Addr].claim != a.Claim
}

// concludeProbes tells what became of the probes. The lock is held.
func (st *station) concludeProbes() {
	for _, a := range st.assignments {
		if !st.probes(a) || st.probing[a.Addr].claim != a.Claim || time.Now().Before(st.probing[a.Addr].end) {
			continue
		}
		outcome := probed{a.Claim, announce.Clear, nil}
		for _, other := range st.lan.stations {
			for _, l := range st.on(&a) {
				if l != nil && other != st && (other.claims(a.Addr, l) || other.probesOn(a.Addr, l)) {
					outcome = probed{a.Claim, announce.Conflict, other.hardware()}
				}
			}
		}
		st.probed[a.Addr] = outcome
	}
}

// probesOn reports whether the station probes for the address, and is heard on a
// link. The lock is held.
func (st *station) probesOn(addr netip.Addr, to *memnet.Link) bool {
	return st.process.Runs() && slices.ContainsFunc(st.links, to.Hears) &&
		slices.ContainsFunc(st.assignments, func(a announce.Assignment) bool { return a.Addr == addr && st.probes(a) })
}

// facts announces what is new, and returns what the station knows.
func (st *station) facts() announce.Facts {
	st.lan.mu.Lock()
	defer st.lan.mu.Unlock()
	var facts announce.Facts
	for i, l := range st.links {
		hw := l.HardwareAddr()
		link := announce.Link{
			Name: ethernetName(i), Index: l.Index(), HardwareAddr: hw[:],
			Prefixes: []netip.Prefix{st.lan.prefixes[l]}, Silent: st.alone[l] >= silentTicks,
		}
		if !l.Up() {
			link.Problem = "no carrier"
		}
		facts.Links = append(facts.Links, link)
	}
	for _, a := range st.assignments {
		f := announce.Address{Addr: a.Addr, Mode: a.Mode, Claim: a.Claim}
		for i, l := range st.on(&a) {
			if l != nil && l.Up() {
				f.Links = append(f.Links, ethernetName(i))
			}
		}
		if len(f.Links) == 0 {
			f.Problem, f.Detail = announce.LinkDown, "no carrier"
		}
		if p := st.probed[a.Addr]; a.Mode == announce.Probe && p.claim == a.Claim {
			f.Probe, f.Rival = p.result, p.rival
		}
		if a.Mode == announce.Answer {
			st.announce(&a)
			f.Rival, f.Announced = st.rivals[a.Addr].rival, st.at[a.Addr]
		} else {
			delete(st.told, a.Addr)
		}
		f.Sightings = st.rivals[a.Addr].sightings
		facts.Addresses = append(facts.Addresses, f)
	}
	return facts
}

// announce announces an address if that is new: a claim as soon as it may, a defense
// then or never. The lock is held.
func (st *station) announce(a *announce.Assignment) {
	told := st.told[a.Addr]
	if told.Claim != a.Claim {
		delete(st.at, a.Addr)
	}
	if told.Claim == a.Claim && told.Defense == a.Defense {
		return
	}
	if a.Quiet || !time.Now().Before(st.lease) {
		if told.Claim == a.Claim {
			st.told[a.Addr] = *a
		}
		return
	}
	st.announces(a.Addr)
	st.told[a.Addr], st.at[a.Addr] = *a, time.Now()
}

var _ l2vip.Announcer = (*station)(nil)

// gate can hold the loop of a Runner up, in whatever it calls next. The zero value is
// open.
type gate struct {
	mu   sync.Mutex
	open chan struct{} // nil: it is open
	held chan struct{} // capacity 1: the loop has come
}

// pass waits while the gate is shut.
func (g *gate) pass() {
	g.mu.Lock()
	open, held := g.open, g.held
	g.mu.Unlock()
	if open == nil {
		return
	}
	select {
	case held <- struct{}{}:
	default:
	}
	<-open
}

// shut shuts the gate, and waits until the loop has come to it.
func (g *gate) shut() {
	g.mu.Lock()
	g.open, g.held = make(chan struct{}), make(chan struct{}, 1)
	held := g.held
	g.mu.Unlock()
	<-held
}

// release opens the gate.
func (g *gate) release() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.open != nil {
		close(g.open)
		g.open = nil
	}
}

// gatedSegment and gatedMembership are what a Runner works with, behind a gate.
type gatedSegment struct {
	*segment.Segment
	station *station
}

func (g gatedSegment) Set(state segment.State) {
	g.station.gate.pass()
	if sent := state.Sent; sent != nil {
		state.Sent = func(ago time.Duration) {
			g.station.beating.Store(true)
			defer g.station.beating.Store(false)
			sent(ago)
		}
	}
	g.Segment.Set(state)
}

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

// vip is the address of the scenario.
var vip = addr("192.168.122.100")

// onNetwork returns the address of a host on one of the networks.
func onNetwork(network, host int) netip.Addr {
	return addr(fmt.Sprintf("192.168.%d.%d", 122+network, host))
}

func nodeAddr(i int) netip.Addr { return onNetwork(0, 10+i) }

// answer returns the assignments of a station that answers for addr.
func answer(addr netip.Addr) []announce.Assignment {
	return []announce.Assignment{{Addr: addr, Mode: announce.Answer}}
}

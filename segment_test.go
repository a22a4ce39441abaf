package l2vip_test

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/l2vip/l2vip"
	"github.com/l2vip/l2vip/announce"
	"github.com/l2vip/l2vip/internal/clock"
)

// segment is a local network as announcers see it, without any wire: who answers
// for an address, and who has announced it last.
type segment struct {
	mu        sync.Mutex
	stations  []*station
	announced map[netip.Addr][]string // every announcement on side zero, by the station's name
	noClients bool                    // there is nobody but the stations on side zero
	hearts    uint64                  // how many there ever were
}

func newSegment() *segment { return &segment{announced: make(map[netip.Addr][]string)} }

// station is an Announcer on a segment.
type station struct {
	segment *segment
	name    string
	hw      net.HardwareAddr
	changed chan struct{}

	// All below is guarded by the segment's lock.
	running     bool
	side        int  // of a partition: only stations of one side hear each other
	down        bool // without carrier
	dead        bool // its process was killed
	stopped     bool // its process was stopped
	lease       time.Duration
	assignments []announce.Assignment
	probed      map[netip.Addr]probed
	told        map[netip.Addr]announce.Assignment // what was announced last
	rivals      map[netip.Addr]seen
	kernel      bool // the kernel of its host answers for the addresses
	alone       int  // for how many ticks it has heard nobody
	heart       *heart
	deaf        func(name string) bool // whose beats and signs of life don't come through; nil for nobody's
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

const (
	// probeTime is how long a probe takes.
	probeTime = 250 * time.Millisecond
	// tick is how often a station that answers listens whether it is alone:
	// silentTicks in a row tell it. Every rivalTicks it asks for rivals.
	tick                    = 280 * time.Millisecond // longer than a probe
	silentTicks, rivalTicks = 2, 36
)

// station returns a new station; that of a process which was started again is
// plugged in where the former one was.
func (s *segment) station(name string) *station {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := &station{
		segment: s, name: name, hw: net.HardwareAddr{2, 0, 0, 0, 0, byte(len(s.stations) + 1)},
		changed: make(chan struct{}, 1), probed: make(map[netip.Addr]probed),
		told: make(map[netip.Addr]announce.Assignment), rivals: make(map[netip.Addr]seen),
	}
	for i, former := range s.stations {
		if former.name == name {
			st.hw, st.side, st.down = former.hw, former.side, former.down
			s.stations[i] = st
			return st
		}
	}
	s.stations = append(s.stations, st)
	return st
}

// answering returns the names of those that answer for the address on side zero,
// where the clients are.
func (s *segment) answering(addr netip.Addr) []string { return s.answeringOn(0, addr) }

// answeringOn returns the names of those that answer for the address on a side.
func (s *segment) answeringOn(side int, addr netip.Addr) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var names []string
	for _, st := range s.stations {
		if st.side == side && st.answers(addr) {
			names = append(names, st.name)
		}
	}
	return names
}

// answers reports whether the station answers, and is heard on its side. The lock
// is held.
func (st *station) answers(addr netip.Addr) bool {
	if !st.up() || clock.Now() >= st.lease {
		return false
	}
	return slices.ContainsFunc(st.assignments, func(a announce.Assignment) bool {
		return a.Addr == addr && a.Mode == announce.Answer
	})
}

// last returns who announced the address last on side zero.
func (s *segment) last(addr netip.Addr) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if all := s.announced[addr]; len(all) > 0 {
		return all[len(all)-1]
	}
	return ""
}

// refresh is the announcers' refresh of an address, which stations leave out. Of
// several that answer there is no telling which one clients heard last.
func (s *segment) refresh(addr netip.Addr) {
	names := s.answering(addr)
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(names) > 1 {
		names = []string{"one of " + strings.Join(names, " ")}
	}
	s.announced[addr] = append(s.announced[addr], names...)
}

// set changes the station under the segment's lock.
func (st *station) set(change func(*station)) {
	st.segment.locked(func() {
		change(st)
		if st.heart != nil {
			st.heart.wake()
		}
	})
	st.wake()
}

func (s *segment) locked(f func()) {
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

// misses reports whether the station's hearing of another, or of the clients, is
// broken, so far as it matters to heartbeats. The lock is held.
func (st *station) misses(name string) bool { return st.deaf != nil && st.deaf(name) }

func (st *station) Renew(d time.Duration) {
	st.segment.mu.Lock()
	defer st.segment.mu.Unlock()
	st.lease = clock.Now() + d
}

func (st *station) Set(assignments []announce.Assignment) error {
	st.set(func(st *station) {
		st.assignments = slices.SortedFunc(slices.Values(assignments), func(a, b announce.Assignment) int { return a.Addr.Compare(b.Addr) })
	})
	return nil
}

func (st *station) Run(ctx context.Context, report func(announce.Facts)) error {
	st.set(func(st *station) { st.running = true })
	defer st.set(func(st *station) { st.running, st.assignments = false, nil })
	ticks := time.NewTicker(tick)
	defer ticks.Stop()
	for n := 1; ; {
		report(st.facts())
		var due <-chan time.Time
		if st.probing() {
			due = time.After(probeTime)
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

// hears reports whether frames of another station reach this one. The lock is held.
func (st *station) hears(other *station) bool {
	return other != st && other.side == st.side && other.up() && st.up()
}

// up reports whether the station is there and plugged in. The lock is held.
func (st *station) up() bool { return st.running && !st.dead && !st.stopped && !st.down }

// listen keeps for how long nobody was heard. The lock is held.
func (st *station) listen() {
	st.alone++
	if st.side == 0 && !st.segment.noClients || slices.ContainsFunc(st.segment.stations, st.hears) ||
		!slices.ContainsFunc(st.assignments, func(a announce.Assignment) bool { return st.answers(a.Addr) }) {
		st.alone = 0
	}
}

// askForRivals probes for the addresses that the station answers for. The lock is
// held.
func (st *station) askForRivals() {
	for _, a := range st.assignments {
		for _, other := range st.segment.stations {
			if st.hears(other) && (other.kernel || other.answers(a.Addr)) {
				st.sight(a.Addr, other)
			}
		}
	}
}

// sight sees that another station claims the address. The lock is held.
func (st *station) sight(addr netip.Addr, other *station) {
	if st.answers(addr) {
		st.rivals[addr] = seen{st.rivals[addr].sightings + 1, other.hw}
		st.wake()
	}
}

// announces tells everybody that the station has the address. The lock is held.
func (st *station) announces(addr netip.Addr) {
	if !st.up() {
		return
	}
	if st.side == 0 {
		st.segment.announced[addr] = append(st.segment.announced[addr], st.name)
	}
	for _, other := range st.segment.stations {
		if other.hears(st) {
			other.sight(addr, st)
		}
	}
}

// probing reports whether a probe is under way.
func (st *station) probing() bool {
	st.segment.mu.Lock()
	defer st.segment.mu.Unlock()
	return slices.ContainsFunc(st.assignments, func(a announce.Assignment) bool {
		return a.Mode == announce.Probe && st.probed[a.Addr].claim != a.Claim
	})
}

// concludeProbes tells what became of the probes. The lock is held.
func (st *station) concludeProbes() {
	for _, a := range st.assignments {
		if a.Mode != announce.Probe {
			continue
		}
		st.probed[a.Addr] = probed{a.Claim, announce.Clear, nil}
		for _, other := range st.segment.stations {
			if st.hears(other) && (other.kernel || other.answers(a.Addr)) {
				st.probed[a.Addr] = probed{a.Claim, announce.Conflict, other.hw}
			}
		}
	}
}

// facts announces what is new, and returns what the station knows.
func (st *station) facts() announce.Facts {
	st.segment.mu.Lock()
	defer st.segment.mu.Unlock()
	facts := announce.Facts{Links: []announce.Link{{Name: "eth0", Index: 2, HardwareAddr: st.hw, Silent: st.alone >= silentTicks}}}
	for _, a := range st.assignments {
		f := announce.Address{Addr: a.Addr, Mode: a.Mode, Claim: a.Claim, Links: []string{"eth0"}}
		if st.down {
			f.Problem, f.Links, f.Detail = announce.LinkDown, nil, "eth0: no carrier"
		}
		if p := st.probed[a.Addr]; a.Mode == announce.Probe && p.claim == a.Claim {
			f.Probe, f.Rival = p.result, p.rival
		}
		if told := st.told[a.Addr]; a.Mode == announce.Answer {
			if told.Claim != a.Claim || told.Defense != a.Defense {
				st.announces(a.Addr)
			}
			st.told[a.Addr] = a
			f.Rival = st.rivals[a.Addr].rival
		}
		f.Sightings = st.rivals[a.Addr].sightings
		facts.Addresses = append(facts.Addresses, f)
	}
	return facts
}

var _ l2vip.Announcer = (*station)(nil)

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

// vip is the address of the scenario.
var vip = addr("192.168.122.100")

func nodeAddr(i int) netip.Addr { return addr(fmt.Sprintf("192.168.122.%d", 10+i)) }

// answer returns the assignments of a station that answers for addr.
func answer(addr netip.Addr) []announce.Assignment {
	return []announce.Assignment{{Addr: addr, Mode: announce.Answer}}
}

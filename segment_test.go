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
	lease       time.Duration
	assignments []announce.Assignment
	probed      map[netip.Addr]probed
	claims      map[netip.Addr]uint64
}

// probed is the outcome of a probe.
type probed struct {
	claim  uint64
	result announce.ProbeResult
	rival  net.HardwareAddr
}

// probeTime is how long a probe takes.
const probeTime = 250 * time.Millisecond

// station returns a new station; that of a process which was started again is
// plugged in where the former one was.
func (s *segment) station(name string) *station {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := &station{
		segment: s, name: name, hw: net.HardwareAddr{2, 0, 0, 0, 0, byte(len(s.stations) + 1)},
		changed: make(chan struct{}, 1), probed: make(map[netip.Addr]probed), claims: make(map[netip.Addr]uint64),
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
	if !st.running || st.dead || st.down || clock.Now() >= st.lease {
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
	st.segment.mu.Lock()
	change(st)
	st.segment.mu.Unlock()
	st.wake()
}

func (st *station) wake() {
	select {
	case st.changed <- struct{}{}:
	default:
	}
}

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
	for {
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
			if other != st && other.side == st.side && !st.down && other.answers(a.Addr) {
				st.probed[a.Addr] = probed{a.Claim, announce.Conflict, other.hw}
			}
		}
	}
}

// facts announces what is new, and returns what the station knows.
func (st *station) facts() announce.Facts {
	st.segment.mu.Lock()
	defer st.segment.mu.Unlock()
	facts := announce.Facts{Links: []announce.Link{{Name: "eth0", Index: 2, HardwareAddr: st.hw}}}
	for _, a := range st.assignments {
		f := announce.Address{Addr: a.Addr, Mode: a.Mode, Claim: a.Claim, Links: []string{"eth0"}}
		if st.down {
			f.Problem, f.Links, f.Detail = announce.LinkDown, nil, "eth0: no carrier"
		}
		if p := st.probed[a.Addr]; a.Mode == announce.Probe && p.claim == a.Claim {
			f.Probe, f.Rival = p.result, p.rival
		}
		if a.Mode == announce.Answer && st.claims[a.Addr] != a.Claim {
			st.claims[a.Addr] = a.Claim
			if st.side == 0 && !st.down && !st.dead {
				st.segment.announced[a.Addr] = append(st.segment.announced[a.Addr], st.name)
			}
		}
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

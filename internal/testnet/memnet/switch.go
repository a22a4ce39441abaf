package memnet

import (
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"
)

const (
	defaultSwitchLatency = 50 * time.Microsecond
	// maxFrames is how many frames a port holds before it drops what comes next.
	maxFrames = 512
	// headerLen is the length of an Ethernet header, and maxFrame that of the
	// longest frame.
	headerLen, maxFrame = 14, 14 + 1500
)

// SwitchConfig describes a [Switch]. The zero value is a good one.
type SwitchConfig struct {
	// Latency is how long a frame travels. If zero, 50 µs; if negative, no time at
	// all.
	Latency time.Duration
	// Loss is the probability, 0 to 1, that a frame does not arrive at one of the
	// stations that it is for.
	Loss float64
	// Seed chooses which frames are lost, doubled and delayed: the same seed
	// chooses the same ones, counted for each pair of links and direction by
	// itself.
	Seed uint64
}

// Switch is an Ethernet segment in memory. Its methods, and those of all that is
// plugged in, may be called at any time from any goroutine; under
// [testing/synctest] the Switch must be made inside the bubble.
//
// Whether a frame arrives is decided when it is sent: what is on its way then
// arrives whatever is changed meanwhile.
type Switch struct {
	*rack
	latency      time.Duration
	loss, double float64
	jitter       time.Duration
	seed         uint64
	dice         map[direction]*rand.Rand
	cuts         map[cut]struct{}
	links        []*Link // in the order in which they were plugged in
}

// rack is what switches have in common that the same stations are plugged into. Its
// lock guards them all, and is never held while anything waits, as synctest
// requires.
type rack struct {
	mu      sync.Mutex
	plugged uint32 // how many links there are
}

// direction is from one link to another, cut from one station to another.
type (
	direction struct{ from, to *Link }
	cut       struct{ from, to *Station }
)

// NewSwitch returns a switch without stations.
func NewSwitch(c SwitchConfig) *Switch { return newSwitch(&rack{}, c) }

func newSwitch(r *rack, c SwitchConfig) *Switch {
	s := &Switch{rack: r, latency: c.Latency, loss: c.Loss, seed: c.Seed, dice: make(map[direction]*rand.Rand), cuts: make(map[cut]struct{})}
	if s.latency == 0 {
		s.latency = defaultSwitchLatency
	}
	s.latency = max(s.latency, 0)
	return s
}

// Another returns a switch without stations, which those of s may be plugged into
// too: see [Station.Plug].
func (s *Switch) Another(c SwitchConfig) *Switch { return newSwitch(s.rack, c) }

// Station returns a new station that is switched on and plugged in, with a kernel
// that answers for the addresses and no process yet: as it is, it is a client, or
// the gateway.
func (s *Switch) Station(name string, addrs ...netip.Addr) *Station {
	st := &Station{rack: s.rack, name: name}
	st.Plug(s, addrs...)
	return st
}

// SetLoss changes the probability, 0 to 1, that a frame does not arrive.
func (s *Switch) SetLoss(p float64) { s.locked(func() { s.loss = p }) }

// SetDuplicates changes the probability, 0 to 1, that a frame which arrives does so
// twice.
func (s *Switch) SetDuplicates(p float64) { s.locked(func() { s.double = p }) }

// SetJitter delays each frame by up to d more, so that frames overtake each other.
func (s *Switch) SetJitter(d time.Duration) { s.locked(func() { s.jitter = d }) }

// SetCut tells whether what one station sends does not arrive at another one, on
// this switch. The way back is another cut.
func (s *Switch) SetCut(from, to *Station, on bool) {
	s.locked(func() {
		if on {
			s.cuts[cut{from, to}] = struct{}{}
		} else {
			delete(s.cuts, cut{from, to})
		}
	})
}

func (r *rack) locked(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f()
}

// transmit sends a frame, which nothing may change any more, at a time.
func (s *Switch) transmit(from *Link, frame []byte, at time.Time) {
	for _, to := range s.links {
		if to.isFor(frame) {
			for _, arrival := range s.carry(from, to, at) {
				to.receive(frame, arrival)
			}
		}
	}
}

// joins reports whether what one link sends arrives at another.
func (s *Switch) joins(from, to *Link) bool {
	_, isCut := s.cuts[cut{from.station, to.station}]
	return from != to && from.up() && to.up() && !from.mute && !to.deaf && from.side == to.side && !isCut
}

// carry returns when the copies arrive of what is sent at a time; none if nothing
// does.
func (s *Switch) carry(from, to *Link, at time.Time) []time.Time {
	if !s.joins(from, to) {
		return nil
	}
	dice := s.dice[direction{from, to}]
	if dice == nil {
		dice = rand.New(rand.NewPCG(s.seed, uint64(from.number)<<32|uint64(to.number)))
		s.dice[direction{from, to}] = dice
	}
	copies := 1
	if dice.Float64() < s.loss {
		copies = 0
	} else if dice.Float64() < s.double {
		copies = 2
	}
	arrivals := make([]time.Time, copies)
	for i := range arrivals {
		arrivals[i] = at.Add(s.latency)
		if s.jitter > 0 {
			arrivals[i] = arrivals[i].Add(time.Duration(dice.Int64N(int64(s.jitter))))
		}
	}
	return arrivals
}

package memnet

import (
	"context"
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"
)

const (
	defaultLatency = 200 * time.Microsecond

	// maxDatagram is the largest payload of a UDP datagram over IPv4.
	maxDatagram = 65507
	// maxQueue is how many datagrams a socket holds before it drops.
	maxQueue = 1024
	// window is how many bytes a stream takes before its writer has to wait
	// for the reader.
	window = 256 << 10
	// maxBacklog is how many connections wait to be accepted.
	maxBacklog = 128
	// redial is the pause of a dial whose listener has a full backlog, as
	// long as TCP takes to send a SYN again.
	redial = time.Second
)

// NetworkConfig describes a [Network]. The zero value is a good one.
type NetworkConfig struct {
	// Latency is how long a datagram or a piece of a stream travels. If
	// zero, 200 µs; if negative, no time at all.
	Latency time.Duration
	// Loss is the probability, 0 to 1, that a datagram is lost. Streams lose
	// nothing.
	Loss float64
	// Seed chooses which datagrams are lost: the same seed loses the same
	// ones, counted for each pair of hosts and direction by itself.
	Seed uint64
}

// Network is a network in memory. Its methods may be called at any time from
// any goroutine; under [testing/synctest] the Network must be made inside the
// bubble.
type Network struct {
	// mu guards the network, its hosts and all their sockets. It is never
	// held while anything waits, as synctest requires.
	mu       sync.Mutex
	latency  time.Duration
	loss     float64
	seed     uint64
	dice     map[route]*rand.Rand
	hosts    map[netip.Addr]*Host
	groups   map[netip.Addr]int // nil: no partition
	streams  map[*stream]struct{}
	topology notice // somebody may reach somebody again
}

// route is a direction between two hosts.
type route struct{ from, to netip.Addr }

// NewNetwork returns a network without hosts.
func NewNetwork(cfg NetworkConfig) *Network {
	n := &Network{
		loss:    cfg.Loss,
		seed:    cfg.Seed,
		dice:    make(map[route]*rand.Rand),
		hosts:   make(map[netip.Addr]*Host),
		streams: make(map[*stream]struct{}),
	}
	n.setLatency(cfg.Latency)
	return n
}

// Host returns the host with the address, which is switched on and plugged in
// when it is first asked for.
func (n *Network) Host(addr netip.Addr) *Host {
	n.mu.Lock()
	defer n.mu.Unlock()
	addr = addr.Unmap()
	h := n.hosts[addr]
	if h == nil {
		h = &Host{
			network:   n,
			addr:      addr,
			packets:   make(map[uint16]*packetConn),
			listeners: make(map[uint16]*listener),
			nextPort:  firstPort,
		}
		n.hosts[addr] = h
		n.topology.broadcast()
	}
	return h
}

// SetLatency changes the latency of what is sent from now on. It means what
// [NetworkConfig] says: zero is the default, a negative value no latency.
func (n *Network) SetLatency(d time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.setLatency(d)
}

func (n *Network) setLatency(d time.Duration) {
	switch {
	case d == 0:
		n.latency = defaultLatency
	case d < 0:
		n.latency = 0
	default:
		n.latency = d
	}
}

// SetLoss changes the probability, 0 to 1, that a datagram is lost.
func (n *Network) SetLoss(p float64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.loss = p
}

// Partition lets hosts reach only those of their own group; hosts that are in
// none of the groups form one more. It replaces an earlier partition.
//
// Across the cut datagrams vanish, except those already on their way. A dial
// hangs until its context ends or the cut heals. A stream stalls: what is
// written is taken until the window is full, and arrives when the cut heals;
// this holds for the end of the stream and for a reset too.
func (n *Network) Partition(groups ...[]netip.Addr) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.groups = make(map[netip.Addr]int)
	for i, group := range groups {
		for _, addr := range group {
			n.groups[addr.Unmap()] = i + 1
		}
	}
	n.settle()
}

// Heal ends a partition.
func (n *Network) Heal() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.groups = nil
	n.settle()
}

// reachable tells whether what a sends arrives at b.
func (n *Network) reachable(a, b netip.Addr) bool {
	from, to := n.hosts[a], n.hosts[b]
	return from != nil && to != nil && !from.off && !to.off && n.groups[a] == n.groups[b]
}

// settle lets a changed topology take effect on streams and dials.
func (n *Network) settle() {
	now := time.Now()
	for s := range n.streams {
		s.settle(now)
	}
	n.topology.broadcast()
}

// lost throws the dice for one datagram.
func (n *Network) lost(from, to netip.Addr) bool {
	if n.loss <= 0 {
		return false
	}
	r := route{from, to}
	dice := n.dice[r]
	if dice == nil {
		dice = rand.New(rand.NewPCG(n.seed, digest(from)*31+digest(to)))
		n.dice[r] = dice
	}
	return dice.Float64() < n.loss
}

// digest folds an address into a number (FNV-1a).
func digest(addr netip.Addr) uint64 {
	sum := uint64(14695981039346656037)
	for _, b := range addr.As16() {
		sum = (sum ^ uint64(b)) * 1099511628211
	}
	return sum
}

// wait releases the network until s is broadcast, the time has come (zero:
// never) or done is closed.
func (n *Network) wait(s *notice, until time.Time, done <-chan struct{}) {
	wait(&n.mu, s, until, done)
}

// travel waits until from reaches to and something sent then has arrived. It
// fails when from is no longer in the given life.
func (n *Network) travel(ctx context.Context, from *Host, life uint64, to netip.Addr) error {
	var arrival time.Time // zero: not on its way
	for {
		switch {
		case from.life != life:
			return errHostDown
		case ctx.Err() != nil:
			return ctx.Err()
		case !n.reachable(from.addr, to):
			arrival = time.Time{}
		case arrival.IsZero():
			arrival = time.Now().Add(n.latency)
		}
		if !arrival.IsZero() && !arrival.After(time.Now()) {
			return nil
		}
		n.wait(&n.topology, arrival, ctx.Done())
	}
}

// notice wakes all goroutines that wait for it. It is guarded by the lock of what
// it is about.
type notice struct{ ch chan struct{} }

func (s *notice) channel() <-chan struct{} {
	if s.ch == nil {
		s.ch = make(chan struct{})
	}
	return s.ch
}

func (s *notice) broadcast() {
	if s.ch != nil {
		close(s.ch)
		s.ch = nil
	}
}

// wait unlocks mu until s is broadcast, the time has come (zero: never) or done is
// closed.
func wait(mu *sync.Mutex, s *notice, until time.Time, done <-chan struct{}) {
	changed := s.channel()
	mu.Unlock()
	defer mu.Lock()
	var timeout <-chan time.Time
	if !until.IsZero() {
		timer := time.NewTimer(time.Until(until))
		defer timer.Stop()
		timeout = timer.C
	}
	select {
	case <-changed:
	case <-timeout:
	case <-done:
	}
}

// earliest returns the earlier of two times; zero means never.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || (!b.IsZero() && b.Before(a)) {
		return b
	}
	return a
}

// expired tells whether a deadline has passed; zero means that there is none.
func expired(deadline, now time.Time) bool {
	return !deadline.IsZero() && !deadline.After(now)
}

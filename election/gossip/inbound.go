package gossip

import (
	"net"
	"net/netip"
	"slices"
	"sync"
)

// Bounds of the streams that others have open here: before they have said hello, from one
// source and in all; and afterwards, of one name, or without a secret from one source, and
// in all.
const (
	maxStrangers, maxStrangersOfSource = 64, 8
	maxStreams, maxStreamsOfName       = 128, 16
)

// inbound is the streams that others have opened.
type inbound struct {
	mu        sync.Mutex
	newcomers []*inboundConn // that have not said hello, the oldest first
	names     map[string]int
	known     int
}

// inboundConn is one of them.
type inboundConn struct {
	net.Conn
	source netip.Addr
}

// arrive takes in a stream. Where there are too many, the oldest of the same source has
// to go, else the oldest of all; it is returned.
func (g *inbound) arrive(n *inboundConn) (gone *inboundConn) {
	g.mu.Lock()
	defer g.mu.Unlock()
	same, oldest := 0, -1
	for i, s := range g.newcomers {
		if s.source == n.source {
			if same++; oldest < 0 {
				oldest = i
			}
		}
	}
	if same < maxStrangersOfSource {
		oldest = 0
	}
	if same >= maxStrangersOfSource || len(g.newcomers) >= maxStrangers {
		gone = g.newcomers[oldest]
		g.newcomers = slices.Delete(g.newcomers, oldest, oldest+1)
	}
	g.newcomers = append(g.newcomers, n)
	return gone
}

// depart lets a stream go that has not said hello, or has just done so.
func (g *inbound) depart(n *inboundConn) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.newcomers = slices.DeleteFunc(g.newcomers, func(s *inboundConn) bool { return s == n })
}

// admit takes in a stream of a name, if there is room.
func (g *inbound) admit(name string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.known >= maxStreams || g.names[name] >= maxStreamsOfName {
		return false
	}
	g.known++
	g.names[name]++
	return true
}

// leave lets a stream of a name go.
func (g *inbound) leave(name string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.known--
	if g.names[name]--; g.names[name] <= 0 {
		delete(g.names, name)
	}
}

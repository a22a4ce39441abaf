package main

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// every is the time from one datagram to the next.
	every = time.Millisecond
	// longestLoad is for how long the client can send.
	longestLoad = 10 * time.Minute
	// answerWithin is how long answers are waited for at the end.
	answerWithin = 250 * time.Millisecond
	// numberSize is the size of a datagram, which is a number, in bytes.
	numberSize = 8
)

// progress is how far the client is.
type progress struct {
	By     string // the node that answered last
	Streak int    // how many datagrams in a row it has answered
}

// trace is all that the client has seen: when each datagram was sent, and which
// node has answered.
type trace struct {
	Start time.Duration // when the first datagram was due
	Sent  []int32       // since Start, in microseconds
	By    []int32       // the number of the node, from 1; 0 if none has answered
}

// message is a line that the client prints: one of the two.
type message struct {
	Progress *progress `json:",omitempty"`
	Trace    *trace    `json:",omitempty"`
}

// client sends datagrams and takes the answers.
type client struct {
	conn  *net.UDPConn
	start time.Duration
	sent  []int32
	count atomic.Int64 // how many were sent
	by    []atomic.Int32
	// The number of the node that answered last, from 1, and how many datagrams
	// in a row it has.
	last, streak atomic.Int32
}

// runLoad is the client: it sends a numbered datagram every millisecond, whether
// those before were answered or not, and prints its progress. When its input ends it
// waits for the last answers, and prints the trace.
func runLoad([]string) error {
	_ = realTime() // said by introduce
	debug.SetGCPercent(-1)
	conn, err := net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(vip, appPort)))
	if err != nil {
		return err
	}
	defer conn.Close()
	c := &client{
		conn: conn,
		sent: make([]int32, longestLoad/every),
		by:   make([]atomic.Int32, longestLoad/every),
	}
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		_, _ = io.Copy(io.Discard, os.Stdin)
	}()
	var group sync.WaitGroup
	group.Go(func() { c.send(stopped) })
	group.Go(c.receive)
	out := json.NewEncoder(os.Stdout)
	c.tell(stopped, out)
	group.Wait()
	return out.Encode(message{Trace: c.trace()})
}

// send sends the datagrams until stopped, and then ends the wait for answers.
func (c *client) send(stopped <-chan struct{}) {
	runtime.LockOSThread()
	var buf [numberSize]byte
	write := writer(c.conn, buf[:])
	c.start = now()
	due := c.start
	for n := range len(c.sent) {
		sleepUntil(due)
		select {
		case <-stopped:
			_ = c.conn.SetReadDeadline(time.Now().Add(answerWithin))
			return
		default:
		}
		binary.BigEndian.PutUint64(buf[:], uint64(n))
		c.sent[n] = int32((now() - c.start) / time.Microsecond)
		if write() != nil {
			// That of an earlier one, which a port was closed for: this one
			// is not sent yet.
			_ = write()
		}
		c.count.Store(int64(n) + 1)
		due = max(due+every, now()) // a burst for what was missed would measure buffers
	}
	_ = c.conn.SetReadDeadline(time.Now())
}

// receive takes the answers until the deadline.
func (c *client) receive() {
	numbers := make(map[string]int32)
	for i, at := range nodePlaces(mostNodes) {
		numbers[at.name] = int32(i) + 1
	}
	buf := make([]byte, 64)
	previous, last, streak := -1, int32(0), int32(0)
	for {
		size, err := c.conn.Read(buf)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return
		}
		if err != nil || size < numberSize {
			continue // a port was closed
		}
		n := int(binary.BigEndian.Uint64(buf))
		by := numbers[string(buf[numberSize:size])]
		if n < 0 || n >= len(c.by) || by == 0 {
			continue
		}
		c.by[n].Store(by)
		if n == previous+1 && by == last {
			streak++
		} else {
			streak = 1
		}
		previous, last = n, by
		c.last.Store(last)
		c.streak.Store(streak)
	}
}

// tell prints the progress until stopped.
func (c *client) tell(stopped <-chan struct{}, out *json.Encoder) {
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-stopped:
			return
		case <-ticker.C:
		}
		p := progress{Streak: int(c.streak.Load())}
		if by := c.last.Load(); by > 0 {
			p.By = nodePlaces(int(by))[by-1].name
		}
		_ = out.Encode(message{Progress: &p})
	}
}

// trace returns what was seen, when all is over.
func (c *client) trace() *trace {
	n := int(c.count.Load())
	t := &trace{Start: c.start, Sent: c.sent[:n], By: make([]int32, n)}
	for i := range t.By {
		t.By[i] = c.by[i].Load()
	}
	return t
}

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/mdlayher/arp"
	"github.com/mdlayher/ethernet"
	"github.com/mdlayher/packet"
)

const (
	// askEvery is the time from one question for the address to the next.
	askEvery = 10 * time.Millisecond
	// askers is how many addresses the questions come from by turns: an answer
	// tells by the address that it goes to which question it answers.
	askers = 100
)

// sighting is what the watcher has seen. Stations are hardware addresses.
type sighting struct {
	Claims  []claim         // of the address
	Asked   []time.Duration // when each question was asked
	Answers []answer
}

type claim struct {
	At time.Duration
	By string
}

type answer struct {
	Question int
	At       time.Duration
	By       string
}

// runWatch is the watcher: it asks for the address by ARP and listens to the ARP of
// the network. When its input ends it prints what it has seen.
func runWatch([]string) error {
	_ = realTime()
	port, err := net.InterfaceByName("eth0")
	if err != nil {
		return err
	}
	conn, err := packet.Listen(port, packet.Raw, int(ethernet.EtherTypeARP), nil)
	if err != nil {
		return err
	}
	defer conn.Close()
	w := &watch{conn: conn, port: port}
	var listening sync.WaitGroup
	listening.Go(w.listen)
	err = w.ask()
	_ = conn.SetReadDeadline(time.Now().Add(answerWithin))
	listening.Wait()
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(w.seen)
}

type watch struct {
	conn net.PacketConn
	port *net.Interface
	mu   sync.Mutex
	seen sighting
}

// ask asks until the input ends.
func (w *watch) ask() error {
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		_, _ = io.Copy(io.Discard, os.Stdin)
	}()
	ticker := time.NewTicker(askEvery)
	defer ticker.Stop()
	for n := 0; ; n++ {
		select {
		case <-stopped:
			return nil
		case <-ticker.C:
		}
		frame, err := question(w.port.HardwareAddr, n)
		if err != nil {
			return err
		}
		w.mu.Lock()
		w.seen.Asked = append(w.seen.Asked, now())
		w.mu.Unlock()
		if _, err := w.conn.WriteTo(frame, &packet.Addr{HardwareAddr: ethernet.Broadcast}); err != nil {
			return err
		}
	}
}

// asker returns the address that a question comes from. The addresses of the
// network's upper half are no node's.
func asker(n int) netip.Addr {
	bytes := vip.As4()
	bytes[3] = byte(128 + n%askers)
	return netip.AddrFrom4(bytes)
}

// question is the frame that asks for the address.
func question(from net.HardwareAddr, n int) ([]byte, error) {
	inner, err := arp.NewPacket(arp.OperationRequest, from, asker(n), make(net.HardwareAddr, 6), vip)
	if err != nil {
		return nil, err
	}
	payload, err := inner.MarshalBinary()
	if err != nil {
		return nil, err
	}
	outer := ethernet.Frame{Destination: ethernet.Broadcast, Source: from, EtherType: ethernet.EtherTypeARP, Payload: payload}
	return outer.MarshalBinary()
}

// listen listens until the deadline.
func (w *watch) listen() {
	buf := make([]byte, 1514)
	for {
		n, _, err := w.conn.ReadFrom(buf)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return
		}
		w.mu.Lock()
		w.seen.take(now(), buf[:n])
		w.mu.Unlock()
	}
}

// take takes in a frame that came at a time.
func (s *sighting) take(at time.Duration, frame []byte) {
	var outer ethernet.Frame
	var inner arp.Packet
	if outer.UnmarshalBinary(frame) != nil || inner.UnmarshalBinary(outer.Payload) != nil || inner.SenderIP != vip {
		return
	}
	by := inner.SenderHardwareAddr.String()
	if inner.TargetIP == vip {
		s.Claims = append(s.Claims, claim{at, by})
		return
	}
	// The latest question that came from there.
	for n := len(s.Asked) - 1; n >= max(0, len(s.Asked)-askers); n-- {
		if asker(n) == inner.TargetIP {
			s.Answers = append(s.Answers, answer{n, at, by})
			return
		}
	}
}

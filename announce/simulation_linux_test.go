package announce

import (
	"encoding/binary"
	"fmt"
	"io"
	"net/netip"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// simulation is an engine at made-up times, whose frames go into files.
type simulation struct {
	*engine
	t       testing.TB
	now     time.Time
	files   []*file // one for each port
	written []sent  // what is in them
}

// sent is a frame that was sent.
type sent struct {
	message
	port  int
	after time.Duration // since the start
}

// isProbe reports whether no station learns anything from the frame.
func (s *sent) isProbe() bool { return s.question && s.source.IsUnspecified() }

// newSimulation returns an engine with as many interfaces, all of which carry all
// addresses.
func newSimulation(t testing.TB, c Config, interfaces int, addrs ...netip.Addr) *simulation {
	t.Helper()
	a, err := New(c)
	require.NoError(t, err)
	s := &simulation{t: t, now: time.Now(), engine: &engine{
		Announcer: a, claims: make(map[netip.Addr]*claim), hearings: make(map[int]*hearing),
		binder: &binder{mode: None}, pacer: newPacer(a.config.Burst, a.config.Rate), assigned: []Assignment{},
	}}
	s.started = s.now
	s.own.Store(new(map[hardwareAddr]bool))
	var names []string
	for i := range interfaces {
		l := link{name: fmt.Sprint("eth", i), index: i + 1, hw: hardwareAddr{2, 0, 0, 0, 0, byte(i)}}
		names = append(names, l.name)
		s.links = append(s.links, l)
		s.hearings[l.index] = new(hearing)
		for _, v6 := range []bool{false, true} {
			s.ports = append(s.ports, &port{
				link: l, v6: v6, owner: a, own: &s.own, raw: s.newFile(),
				hearing: s.hearings[l.index],
				seen:    make(map[netip.Addr]sighting), sighted: make(chan struct{}, 1),
			})
		}
	}
	for _, addr := range addrs {
		s.assigned = append(s.assigned, Assignment{Addr: addr, Interfaces: names, Mode: Answer, Claim: 1})
	}
	s.set(s.assigned)
	return s
}

// file is a file in the place of a port's socket.
type file struct {
	*os.File
	sim  *simulation
	port int
}

func (f *file) Control(fn func(uintptr)) error   { panic("not used") }
func (f *file) Read(fn func(uintptr) bool) error { panic("not used") }

// Write notes when a frame was sent; what it says is read afterwards.
func (f *file) Write(fn func(uintptr) bool) error {
	fn(f.Fd())
	f.sim.written = append(f.sim.written, sent{port: f.port, after: f.sim.now.Sub(f.sim.started)})
	return nil
}

func (s *simulation) newFile() *file {
	fd, err := unix.MemfdCreate("frames", unix.MFD_CLOEXEC)
	require.NoError(s.t, err)
	f := &file{File: os.NewFile(uintptr(fd), "frames"), sim: s, port: len(s.files)}
	s.t.Cleanup(func() { f.Close() })
	s.files = append(s.files, f)
	return f
}

// set assigns and applies.
func (s *simulation) set(assignments []Assignment) {
	require.NoError(s.t, s.Set(slices.Clone(assignments)))
	s.assigned = s.assignments
	s.claim(s.assigned)
}

// Stats returns the counters; there are no sockets to ask.
func (s *simulation) Stats() Stats { return s.counter.load() }

// change makes an assignment another one.
func (s *simulation) change(i int, change func(a *Assignment)) {
	assignments := slices.Clone(s.assigned)
	change(&assignments[i])
	s.set(assignments)
}

// run lets time pass, and returns what was sent meanwhile.
func (s *simulation) run(d time.Duration) []sent {
	for end := s.now.Add(d); ; {
		s.transmit(s.now)
		if len(s.queue) == 0 {
			s.now = end
			return s.collect()
		}
		next := s.queue[0].due
		if paced := s.pacer.readyAt(); paced.After(next) {
			next = paced
		}
		if next.After(end) {
			s.now = end
			return s.collect()
		}
		if next.After(s.now) {
			s.now = next
		}
	}
}

// collect reads the frames that were sent since the last time.
func (s *simulation) collect() []sent {
	bytes := make([][]byte, len(s.files))
	for i, f := range s.files {
		var err error
		_, err = f.Seek(0, io.SeekStart)
		require.NoError(s.t, err)
		bytes[i], err = io.ReadAll(f.File)
		require.NoError(s.t, err)
		_, err = f.Seek(0, io.SeekStart)
		require.NoError(s.t, err)
		require.NoError(s.t, f.Truncate(0))
	}
	all := s.written
	s.written = nil
	for i := range all {
		p, b := s.ports[all[i].port], bytes[all[i].port]
		length := 60 // of ARP, with padding
		if p.v6 {
			length = offIPv6 + 40 + int(binary.BigEndian.Uint16(b[offIPv6+4:]))
		}
		why, ok := parse(b[:length], &all[i].message)
		require.True(s.t, ok, "%v", why)
		require.Equal(s.t, p.link.hw, all[i].sender)
		bytes[all[i].port] = b[length:]
	}
	return all
}

// hear lets a frame arrive at a port, and wakes Run's loop if that does.
func (s *simulation) hear(port int, frame []byte) {
	p := s.ports[port]
	p.mu.Lock()
	defer p.mu.Unlock()
	p.handle(frame, new(message), make([]byte, replyLen))
}

// addresses returns n addresses from first on.
func addresses(first string, n int) (list []netip.Addr) {
	for a := addr(first); len(list) < n; a = a.Next() {
		list = append(list, a)
	}
	return list
}

package segment

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/l2vip/l2vip/election"
)

const (
	// maxUnread bounds the frames of a port that are not read yet, and how many beats
	// that tell nothing new are read at once.
	maxUnread = 512
	// maxBatch bounds what is read from a port before others have their turn, and
	// rest is for how long nothing is read after that: a flood must neither hold up
	// the beats nor take the processor from everything else.
	maxBatch = 64
	rest     = time.Millisecond
	// floodFor is for how long after such a flood beats are read as they come, lest they
	// are lost in it.
	floodFor = time.Second
)

// Segment beats, and listens for the beats of others. Its methods may be called from
// any goroutine.
type Segment struct {
	config   Config
	count    counters
	running  atomic.Bool
	realtime atomic.Bool // the thread that beats is scheduled so

	setting sync.Mutex // one Set after the other

	mu     sync.Mutex
	said   *statement
	posted []func(*core) // what is to be done on the thread of the core
	wake   func()        // makes that look at said and posted; nil while it does not run

	decoders sync.WaitGroup
}

// New returns a Segment, or an error that joins a *ConfigError for each thing that is
// wrong. It opens nothing: Run does.
func New(c Config) (*Segment, error) {
	if err := c.settle(); err != nil {
		return nil, err
	}
	return &Segment{config: c, said: new(statement)}, nil
}

// Set replaces what this member says of itself; it takes effect at once. An offer
// with a lower revision than one before is not taken. A Membership of more than 64
// bytes is not told, and a longer Lease than MaxLease is taken for MaxLease.
func (s *Segment) Set(state State) {
	s.setting.Lock()
	defer s.setting.Unlock()
	state.Links = slices.Clone(state.Links)
	next := prepare(state, s.current())
	s.mu.Lock()
	defer s.mu.Unlock()
	s.said = next
	if s.wake != nil {
		s.wake()
	}
}

// Run beats as the local member until ctx is cancelled, and then tells the others
// that it stops and returns nil. It calls report with a whole picture whenever
// something about it has changed, on the thread that beats; report must not block. Run
// can be called once. The member's name has 1 to 128 bytes, its cluster's at most 128.
//
// Without [Config.Ethernet] the sockets are opened on the goroutine that calls Run,
// which is locked to its thread; that is scheduled in real time where the process may
// ask for it. On systems other than Linux the error then wraps
// [errors.ErrUnsupported].
func (s *Segment) Run(ctx context.Context, local election.Local, report func(Report)) error {
	switch {
	case local.Name == "" || len(local.Name) > maxName || !utf8.ValidString(local.Name):
		return fmt.Errorf("segment: the member's name %q is not UTF-8 of 1 to %d bytes", local.Name, maxName)
	case len(local.Cluster) > maxCluster || !utf8.ValidString(local.Cluster):
		return fmt.Errorf("segment: the cluster's name %q is not UTF-8 of at most %d bytes", local.Cluster, maxCluster)
	case local.Instance == 0:
		return errors.New("segment: the member's instance is zero")
	}
	if s.running.Swap(true) {
		return errors.New("segment: Run was called before")
	}
	defer s.decoders.Wait()
	if s.config.Ethernet != nil {
		return s.runEthernet(ctx, &local, report)
	}
	return s.runKernel(ctx, &local, report)
}

// Realtime reports whether the thread that beats is scheduled in real time
// (SCHED_FIFO). Without, a busy machine delays beats, and the interval widens.
func (s *Segment) Realtime() bool { return s.realtime.Load() }

// Stats returns the counters.
func (s *Segment) Stats() Stats { return s.count.load() }

// Detection is how long after its last beat a member of this configuration is found
// to be unreachable: see [Config.Detection].
func (s *Segment) Detection() time.Duration { return s.config.Detection() }

// current returns what was set last.
func (s *Segment) current() *statement {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.said
}

// setWake sets what makes the thread of the core look; nil when it ends.
func (s *Segment) setWake(wake func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wake, s.posted = wake, nil
}

// wakeUp makes the thread of the core look.
func (s *Segment) wakeUp() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.wake != nil {
		s.wake()
	}
}

// post has f called on the thread of the core, if that still runs.
func (s *Segment) post(f func(*core)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.wake != nil {
		s.posted = append(s.posted, f)
		s.wake()
	}
}

// runPosted calls what was posted.
func (s *Segment) runPosted(c *core) {
	s.mu.Lock()
	posted := s.posted
	s.posted = nil
	s.mu.Unlock()
	for _, f := range posted {
		f(c)
	}
}

// decode implements output.
func (s *Segment) decode(data []byte, done func(*election.Offer, error)) {
	s.decoders.Go(func() {
		o, err := decodeOffer(data)
		s.post(func(*core) { done(o, err) })
	})
}

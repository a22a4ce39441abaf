package heartbeat

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Detector beats, and listens for the beats of others. Its methods may be called
// from any goroutine.
type Detector struct {
	config   Config
	count    counters
	running  atomic.Bool
	realtime atomic.Bool // the thread that beats is scheduled so

	mu    sync.Mutex
	state State
	wake  func() // makes the thread look at state; nil while it does not run
}

// State is what a member says of itself.
type State struct {
	// Links are the interfaces to beat on.
	Links []Link
	// Holds says that the member holds addresses: it beats fast.
	Holds bool
	// Membership is where others may join the member's membership engine, as
	// host:port; empty if nowhere.
	Membership string
	// Lease is for how long the member goes on answering for what it holds after
	// a beat, should its process not run meanwhile: the others leave it the time.
	// At most MaxLease; zero if it promises nothing.
	Lease time.Duration
	// Sent is called on the thread that beats after each beat that was sent, with
	// how long ago that began; it must not block. Nil is called never.
	Sent func(ago time.Duration)
}

// Peer is another member as its beats show it.
type Peer struct {
	// Node is its name.
	Node string
	// Instance tells its starts apart.
	Instance uint64
	// Silent says that no beat has come for a while, or that it has said it would
	// stop: its process does not run. It is not dead for that.
	Silent bool
	// Dead says that it held addresses and fell silent, its kernel too, and that
	// the others that could be asked miss it as well.
	Dead bool
	// Stalled says that its beats are missing and its kernel answers: the host can
	// be heard, and the process does not run.
	Stalled bool
	// Leased says that it may still answer for what it holds, though its process
	// does not run: its last beat is not longer ago than its lease, and it has not
	// been found out that its kernel does not answer.
	Leased bool
	// Gone says that its beats are missing and that its kernel, asked at
	// Membership, says that nobody listens there: the process has ended.
	Gone bool
	// Holds says that it beats fast, because it holds addresses.
	Holds bool
	// Membership is where its membership engine listens; empty if nowhere.
	Membership string
	// Interval is the time between its beats.
	Interval time.Duration
	// HardwareAddr is where its last beat came from.
	HardwareAddr [6]byte
}

// New returns a Detector, or an error that joins a *ConfigError for each thing
// that is wrong. It opens nothing: Run does.
func New(c Config) (*Detector, error) {
	if err := c.settle(); err != nil {
		return nil, err
	}
	c.Logger = cmp.Or(c.Logger, slog.New(slog.DiscardHandler))
	return &Detector{config: c}, nil
}

// Set replaces what this member says of itself; it takes effect at once.
func (d *Detector) Set(s State) {
	s.Links = slices.Clone(s.Links)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.state = s
	if d.wake != nil {
		d.wake()
	}
}

// current returns the state that was set last.
func (d *Detector) current() State {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.state
}

// Run beats as the member self until ctx is cancelled, and then tells the others
// that it stops and returns nil. It calls report with all members that beat,
// whenever something about them has changed, on its own thread; report must not
// block. Run can be called once.
//
// The sockets are opened on the goroutine that calls Run, which is locked to its
// thread; that is scheduled in real time where the process may ask for it. On
// systems other than Linux the error wraps [errors.ErrUnsupported].
func (d *Detector) Run(ctx context.Context, self string, report func([]Peer)) error {
	if self == "" || len(self) > maxName {
		return errors.New("heartbeat: a member's name has 1 to 512 bytes")
	}
	if d.running.Swap(true) {
		return errors.New("heartbeat: Run was called before")
	}
	return d.run(ctx, self, report)
}

// Realtime reports whether the thread that beats is scheduled in real time
// (SCHED_FIFO). Without, a busy machine delays beats, and the interval widens.
func (d *Detector) Realtime() bool { return d.realtime.Load() }

// Stats returns the counters.
func (d *Detector) Stats() Stats { return d.count.load() }

// Detection is how long after its last beat a member of this configuration is
// taken for dead: see [Config.Detection].
func (d *Detector) Detection() time.Duration { return d.config.Detection() }

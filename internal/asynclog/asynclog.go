// Package asynclog is a logger that never waits for the handler behind it.
//
// What must not block logs through it: a slow handler, one that hangs, and one
// that takes a lock of its caller delay the lines and nothing else. Each line is
// put into a bounded queue, from which a goroutine hands it to the handler.
package asynclog

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"
)

const (
	// depth is how many lines wait for the handler; what comes beyond is dropped.
	depth = 512
	// endTimeout is how long Run waits for the handler at its end.
	endTimeout = 100 * time.Millisecond
)

// Logger is a slog.Logger that never waits for its handler, and so are those that
// its With and WithGroup return. Only what the handler's Enabled, WithAttrs and
// WithGroup do is done on the goroutine of the caller.
//
// What is logged has its final form at once: nothing that it refers to is read
// later. Values that are neither of a basic kind nor of net/netip become their
// text, as fmt's %+v has it, errors too.
type Logger struct {
	*slog.Logger

	next    slog.Handler
	queue   chan line
	dropped atomic.Uint64
	ended   atomic.Bool
}

// line is a record, and the handler with the attributes and groups that it is for.
type line struct {
	ctx    context.Context
	next   slog.Handler
	record slog.Record
}

// New returns a logger in front of the handler. If nil, everything is discarded.
// Up to 512 lines wait until [Logger.Run] runs.
func New(next slog.Handler) *Logger {
	if next == nil {
		next = slog.DiscardHandler
	}
	l := &Logger{next: next, queue: make(chan line, depth)}
	l.Logger = slog.New(&handler{l, next})
	return l
}

// Dropped returns how many lines were not written: those that found the queue full
// or Run at its end, and those at which the handler panicked.
func (l *Logger) Dropped() uint64 { return l.dropped.Load() }

// Run hands the lines to the handler until ctx is done, and then those that wait.
// For these it takes at most 100 ms: it returns even if the handler hangs, whose
// last call then goes on alone, and no other follows. Run may be called once.
//
// Once the handler has caught up after lines were dropped, it gets one more at
// level Warn that says how many.
func (l *Logger) Run(ctx context.Context) {
	written := make(chan struct{})
	go func() {
		defer close(written)
		l.write(ctx)
	}()
	<-ctx.Done()
	timer := time.NewTimer(endTimeout)
	defer timer.Stop()
	select {
	case <-written:
	case <-timer.C:
	}
	l.ended.Store(true)
	for {
		select {
		case <-l.queue:
			l.dropped.Add(1)
		default:
			return
		}
	}
}

// write hands lines to the handler until Run has ended, or ctx is done and none
// waits.
func (l *Logger) write(ctx context.Context) {
	told := uint64(0)    // how many drops the handler was told of
	since, ok := 0, true // lines since then, and whether the last one was written
	for !l.ended.Load() {
		if dropped := l.Dropped(); ok && dropped > told && (len(l.queue) == 0 || since > depth) {
			if ok = l.tell(dropped - told); ok {
				told, since = dropped, 0
			}
		}
		next, waits := l.wait(ctx)
		if !waits {
			return
		}
		if ok = next.write(); !ok {
			l.dropped.Add(1)
		}
		since++
	}
}

// wait returns the next line, or false if ctx is done and none waits.
func (l *Logger) wait(ctx context.Context) (line, bool) {
	select {
	case next := <-l.queue:
		return next, true
	case <-ctx.Done():
	}
	select {
	case next := <-l.queue:
		return next, true
	default:
		return line{}, false
	}
}

// tell writes that lines were dropped.
func (l *Logger) tell(count uint64) bool {
	if !l.next.Enabled(context.Background(), slog.LevelWarn) {
		return true
	}
	r := slog.NewRecord(time.Now(), slog.LevelWarn, "log lines were dropped", 0)
	r.AddAttrs(slog.Uint64("lines", count))
	return (&line{context.Background(), l.next, r}).write()
}

// write hands the line to the handler, and reports whether that came back without
// a panic.
func (n *line) write() (ok bool) {
	defer func() { ok = recover() == nil }()
	_ = n.next.Handle(n.ctx, n.record) // as slog.Logger does
	return true
}

// handler puts records into the queue of a Logger.
type handler struct {
	log  *Logger
	next slog.Handler
}

// Enabled implements [slog.Handler].
func (h *handler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.next.Enabled(ctx, level)
}

// Handle implements [slog.Handler].
func (h *handler) Handle(ctx context.Context, r slog.Record) error {
	final := slog.NewRecord(r.Time, r.Level, r.Message, r.PC)
	r.Attrs(func(a slog.Attr) bool {
		final.AddAttrs(slog.Attr{Key: a.Key, Value: finalValue(a.Value)})
		return true
	})
	if h.log.ended.Load() {
		h.log.dropped.Add(1)
		return nil
	}
	select {
	case h.log.queue <- line{context.WithoutCancel(ctx), h.next, final}:
	default:
		h.log.dropped.Add(1)
	}
	return nil
}

// WithAttrs implements [slog.Handler].
func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &handler{h.log, h.next.WithAttrs(finalAttrs(attrs))}
}

// WithGroup implements [slog.Handler].
func (h *handler) WithGroup(name string) slog.Handler {
	return &handler{h.log, h.next.WithGroup(name)}
}

// finalAttrs returns the attributes with their final values.
func finalAttrs(attrs []slog.Attr) []slog.Attr {
	attrs = slices.Clone(attrs)
	for i := range attrs {
		attrs[i].Value = finalValue(attrs[i].Value)
	}
	return attrs
}

// finalValue returns a value that refers to nothing that can change.
func finalValue(v slog.Value) slog.Value {
	v = v.Resolve()
	switch v.Kind() {
	case slog.KindGroup:
		return slog.GroupValue(finalAttrs(v.Group())...)
	case slog.KindAny:
		switch x := v.Any().(type) {
		case nil, netip.Addr, netip.AddrPort, netip.Prefix, slog.Level:
		default:
			return slog.StringValue(fmt.Sprintf("%+v", x))
		}
	}
	return v
}

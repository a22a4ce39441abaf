package asynclog_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/slogtest"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/l2vip/l2vip/internal/asynclog"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// depth is how many lines wait for the handler.
const depth = 512

// start runs the logger; what it returns ends that, and returns how long it took.
func start(l *asynclog.Logger) (end func() time.Duration) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		l.Run(ctx)
	}()
	return func() time.Duration {
		began := time.Now()
		cancel()
		<-ended
		return time.Since(began)
	}
}

// text returns a handler that writes lines without the time to a buffer.
func text(out *bytes.Buffer) slog.Handler {
	return slog.NewTextHandler(out, &slog.HandlerOptions{ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
		if len(groups) == 0 && a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}})
}

// hooked is a handler that calls a function first.
type hooked struct {
	slog.Handler
	before func(slog.Record)
}

func (h hooked) Handle(ctx context.Context, r slog.Record) error {
	h.before(r)
	return h.Handler.Handle(ctx, r)
}

func TestLinesAreWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		l := asynclog.New(text(&out))
		l.Info("before Run", "n", 1)
		end := start(l)
		synctest.Wait()
		require.Equal(t, "level=INFO msg=\"before Run\" n=1\n", out.String())

		out.Reset()
		l.With("a", 1).WithGroup("g").With("b", 2).Warn("grouped", "c", 3)
		l.Debug("not enabled")
		l.Info("last")
		require.Zero(t, end(), "nothing hangs")
		require.Equal(t, "level=WARN msg=grouped a=1 g.b=2 g.c=3\nlevel=INFO msg=last\n", out.String())

		l.Info("after Run")
		require.EqualValues(t, 1, l.Dropped())
		require.False(t, l.Enabled(t.Context(), slog.LevelDebug))
	})
}

func TestNilHandlerDiscards(t *testing.T) {
	l := asynclog.New(nil)
	require.False(t, l.Enabled(t.Context(), slog.LevelError))
	l.Error("nothing")
	require.Zero(t, l.Dropped())
}

// It behaves as the handler behind it does.
func TestConforms(t *testing.T) {
	var out bytes.Buffer
	var end func() time.Duration
	slogtest.Run(t, func(*testing.T) slog.Handler {
		out.Reset()
		l := asynclog.New(slog.NewJSONHandler(&out, nil))
		end = start(l)
		return l.Handler()
	}, func(t *testing.T) map[string]any {
		end()
		var got map[string]any
		require.NoError(t, json.Unmarshal(out.Bytes(), &got))
		return got
	})
}

// counter is a value that is resolved when it is logged.
type counter struct{ n *int }

func (c counter) LogValue() slog.Value {
	return slog.GroupValue(slog.Int("n", *c.n), slog.Any("list", []int{*c.n}))
}

// changing is an error whose text changes.
type changing struct{ n *int }

func (c changing) Error() string { return "error " + strconv.Itoa(*c.n) }

// What is logged is what was there when it was logged.
func TestNothingIsReadLater(t *testing.T) {
	var out bytes.Buffer
	l := asynclog.New(text(&out))
	n, list, attrs := 1, []int{1}, []slog.Attr{slog.Int("in", 1)}
	with := []any{slog.Any("with", list)}
	log := l.With(with...)
	log.Info("a", "list", list, "value", counter{&n}, "error", changing{&n}, slog.Attr{Key: "g", Value: slog.GroupValue(attrs...)},
		"wrapped", errors.Join(changing{&n}), "addr", netip.MustParseAddr("192.0.2.1"), "nil", nil, "pointer", &struct{ A []int }{list})
	n, list[0], attrs[0] = 2, 2, slog.Int("in", 2)
	start(l)()
	require.Equal(t, `level=INFO msg=a with=[1] list=[1] value.n=1 value.list=[1] error="error 1" g.in=1`+
		` wrapped="error 1" addr=192.0.2.1 nil=<nil> pointer=&{A:[1]}`+"\n", out.String())
}

func TestLinesBeyondTheQueueAreDroppedAndCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		release := make(chan struct{})
		l := asynclog.New(hooked{text(&out), func(slog.Record) { <-release }})
		end := start(l)
		l.Info("hangs")
		synctest.Wait()
		for range depth + 7 {
			l.Info("more")
		}
		require.EqualValues(t, 7, l.Dropped())
		close(release)
		synctest.Wait()
		lines := strings.Split(strings.TrimSpace(out.String()), "\n")
		require.Len(t, lines, 1+depth+1)
		require.Equal(t, `level=WARN msg="log lines were dropped" lines=7`, lines[len(lines)-1], "after those that waited")

		l.Info("again")
		synctest.Wait()
		require.Equal(t, 1, strings.Count(out.String(), "dropped"), "once")
		end()
		require.EqualValues(t, 7, l.Dropped())
	})
}

// A handler that is too slow for ever is told what it misses all the same.
func TestDropsAreToldUnderLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		var l *asynclog.Logger
		l = asynclog.New(hooked{text(&out), func(slog.Record) {
			for range 2 { // each line makes two
				l.Info("more")
			}
			time.Sleep(time.Millisecond)
		}})
		end := start(l)
		l.Info("first")
		time.Sleep(10*depth*time.Millisecond + time.Microsecond)
		end()
		time.Sleep(time.Millisecond)
		synctest.Wait() // for the last call
		told := strings.Count(out.String(), "dropped")
		require.InDelta(t, 9, told, 1)
	})
}

func TestHandlerThatHangsHoldsNothingUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		release := make(chan struct{})
		l := asynclog.New(hooked{text(&out), func(slog.Record) { <-release }})
		end := start(l)
		for range 10 {
			l.Info("hangs")
		}
		synctest.Wait()
		require.Equal(t, 100*time.Millisecond, end())
		require.EqualValues(t, 9, l.Dropped(), "all but the one that hangs")

		close(release)
		synctest.Wait()
		require.Equal(t, 1, strings.Count(out.String(), "\n"), "no other call follows")
	})
}

// A handler that is only slow gets as much as fits.
func TestSlowHandlerGetsTimeAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		l := asynclog.New(hooked{text(&out), func(slog.Record) { time.Sleep(time.Millisecond) }})
		end := start(l)
		for range 50 {
			l.Info("slow")
		}
		require.Equal(t, 50*time.Millisecond, end())
		require.Equal(t, 50, strings.Count(out.String(), "slow"))
		require.Zero(t, l.Dropped())
	})
}

func TestHandlerThatPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		broken := true
		l := asynclog.New(hooked{text(&out), func(slog.Record) {
			if broken {
				panic("broken")
			}
		}})
		end := start(l)
		for range 3 {
			l.Info("lost")
		}
		synctest.Wait()
		require.EqualValues(t, 3, l.Dropped())
		broken = false
		l.Info("works")
		require.Zero(t, end())
		require.Equal(t, "level=INFO msg=works\nlevel=WARN msg=\"log lines were dropped\" lines=3\n", out.String())
	})
}

// Many goroutines log, one has the handler.
func TestConcurrentUse(t *testing.T) {
	var out bytes.Buffer
	l := asynclog.New(text(&out))
	end := start(l)
	var wg sync.WaitGroup
	const senders, each = 8, 1000
	for i := range senders {
		wg.Go(func() {
			log := l.With("sender", i)
			for n := range each {
				log.Info("line", "n", n)
			}
		})
	}
	wg.Wait()
	end()
	written := uint64(strings.Count(out.String(), "msg=line"))
	require.EqualValues(t, senders*each, written+l.Dropped())
}

func BenchmarkLog(b *testing.B) {
	l := asynclog.New(slog.NewTextHandler(new(bytes.Buffer), nil))
	addr := netip.MustParseAddr("192.0.2.1")
	b.ReportAllocs()
	for b.Loop() {
		l.Info("a line", "address", addr, "count", 7)
	}
}

package gossip

import (
	"context"
	"log"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"
)

const (
	// journalDepth is how many lines wait for a slow handler; what comes
	// beyond is lost.
	journalDepth = 256
	// chatter is how many lines a second memberlist may write: whoever
	// reaches the port can make it write one per datagram.
	chatter = 20
)

// journal writes to a slog.Logger from a goroutine of its own, because much is
// logged under memberlist's locks, where a slow handler would stop everything.
type journal struct {
	logger *slog.Logger
	lines  chan line
}

type line struct {
	level slog.Level
	text  string
	args  []any
}

func newJournal(l *slog.Logger) *journal {
	return &journal{logger: l, lines: make(chan line, journalDepth)}
}

// log notes a line and returns at once.
func (j *journal) log(level slog.Level, text string, args ...any) {
	if !j.logger.Enabled(context.Background(), level) {
		return
	}
	select {
	case j.lines <- line{level, text, args}:
	default:
	}
}

// run writes the lines until ctx is done and all are written.
func (j *journal) run(ctx context.Context) {
	for {
		select {
		case l := <-j.lines:
			j.write(l)
			continue
		case <-ctx.Done():
		}
		for {
			select {
			case l := <-j.lines:
				j.write(l)
			default:
				return
			}
		}
	}
}

func (j *journal) write(l line) {
	j.logger.Log(context.Background(), l.level, l.text, l.args...)
}

// adapter is the io.Writer behind memberlist's *log.Logger.
type adapter struct {
	journal *journal
	count   *counters
	second  atomic.Int64
	lines   atomic.Int64
}

func newAdapter(j *journal, c *counters) *log.Logger {
	return log.New(&adapter{journal: j, count: c}, "", 0)
}

// prefixes are memberlist's levels.
var prefixes = map[string]slog.Level{
	"[DEBUG]": slog.LevelDebug,
	"[INFO]":  slog.LevelInfo,
	"[WARN]":  slog.LevelWarn,
	"[ERR]":   slog.LevelWarn, // nothing that goes wrong here ends the program
	"[ERROR]": slog.LevelWarn,
}

// ours are the messages about what the engine reports itself, once and in its
// own words.
var ours = []string{"Conflicting address", "label", "Decrypt packet failed", "failed to receive", "ignoring alive message"}

// Write takes one line of memberlist's.
func (a *adapter) Write(b []byte) (int, error) {
	text := strings.TrimSpace(string(b))
	level := slog.LevelInfo
	if prefix, rest, ok := strings.Cut(text, " "); ok {
		if l, ok := prefixes[prefix]; ok {
			level, text = l, rest
		}
	}
	text = strings.TrimPrefix(text, "memberlist: ")
	// memberlist tells of a failed decryption nowhere else.
	if strings.HasPrefix(text, "Decrypt packet failed") || strings.Contains(text, "no installed keys could decrypt") {
		a.count.drop(a.journal, dropKey, "detail", text)
	}
	for _, known := range ours {
		if strings.Contains(text, known) {
			level = slog.LevelDebug
		}
	}
	if level > slog.LevelDebug {
		now := time.Now().Unix()
		if a.second.Swap(now) != now {
			a.lines.Store(0)
		}
		if a.lines.Add(1) > chatter {
			return len(b), nil
		}
	}
	a.journal.log(level, "memberlist: "+text)
	return len(b), nil
}

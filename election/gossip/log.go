package gossip

import (
	"context"
	"log"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"
)

// maxLogRate is how many lines a second memberlist may write above level Debug: a
// station that reaches the port can make it write one per datagram.
const maxLogRate = 20

// adapter is the io.Writer behind memberlist's *log.Logger.
type adapter struct {
	log    *slog.Logger
	second atomic.Int64
	lines  atomic.Int64
}

func newAdapter(l *slog.Logger) *log.Logger { return log.New(&adapter{log: l}, "", 0) }

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
var ours = []string{"Conflicting address", "failed to receive", "ignoring alive message", "without encryption"}

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
	if strings.HasSuffix(text, errHeld.Error()) {
		return len(b), nil
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
		if a.lines.Add(1) > maxLogRate {
			return len(b), nil
		}
	}
	a.log.Log(context.Background(), level, "memberlist: "+text)
	return len(b), nil
}

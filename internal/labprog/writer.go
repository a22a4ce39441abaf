package labprog

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"sync"
)

// Lines returns a writer that calls take with each line that is written to it,
// without its end. The line is take's only until that returns.
func Lines(take func(line []byte)) io.Writer { return &lines{take: take} }

type lines struct {
	take func([]byte)
	part []byte // of a line that has not ended
}

func (w *lines) Write(p []byte) (int, error) {
	w.part = append(w.part, p...)
	for {
		line, rest, ok := bytes.Cut(w.part, []byte("\n"))
		if !ok {
			return len(p), nil
		}
		w.take(line)
		w.part = rest
	}
}

// Decode returns a writer that calls take with what each line that is written to
// it says in JSON, and fail for a line that does not.
func Decode[T any](fail func(error), take func(T)) io.Writer {
	return Lines(func(line []byte) {
		var value T
		if err := json.Unmarshal(line, &value); err != nil {
			fail(fmt.Errorf("a program says %q: %w", line, err))
			return
		}
		take(value)
	})
}

// Shared returns a writer for several goroutines.
func Shared(to io.Writer) io.Writer { return &shared{to: to} }

type shared struct {
	mu sync.Mutex
	to io.Writer
}

func (w *shared) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.to.Write(p)
}

// tail keeps the end of what is written to it, and hands everything on.
type tail struct {
	also io.Writer
	mu   sync.Mutex
	text []byte
}

const tailSize = 4 << 10

// Write never fails.
func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	_, _ = t.also.Write(p)
	t.text = append(t.text, p...)
	t.text = t.text[max(0, len(t.text)-tailSize):]
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.text)
}

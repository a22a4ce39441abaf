package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

const (
	// cell is how many requests a character of the strip stands for: 50 ms'.
	cell = int(50 * time.Millisecond / every)
	// row is how many requests a line of the strip stands for: a second's.
	row = int(time.Second / every)
)

// display prints what happens while it happens, line by line.
type display struct {
	out    io.Writer
	colour bool
	board  *board

	mu    sync.Mutex
	shown int // the requests before this one are on the strip, or not wanted there
}

// sayf prints a line with the time.
func (d *display) sayf(format string, args ...any) {
	var at time.Duration
	d.board.Read(func() { at = time.Since(d.board.start) })
	d.mu.Lock()
	defer d.mu.Unlock()
	d.line(at, fmt.Sprintf(format, args...))
}

func (d *display) line(at time.Duration, text string) {
	fmt.Fprintf(d.out, "%8.2fs  %s\n", at.Seconds(), text)
}

// follow prints who leads, and the strip by whole lines, as they become known,
// until ctx ends.
func (d *display) follow(ctx context.Context) {
	leader := ""
	for ctx.Err() == nil {
		changed := d.board.Changed()
		var now string
		var settled int
		d.board.Read(func() { now, settled = d.board.leader(), d.board.settled })
		if now != "" && now != leader {
			leader = now
			d.sayf("%s leads", leader)
		}
		d.strip(settled, true)
		select {
		case <-changed:
		case <-ctx.Done():
		}
	}
}

// skip leaves the requests before number out of the strip.
func (d *display) skip(number int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.shown = number
}

// strip prints the strip of the requests before number, which have ended. With
// whole it keeps a line that is not full for later.
func (d *display) strip(number int, whole bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for d.shown < number {
		end := min(d.shown+row, number)
		if whole && end < d.shown+row {
			return
		}
		var part []request
		d.board.Read(func() { part = d.board.requests[d.shown:end] })
		d.line(part[0].Sent, d.cells(part)+"  "+servers(part))
		d.shown = end
	}
}

// cells draws a line of the strip: a full block where all requests were served,
// half a one where some failed, and a low one where all did.
func (d *display) cells(requests []request) string {
	const green, yellow, red, plain = "\x1b[32m", "\x1b[33m", "\x1b[31m", "\x1b[0m"
	var line strings.Builder
	for len(requests) > 0 {
		part := requests[:min(cell, len(requests))]
		requests = requests[len(part):]
		colour, block := yellow, "▄"
		switch failures(part) {
		case 0:
			colour, block = green, "█"
		case len(part):
			colour, block = red, "_"
		}
		if d.colour {
			block = colour + block + plain
		}
		line.WriteString(block)
	}
	return line.String()
}

// servers names the fronts that have served the requests, in their order.
func servers(requests []request) string {
	var names []string
	for _, s := range spans(requests) {
		if s.by != "" && (len(names) == 0 || names[len(names)-1] != s.by) {
			names = append(names, s.by)
		}
	}
	return strings.Join(names, " → ")
}

package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/l2vip/l2vip/internal/testnet"
)

const (
	// calms is how long a cluster that has just started is left alone: its first
	// announcements are over, and what it does then it always does.
	calms = 6 * time.Second
	// watches is for how long its costs are counted.
	watches = 10 * time.Second
	// tick is the unit of processor time in /proc, the same on every Linux.
	tick = 10 * time.Millisecond
)

// expense is what has been spent since the start.
type expense struct {
	cpu     time.Duration
	packets uint64
}

// measureCost returns what all nodes spend together while nothing happens and
// no client asks.
func measureCost(ctx context.Context, t trial) (r result, err error) {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	l, err := newLab(t, fail)
	if err != nil {
		return result{}, err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	if err := l.waitLeader(ctx, 0); err != nil {
		return result{}, err
	}
	if err := pause(ctx, calms); err != nil {
		return result{}, err
	}
	from := now()
	before, err := l.spent()
	if err != nil {
		return result{}, err
	}
	if err := pause(ctx, watches); err != nil {
		return result{}, err
	}
	after, err := l.spent()
	seconds := (now() - from).Seconds()
	return result{
		CPU:     (after.cpu - before.cpu).Seconds() * 1000 / seconds,
		Packets: float64(after.packets-before.packets) / seconds,
	}, err
}

// reckonCost returns what more nodes would spend than are measured. A further node
// sends as much as the one before. What each of them works grows with their number,
// because it hears the beats of all others.
func reckonCost(ctx context.Context, t trial) (result, error) {
	const few, more = 10, 20
	n := t.nodes
	t.nodes = few
	a, err := measureCost(ctx, t)
	if err != nil {
		return result{}, err
	}
	t.nodes = more
	b, err := measureCost(ctx, t)
	if err != nil {
		return result{}, err
	}
	// line is where the straight line through two values is at n.
	line := func(atFew, atMore float64) float64 {
		return atFew + (atMore-atFew)*float64(n-few)/(more-few)
	}
	return result{CPU: float64(n) * line(a.CPU/few, b.CPU/more), Packets: line(a.Packets, b.Packets)}, nil
}

// spent returns what all nodes have spent.
func (l *lab) spent() (expense, error) {
	var sum expense
	for _, m := range l.nodes {
		cpu, err := groupCPU(m.speaker.Process.Pid)
		if err != nil {
			return sum, err
		}
		packets, err := sentPackets(m.Node)
		if err != nil {
			return sum, err
		}
		sum.cpu += cpu
		sum.packets += packets
	}
	return sum, nil
}

// groupCPU returns the processor time of a process group.
func groupCPU(group int) (time.Duration, error) {
	paths, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return 0, err
	}
	var sum time.Duration
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		of, cpu, err := parseStat(string(text))
		if err != nil {
			return 0, fmt.Errorf("%s: %w", path, err)
		}
		if of == group {
			sum += cpu
		}
	}
	return sum, nil
}

// parseStat returns the process group and the processor time of a process, that
// of its children which have ended included, of what proc_pid_stat(5) describes.
func parseStat(text string) (group int, cpu time.Duration, err error) {
	_, rest, ok := strings.Cut(text[max(0, strings.LastIndexByte(text, ')')):], ") ")
	fields := strings.Fields(rest) // from the third on: the state
	if !ok || len(fields) < 15 {
		return 0, 0, errors.New("not a process's status")
	}
	group, err = strconv.Atoi(fields[2])
	for _, field := range fields[11:15] {
		ticks, failed := strconv.ParseInt(field, 10, 64)
		err = errors.Join(err, failed)
		cpu += time.Duration(ticks) * tick
	}
	return group, cpu, err
}

// sentPackets returns how many packets a node has sent.
func sentPackets(node *testnet.Node) (packets uint64, err error) {
	err = node.Do(func() error {
		text, err := os.ReadFile("/proc/thread-self/net/dev")
		if err == nil {
			packets, err = parseDev(text, node.Interface)
		}
		return err
	})
	return packets, err
}

// parseDev returns the packets sent on an interface, of what /proc/net/dev says.
func parseDev(text []byte, name string) (uint64, error) {
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		at, counters, _ := strings.Cut(lines.Text(), ":")
		if fields := strings.Fields(counters); strings.TrimSpace(at) == name && len(fields) > 9 {
			return strconv.ParseUint(fields[9], 10, 64)
		}
	}
	return 0, fmt.Errorf("no interface %s", name)
}

package main

import (
	"errors"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// What can be done to a program.
const (
	signalKill      = unix.SIGKILL
	signalFreeze    = unix.SIGSTOP
	signalThaw      = unix.SIGCONT
	signalTerminate = unix.SIGTERM
)

// signal does something to the program and to all that it has started, which are
// one process group. Asked to terminate, a program tells the others itself. It
// may end from then on.
func (p *program) signal(s unix.Signal) error {
	p.ending.Store(true)
	id := p.cmd.Process.Pid
	if s != signalTerminate {
		id = -id
	}
	err := unix.Kill(id, s)
	if errors.Is(err, unix.ESRCH) {
		err = nil // it has ended
	}
	return os.NewSyscallError("kill", err)
}

// loadAverage returns how many processes wanted to run during the last minute; 0
// if nobody knows.
func loadAverage() float64 {
	text, _ := os.ReadFile("/proc/loadavg")
	first, _, _ := strings.Cut(string(text), " ")
	load, _ := strconv.ParseFloat(first, 64)
	return load
}

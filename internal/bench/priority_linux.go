package main

import (
	"os"
	"runtime"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// realTimePriority is below that of nothing that matters here: what runs with
// real-time priority at all goes before all else.
const realTimePriority = 10

// realTime lets all threads of this process, those to come as well, run before
// what has ordinary priority: a program that waits for a processor measures nothing but
// itself. Where that is not allowed they get the highest ordinary priority.
func realTime() error {
	for settled := false; !settled; {
		settled = true
		threads, err := os.ReadDir("/proc/self/task")
		if err != nil {
			return err
		}
		for _, thread := range threads {
			id, err := strconv.Atoi(thread.Name())
			if err != nil {
				return err
			}
			// A thread that another one has started meanwhile inherits what
			// that had: look again until all have it.
			if policy, _, _ := unix.Syscall(unix.SYS_SCHED_GETSCHEDULER, uintptr(id), 0, 0); policy == unix.SCHED_FIFO {
				continue
			}
			settled = false
			if err := setFIFO(id, realTimePriority); err != nil {
				_ = unix.Setpriority(unix.PRIO_PGRP, 0, -20)
				return err
			}
		}
	}
	return nil
}

// tryRealTime returns why there is no real-time priority, or nil.
func tryRealTime() error {
	result := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends
		result <- setFIFO(0, realTimePriority)
	}()
	return <-result
}

// setFIFO gives a thread a real-time priority.
func setFIFO(thread int, priority int32) error {
	_, _, errno := unix.Syscall(unix.SYS_SCHED_SETSCHEDULER, uintptr(thread), unix.SCHED_FIFO, uintptr(unsafe.Pointer(&priority)))
	if errno == unix.ESRCH || errno == 0 { // it has ended
		return nil
	}
	return os.NewSyscallError("sched_setscheduler", errno)
}

// loadAverage returns how many processes wanted to run during the last minute; 0
// if it is not known.
func loadAverage() float64 {
	text, _ := os.ReadFile("/proc/loadavg")
	first, _, _ := strings.Cut(string(text), " ")
	load, _ := strconv.ParseFloat(first, 64)
	return load
}

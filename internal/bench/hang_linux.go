package main

import (
	"os"
	"os/signal"

	"golang.org/x/sys/unix"
)

// hangSignals delivers what hang sends to a speaker.
func hangSignals() <-chan os.Signal {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, unix.SIGUSR1)
	return signals
}

// hang makes the loop of the node's speaker hang.
func (m *machine) hang() error { return m.speaker.Process.Signal(unix.SIGUSR1) }

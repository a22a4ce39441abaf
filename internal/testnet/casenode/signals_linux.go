package main

import (
	"os"
	"os/signal"
	"syscall"
)

// notify delivers the signals that ask for what is held, and for the next services.
func notify() (holds, next <-chan os.Signal) {
	first, second := make(chan os.Signal, 4), make(chan os.Signal, 4)
	signal.Notify(first, syscall.SIGUSR1)
	signal.Notify(second, syscall.SIGUSR2)
	return first, second
}

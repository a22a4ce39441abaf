//go:build !linux

package main

import (
	"errors"
	"net"
	"os"
	"syscall"
	"time"
)

// Elsewhere there is no lab, and nothing below is ever called.

func realTime() error                               { return errors.ErrUnsupported }
func tryRealTime() error                            { return errors.ErrUnsupported }
func freebind(_, _ string, _ syscall.RawConn) error { return errors.ErrUnsupported }
func writer(*net.UDPConn, []byte) func() error      { return nil }
func loadAverage() float64                          { return 0 }
func now() time.Duration                            { return 0 }
func sleepUntil(time.Duration)                      {}
func hangSignals() <-chan os.Signal                 { return nil }
func (*machine) hang() error                        { return errors.ErrUnsupported }

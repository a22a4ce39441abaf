//go:build !linux

package main

import "os"

// Elsewhere there is no lab, and no such signal.

func notify() (holds, next <-chan os.Signal) { return nil, nil }

package main

import "golang.org/x/sys/unix"

// first lets this program's process group run before all others, where that is
// allowed: a client that waits for a processor measures nothing but itself.
func first() { _ = unix.Setpriority(unix.PRIO_PGRP, 0, -20) }

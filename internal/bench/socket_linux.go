package main

import (
	"errors"
	"syscall"

	"golang.org/x/sys/unix"
)

// freebind lets a socket have an address that the machine may not have yet.
func freebind(_, _ string, conn syscall.RawConn) error {
	var err error
	failed := conn.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_FREEBIND, 1)
	})
	return errors.Join(failed, err)
}

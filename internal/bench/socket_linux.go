package main

import (
	"errors"
	"net"
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

// writer returns a function that sends what is in buf, and never waits: while the
// neighbour is asked for, what is sent fills the socket.
func writer(conn *net.UDPConn, buf []byte) func() error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return func() error { return err }
	}
	var failed error
	once := func(fd uintptr) bool {
		_, failed = unix.Write(int(fd), buf)
		return true
	}
	return func() error { return errors.Join(raw.Write(once), failed) }
}

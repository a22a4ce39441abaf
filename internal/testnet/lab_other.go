//go:build !linux

package testnet

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"runtime"
)

var errNoLab = fmt.Errorf("testnet: no labs on %s: %w", runtime.GOOS, errors.ErrUnsupported)

type lab struct{}

func (*Lab) open() error                                   { return errNoLab }
func (*Lab) close() error                                  { return nil }
func (*Lab) addNode(string, []netip.Prefix) (*Node, error) { return nil, errNoLab }
func (*Lab) snoop() error                                  { return errNoLab }
func (*Lab) split([]*Node) error                           { return errNoLab }

type node struct{}

func (*Node) addInterface(string, []netip.Prefix) (*Node, error) { return nil, errNoLab }
func (*Node) unplug() error                                      { return errNoLab }
func (*Node) plug() error                                        { return errNoLab }
func (*Node) block() error                                       { return errNoLab }
func (*Node) unblock() error                                     { return errNoLab }
func (*Node) do(func() error) error                              { return errNoLab }
func (*Node) start(*exec.Cmd) error                              { return errNoLab }
func (*Node) frames() (net.PacketConn, error)                    { return nil, errNoLab }

func available() error { return errNoLab }

func runMain(run func() int) int { return run() }

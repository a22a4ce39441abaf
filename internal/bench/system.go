package main

import (
	"os/exec"
)

// system is something that moves an address: a configuration of l2vip, or a peer
// to compare it with.
type system struct {
	name string
	// peer tells that it is not l2vip.
	peer bool
	// engine tells that it is l2vip with a membership engine.
	engine bool
	// missing returns why it can't run on this machine, or nil.
	missing func() error
	// speaker is the program that runs on a node of a lab. It calls told whenever
	// it learns how the speaker stands, from what that prints.
	speaker func(l *lab, at *machine, told func(standing)) (*exec.Cmd, error)
}

func (s system) String() string { return s.name }

// standing is what a speaker last said of itself. The zero value is that of one
// that is not running.
type standing struct {
	Ready bool // it would take the address over
	Holds bool // it answers for the address
}

// systems are all systems, ours first.
func systems() []system {
	var all []system
	for _, p := range profiles {
		all = append(all, ours(p))
	}
	return append(all,
		keepalived("keepalived", "1"), // the default
		keepalived("keepalived-100ms", "0.1"),
		keepalived("keepalived-10ms", "0.01"), // the protocol's minimum
	)
}

package announce

import (
	"github.com/mdlayher/ethernet"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// filter returns the program by which the kernel drops what no responder needs
// to see, before it wakes the process: everything but requests and replies of
// ARP for IPv4 on Ethernet, frames that this host sent, frames for other
// stations (an interface may be promiscuous), and frames of a VLAN. The kernel
// strips the tag of a VLAN frame that arrives at the parent interface, so only
// its extension tells; a tag with VID 0 carries just a priority (IEEE 802.1Q).
func filter() ([]bpf.RawInstruction, error) {
	const (
		accept = 0xffff
		drop   = 0
	)
	type check struct {
		load bpf.Instruction
		want uint32
	}
	program := []bpf.Instruction{
		bpf.LoadExtension{Num: bpf.ExtVLANTagPresent},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: 0, SkipTrue: 4},
		bpf.LoadExtension{Num: bpf.ExtVLANTag},
		bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: 0x0fff},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: 0, SkipTrue: 1},
		bpf.RetConstant{Val: drop},

		bpf.LoadExtension{Num: bpf.ExtType},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.PACKET_OUTGOING, SkipFalse: 1},
		bpf.RetConstant{Val: drop},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.PACKET_OTHERHOST, SkipFalse: 1},
		bpf.RetConstant{Val: drop},
	}
	for _, c := range []check{
		{bpf.LoadAbsolute{Off: offEtherType, Size: 2}, uint32(ethernet.EtherTypeARP)},
		{bpf.LoadAbsolute{Off: offARP, Size: 4}, uint32(arpHeader >> 16 & 0xffffffff)},
		{bpf.LoadAbsolute{Off: offARP + 4, Size: 2}, uint32(arpHeader & 0xffff)},
	} {
		program = append(program,
			c.load,
			bpf.JumpIf{Cond: bpf.JumpEqual, Val: c.want, SkipTrue: 1},
			bpf.RetConstant{Val: drop},
		)
	}
	return bpf.Assemble(append(program, bpf.RetConstant{Val: accept}))
}

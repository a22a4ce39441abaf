package announce

import (
	"github.com/mdlayher/ethernet"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// What a filter returns: how many bytes of the frame to take.
const (
	accept = 0xffff
	drop   = 0
)

// filter returns the program by which the kernel drops what no responder needs
// to see, before it wakes the process.
func filter() ([]bpf.RawInstruction, error) {
	return bpf.Assemble(append(arrival(), content()...))
}

// arrival drops by what the kernel knows of a frame besides its bytes: frames of
// a VLAN, frames that this host sent, and frames for other stations (an interface
// may be promiscuous). The kernel strips the tag of a VLAN frame that arrives at
// the parent interface, so only its extension tells; a tag with VID 0 carries
// just a priority (IEEE 802.1Q).
func arrival() []bpf.Instruction {
	return []bpf.Instruction{
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
}

// content accepts only ARP for IPv4 on Ethernet (RFC 826).
func content() []bpf.Instruction {
	var program []bpf.Instruction
	for _, c := range []struct {
		load bpf.Instruction
		want uint32
	}{
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
	return append(program, bpf.RetConstant{Val: accept})
}

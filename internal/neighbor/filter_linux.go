package neighbor

import (
	"golang.org/x/net/bpf"
	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"
)

// What a filter returns: how many bytes of the frame to take.
const (
	accept = 0xffff
	drop   = 0
)

// Filter returns the program by which the kernel drops, before it wakes the
// process, what a packet socket for the protocol, as in [unix.ETH_P_ARP], need
// not see: frames that no station of the link sends to this host, and IPv6
// packets that are none of neighbor discovery.
func Filter(protocol int) ([]bpf.RawInstruction, error) {
	program := arrival()
	if protocol == unix.ETH_P_IPV6 {
		program = append(program, discovery()...)
	}
	return bpf.Assemble(append(program, bpf.RetConstant{Val: accept}))
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

// discovery drops the IPv6 packets that are neither a neighbor solicitation nor
// an advertisement: nobody must be woken by ordinary traffic.
func discovery() []bpf.Instruction {
	return []bpf.Instruction{
		bpf.LoadAbsolute{Off: headerLen + 6, Size: 1}, // next header
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: protoICMPv6, SkipTrue: 1},
		bpf.RetConstant{Val: drop},
		bpf.LoadAbsolute{Off: offICMP, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(ipv6.ICMPTypeNeighborSolicitation), SkipTrue: 2},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(ipv6.ICMPTypeNeighborAdvertisement), SkipTrue: 1},
		bpf.RetConstant{Val: drop},
	}
}

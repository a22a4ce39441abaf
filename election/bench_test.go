package election_test

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/l2vip/l2vip/election"
)

// crowd returns the offers of nodes that all offer addresses, which the first
// holds if held.
func crowd(nodes, addresses int, held bool) []election.Offer {
	live := make([]election.Offer, nodes)
	for i := range live {
		o := &live[i]
		*o = election.Offer{
			Node: fmt.Sprintf("node-%03d.example.com", i), Instance: 1, Revision: 1, Members: uint32(nodes),
			Labels:   map[string]string{"kubernetes.io/hostname": fmt.Sprintf("node-%03d", i)},
			Hardware: []election.HardwareAddr{{2, 0, 0, 0, 0, byte(i)}},
			Entries:  make([]election.Entry, addresses),
		}
		addr := netip.MustParseAddr("10.0.0.0")
		for j := range o.Entries {
			o.Entries[j] = election.Entry{
				Addr: addr, Service: fmt.Sprintf("service-%d", j), Settled: true,
				Holds: held && i == 0, Term: uint64(j),
			}
			addr = addr.Next()
		}
	}
	return live
}

// BenchmarkNext is a whole view, computed after one for the same offers.
func BenchmarkNext(b *testing.B) {
	for _, size := range []struct{ nodes, addresses int }{{3, 1}, {100, 1}, {3, 1000}, {100, 1000}} {
		for _, held := range []bool{false, true} {
			name := fmt.Sprintf("nodes=%d/addresses=%d/held=%v", size.nodes, size.addresses, held)
			b.Run(name, func(b *testing.B) {
				live := crowd(size.nodes, size.addresses, held)
				var v *election.View
				v = v.Next(election.Policy{}, live)
				b.ReportAllocs()
				for b.Loop() {
					v = v.Next(election.Policy{}, live)
				}
			})
		}
	}
}

// BenchmarkOwner is what the loop asks for each address.
func BenchmarkOwner(b *testing.B) {
	var v *election.View
	v = v.Next(election.Policy{}, crowd(3, 10000, true))
	addr := netip.MustParseAddr("10.0.19.136")
	b.ReportAllocs()
	for b.Loop() {
		v.Owner(addr)
	}
}

func BenchmarkRank(b *testing.B) {
	var v *election.View
	v = v.Next(election.Policy{}, crowd(100, 1000, true))
	addr := netip.MustParseAddr("10.0.1.136")
	b.ReportAllocs()
	for b.Loop() {
		v.Rank(addr)
	}
}

func BenchmarkScore(b *testing.B) {
	addr := netip.MustParseAddr("192.168.122.100")
	b.ReportAllocs()
	for b.Loop() {
		election.Score("node-042.example.com", addr)
	}
}

func BenchmarkEncode(b *testing.B) {
	o := crowd(1, 10000, true)[0]
	data, _ := o.AppendBinary(nil)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		data, _ = o.AppendBinary(data[:0])
	}
}

func BenchmarkDecode(b *testing.B) {
	data, _ := crowd(1, 10000, true)[0].AppendBinary(nil)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		var o election.Offer
		if err := o.UnmarshalBinary(data); err != nil {
			b.Fatal(err)
		}
	}
}

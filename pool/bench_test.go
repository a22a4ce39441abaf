package pool_test

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/l2vip/l2vip/pool"
)

// BenchmarkAllocate shows that an address costs the same whether a /16 is empty
// or nearly full, however it was filled: compare ns/address.
func BenchmarkAllocate(b *testing.B) {
	slash16 := []pool.Pool{{Name: "p", Ranges: ranges("10.0.0.0/16")}}
	one := pool.Request{Service: "one", Pool: "p"}

	b.Run("one from an empty /16", func(b *testing.B) {
		benchmarkAllocate(b, slash16, []pool.Request{one})
	})
	b.Run("1000 from an empty /16", func(b *testing.B) {
		benchmarkAllocate(b, slash16, automatic(1000))
	})
	b.Run("65000 automatic, filling a /16", func(b *testing.B) {
		benchmarkAllocate(b, slash16, automatic(65_000))
	})
	b.Run("one more beside 32000 scattered by name", func(b *testing.B) {
		benchmarkAllocate(b, slash16, append(scattered(32_000, 2), one))
	})
	b.Run("32000 automatic beside 32000 scattered by name", func(b *testing.B) {
		benchmarkAllocate(b, slash16, append(scattered(32_000, 2), automatic(32_000)...))
	})
	b.Run("500 automatic beside 65000 by name", func(b *testing.B) {
		benchmarkAllocate(b, slash16, append(scattered(65_000, 1), automatic(500)...))
	})
	b.Run("one from an IPv6 /64", func(b *testing.B) {
		benchmarkAllocate(b, []pool.Pool{{Name: "p", Ranges: ranges("2001:db8::/64")}}, []pool.Request{one})
	})
	b.Run("one, with all of 10000 ranges excluded but the last", func(b *testing.B) {
		p := pool.Pool{Name: "p"}
		for i := range 10_000 {
			addr := netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 1}).String()
			p.Ranges = append(p.Ranges, pool.MustParseRange(addr))
			if i < 9_999 {
				p.Exclude = append(p.Exclude, pool.MustParseRange(addr))
			}
		}
		benchmarkAllocate(b, []pool.Pool{p}, []pool.Request{one})
	})
}

// benchmarkAllocate reports the time per address, besides that of the whole.
func benchmarkAllocate(b *testing.B, pools []pool.Pool, requests []pool.Request) {
	addresses := 0
	for _, r := range requests {
		addresses += max(len(r.Addresses), 1)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := pool.Allocate(pools, requests); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(addresses), "ns/address")
}

func automatic(n int) []pool.Request {
	var requests []pool.Request
	for i := range n {
		requests = append(requests, pool.Request{Service: fmt.Sprint("automatic", i), Pool: "p"})
	}
	return requests
}

// scattered returns requests for every step-th address of 10.0.0.0/16.
func scattered(n, step int) []pool.Request {
	var requests []pool.Request
	for i := range n {
		at := 10 + i*step
		addr := netip.AddrFrom4([4]byte{10, 0, byte(at >> 8), byte(at)})
		requests = append(requests, pool.Request{Service: fmt.Sprint("named", i), Addresses: []netip.Addr{addr}})
	}
	return requests
}

func BenchmarkLookup(b *testing.B) {
	a, err := pool.Allocate([]pool.Pool{{Name: "p", Ranges: ranges("10.0.0.0/16")}}, automatic(65_000))
	if err != nil {
		b.Fatal(err)
	}
	addr := netip.MustParseAddr("10.0.99.99")
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := a.Lookup(addr); !ok {
			b.Fatal("lost")
		}
	}
}

func BenchmarkParseRange(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := pool.ParseRange("192.168.122.100/24"); err != nil {
			b.Fatal(err)
		}
	}
}

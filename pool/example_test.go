package pool_test

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/l2vip/l2vip/pool"
)

func ExampleParseRange() {
	for _, text := range []string{"192.168.122.100", "192.168.122.100/24", "10.0.0.1 - 10.0.0.9", "10.0.0.9-10.0.0.1"} {
		r, err := pool.ParseRange(text)
		if err != nil {
			fmt.Println(err)
			continue
		}
		fmt.Printf("%v: %v to %v, first %v\n", r, r.From(), r.To(), r.First())
	}
	// Output:
	// 192.168.122.100: 192.168.122.100 to 192.168.122.100, first 192.168.122.100
	// 192.168.122.100/24: 192.168.122.0 to 192.168.122.255, first 192.168.122.100
	// 10.0.0.1-10.0.0.9: 10.0.0.1 to 10.0.0.9, first 10.0.0.1
	// range "10.0.0.9-10.0.0.1" is reversed: its end is below its start
}

func ExampleRange_All() {
	for addr := range pool.MustParseRange("10.0.0.6/29").All() {
		fmt.Print(addr, " ")
	}
	// Output: 10.0.0.6 10.0.0.7 10.0.0.0 10.0.0.1 10.0.0.2 10.0.0.3 10.0.0.4 10.0.0.5
}

func ExampleAllocate() {
	pools := []pool.Pool{{
		Name:    "mypool",
		Ranges:  []pool.Range{pool.MustParseRange("192.168.122.100/24")},
		Exclude: []pool.Range{pool.MustParseRange("192.168.122.102")}, // the printer
	}}
	a, err := pool.Allocate(pools, []pool.Request{
		{Service: "web", Pool: "mypool"},
		{Service: "mail", Pool: "mypool", Count: 2},
		{Service: "dns", Addresses: []netip.Addr{netip.MustParseAddr("192.168.122.53")}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(a.Addresses("web"), a.Addresses("mail"))
	for s := range a.All() {
		fmt.Println(s.Addr, s.Service)
	}
	// Output:
	// [192.168.122.100] [192.168.122.101 192.168.122.103]
	// 192.168.122.53 dns
	// 192.168.122.100 web
	// 192.168.122.101 mail
	// 192.168.122.103 mail
}

func ExampleMoved() {
	pools := []pool.Pool{{Name: "mypool", Ranges: []pool.Range{pool.MustParseRange("10.0.0.0/24")}}}
	web, mail := pool.Request{Service: "web", Pool: "mypool"}, pool.Request{Service: "mail", Pool: "mypool"}
	before, _ := pool.Allocate(pools, []pool.Request{web, mail})

	without, _ := pool.Allocate(pools, []pool.Request{mail})
	fmt.Println(pool.Moved(before, without))

	web.Reserved = true
	reserved, _ := pool.Allocate(pools, []pool.Request{web, mail})
	fmt.Println(pool.Moved(before, reserved))
	// Output:
	// addresses that are still asked for would move: service "mail" from 10.0.0.2 to 10.0.0.1
	// <nil>
}

func ExampleConfigError() {
	_, err := pool.Allocate(
		[]pool.Pool{{Name: "mypool", Ranges: []pool.Range{pool.MustParseRange("10.0.0.1")}}},
		[]pool.Request{{Service: "web", Pool: "mypool", Count: 2}, {Service: "mail"}},
	)
	fmt.Println(err)

	var first *pool.ConfigError
	fmt.Println(errors.As(err, &first), first.Path)
	// Output:
	// Services[1]: service "mail" asks for neither addresses nor a pool
	// Services[0]: service "web" gets 1 of 2 addresses: pool "mypool" is exhausted, all of its 1 addresses are taken
	// true Services[1]
}

func ExampleSelector() {
	front := pool.Selector{
		MatchLabels: map[string]string{"node-role": "front"},
		MatchExpressions: []pool.Requirement{
			{Key: "zone", Operator: pool.NotIn, Values: []string{"maintenance"}},
		},
	}
	fmt.Println(front.Matches(map[string]string{"node-role": "front"}))
	fmt.Println(front.Matches(map[string]string{"node-role": "front", "zone": "maintenance"}))
	// Output:
	// true
	// false
}

func ExampleAdvertisement_Weight() {
	ad := pool.Advertisement{Preferred: []pool.Preference{
		{Weight: 60, Nodes: pool.Selector{MatchLabels: map[string]string{"zone": "a"}}},
		{Weight: 50, Nodes: pool.Selector{MatchLabels: map[string]string{"uplink": "fast"}}},
	}}
	fmt.Println(ad.Weight(map[string]string{"zone": "a", "uplink": "fast"}))
	fmt.Println(ad.Weight(map[string]string{"zone": "b"}))
	// Output:
	// 110
	// 0
}

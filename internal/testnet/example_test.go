package testnet_test

import (
	"fmt"
	"net/netip"

	"github.com/l2vip/l2vip/internal/testnet"
)

func ExampleLab() {
	lab, err := testnet.NewLab()
	if err != nil {
		fmt.Println("no lab here:", err)
		return
	}
	defer lab.Close()
	front, err := lab.AddNode("front-0", netip.MustParsePrefix("192.168.122.10/24"))
	if err != nil {
		fmt.Println(err)
		return
	}
	// Functions run inside with Do, programs with Start.
	err = front.Do(func() error {
		// sysctls, netlink, opening sockets
		return nil
	})
	fmt.Println(err)
	fmt.Println(front.Unplug()) // the cable
}

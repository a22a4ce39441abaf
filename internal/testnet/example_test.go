package testnet_test

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/l2vip/l2vip/internal/testnet"
)

func ExampleNetwork() {
	network := testnet.NewNetwork(testnet.NetworkConfig{})
	a := network.Host(netip.MustParseAddr("192.0.2.1"))
	b := network.Host(netip.MustParseAddr("192.0.2.2"))

	server, err := b.ListenPacket(context.Background(), "udp", "192.0.2.2:7946")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer server.Close()
	client, err := a.DialContext(context.Background(), "udp", "192.0.2.2:7946")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()

	_, _ = client.Write([]byte("hello"))
	buf := make([]byte, 100)
	n, _, err := server.ReadFrom(buf)
	fmt.Println(string(buf[:n]), err)
	// Output: hello <nil>
}

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

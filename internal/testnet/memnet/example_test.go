package memnet_test

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/l2vip/l2vip/internal/testnet/memnet"
)

func ExampleNetwork() {
	network := memnet.NewNetwork(memnet.NetworkConfig{})
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

package memnet_test

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/l2vip/l2vip/internal/neighbor"
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

func ExampleSwitch() {
	network := memnet.NewSwitch(memnet.SwitchConfig{})
	network.Station("gateway", netip.MustParseAddr("192.0.2.1"))
	front := network.Station("front-0", netip.MustParseAddr("192.0.2.10"))

	process := front.Start()
	defer process.Kill()
	port, err := process.Open(2)
	if err != nil {
		fmt.Println(err)
		return
	}
	probe, err := neighbor.Probe(netip.MustParseAddr("192.0.2.1"), front.Link(2).HardwareAddr())
	if err != nil {
		fmt.Println(err)
		return
	}
	_, _ = port.Write(probe)
	answer := make([]byte, 1514)
	n, err := port.Read(answer)
	fmt.Println(netip.AddrFrom4([4]byte(answer[28:n])), "is used", err)
	// Output: 192.0.2.1 is used <nil>
}

package main

import (
	"bytes"
	_ "embed"
	"errors"
	"net/netip"

	"github.com/l2vip/l2vip/pool"
	"github.com/l2vip/l2vip/pool/manifest"
)

//go:embed manifest.yaml
var scenario []byte

// The service that the address is for: an address of the scenario's pool.
const (
	serviceName = host
	servicePool = "mypool"
)

// readScenario reads the pools and advertisements, and says which address the
// service gets.
func readScenario() (manifest.Manifest, netip.Addr, error) {
	m, err := manifest.Parse(bytes.NewReader(scenario))
	if err != nil {
		return m, netip.Addr{}, err
	}
	allocation, err := pool.Allocate(m.Pools, []pool.Request{{Service: serviceName, Pool: servicePool, Count: 1}})
	if err != nil {
		return m, netip.Addr{}, err
	}
	addrs := allocation.Addresses(serviceName)
	if len(addrs) != 1 || !addrs[0].Is4() {
		return m, netip.Addr{}, errors.New("the scenario has one IPv4 address")
	}
	return m, addrs[0], nil
}

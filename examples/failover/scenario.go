package main

import (
	_ "embed"
	"errors"
	"net/netip"
	"strings"

	"github.com/l2vip/l2vip/pool"
	"github.com/l2vip/l2vip/pool/manifest"
)

//go:embed manifest.yaml
var scenario string

// The service that the address is for: an address of the scenario's pool, the
// first one, which ends with serviceEnd.
const (
	serviceName = host
	servicePool = "mypool"
	serviceEnd  = "100"
)

// readScenario reads the pools and advertisements, and says which address the
// service gets. Over IPv6 the pool has IPv6 addresses, and all else is the same.
func readScenario(f family) (manifest.Manifest, netip.Addr, error) {
	text := strings.ReplaceAll(scenario, overIPv4.prefix(serviceEnd).String(), f.prefix(serviceEnd).String())
	m, err := manifest.Parse(strings.NewReader(text))
	if err != nil {
		return m, netip.Addr{}, err
	}
	allocation, err := pool.Allocate(m.Pools, []pool.Request{{Service: serviceName, Pool: servicePool, Count: 1}})
	if err != nil {
		return m, netip.Addr{}, err
	}
	addrs := allocation.Addresses(serviceName)
	if len(addrs) != 1 {
		return m, netip.Addr{}, errors.New("the scenario has one address")
	}
	return m, addrs[0], nil
}

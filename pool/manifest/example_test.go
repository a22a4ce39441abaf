package manifest_test

import (
	"fmt"
	"strings"

	"github.com/l2vip/l2vip/pool"
	"github.com/l2vip/l2vip/pool/manifest"
)

func ExampleParse() {
	m, err := manifest.Parse(strings.NewReader(`
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata:
  name: mypool
spec:
  addresses:
    - 192.168.122.100/24
  serviceAllocation:
    namespaces: [shop]
---
apiVersion: v1
kind: Service
metadata:
  name: web
  namespace: shop
---
apiVersion: metallb.io/v1beta1
kind: L2Advertisement
metadata:
  name: l2-advert
spec:
  nodeSelectors:
    - matchLabels:
        node-role: front
`))
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, i := range m.Ignored {
		fmt.Println(i)
	}
	allocation, err := pool.Allocate(m.Pools, []pool.Request{{Service: "nginx", Namespace: "shop", Pool: "mypool"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(allocation.Addresses("nginx"))
	fmt.Println(m.Advertisements[0].SelectsNode(map[string]string{"node-role": "front"}))
	// Output:
	// document 2, line 12: Service "web" in namespace "shop" has no meaning here and is ignored
	// [192.168.122.100]
	// true
}

func ExampleParse_errors() {
	_, err := manifest.Parse(strings.NewReader(`
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata:
  name: no
spec:
  address:
    - 10.0.0.0/24
  addresses:
    - 10.0.0.9-10.0.0.1
`))
	fmt.Println(err)
	// Output:
	// document 1, line 5: metadata.name: want text, not the boolean "no"; put it in quotes
	// document 1, line 7: spec.address: unknown field; did you mean addresses?
	// document 1, line 10: spec.addresses[0]: range "10.0.0.9-10.0.0.1" is reversed: its end is below its start
}

func ExampleParseFiles() {
	m, err := manifest.ParseFiles("testdata/right/several")
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, p := range m.Pools {
		fmt.Println(p.Name, p.Ranges)
	}
	_, err = manifest.ParseFiles("testdata/wrong/several")
	fmt.Println(err)
	// Output:
	// front [192.168.10.0/24]
	// back [10.1.0.0/24]
	// testdata/wrong/several/b.yaml, document 2, line 11: IPAddressPool "front" is defined twice, first in testdata/wrong/several/a.yaml, document 1, line 1
	// testdata/wrong/several/b.yaml, document 1, line 9: spec.addresses[0]: range 10.1.0.200-10.1.1.9 of pool "rear" overlaps range 10.1.0.0/24 of pool "back", in testdata/wrong/several/a.yaml, document 2, line 15
	// testdata/wrong/several/c.json, document 1, line 7: spec.ipAddressPools[1]: advertisement "all" is for pool "side", which does not exist: want one of "front", "back", "rear"
}

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
    priority: 50
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
	allocation, err := pool.Allocate(m.Pools, []pool.Request{{Service: "nginx", Pool: "mypool"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(allocation.Addresses("nginx"))
	fmt.Println(m.Advertisements[0].SelectsNode(map[string]string{"node-role": "front"}))
	// Output:
	// document 1, line 9: spec.serviceAllocation of IPAddressPool "mypool" has no meaning here and is ignored
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
    - 10.0.0.1
  addresses:
    - 10.0.0.9-10.0.0.1
`))
	fmt.Println(err)
	// Output:
	// document 1, line 5: metadata.name: want text, not the boolean "no"; put it in quotes
	// document 1, line 7: spec.address: unknown field
	// document 1, line 10: spec.addresses[0]: range "10.0.0.9-10.0.0.1" is reversed: its end is below its start
}

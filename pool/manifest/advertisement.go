package manifest

import (
	"fmt"

	"github.com/l2vip/l2vip/pool"
)

// maxWeight is the largest weight that a preferred node can have in MetalLB.
const maxWeight = 100

// advertisement reads an L2Advertisement.
func (v value) advertisement() {
	out := pool.Advertisement{Name: v.p.object.name}
	path := fmt.Sprintf("Advertisements[%d]", len(v.p.manifest.Advertisements))
	labels := func(v value) {
		v.labels()
		v.ignore()
	}
	v.whole(labels, map[string]func(value){
		"ipAddressPools": func(v value) {
			v.distinct(func(name string, v value) {
				v.p.positions[fmt.Sprintf("%s.Pools[%d]", path, len(out.Pools))] = v.position()
				out.Pools = append(out.Pools, name)
			})
		},
		"ipAddressPoolSelectors": func(v value) {
			v.p.positions[path+".PoolSelectors"] = v.position()
			out.PoolSelectors = v.selectors()
		},
		"nodeSelectors":    func(v value) { out.NodeSelectors = v.selectors() },
		"serviceSelectors": func(v value) { out.ServiceSelectors = v.selectors() },
		"interfaces": func(v value) {
			v.texts(func(name string, v value) {
				if name == "" {
					v.fail("is empty")
				}
				out.Interfaces = append(out.Interfaces, name)
			})
		},
		"preferredNodeSelectors": func(v value) {
			v.items(func(v value) { out.Preferred = append(out.Preferred, v.preference()) })
		},
	})
	v.p.manifest.Advertisements = append(v.p.manifest.Advertisements, out)
}

// preference reads an item of preferredNodeSelectors.
func (v value) preference() pool.Preference {
	var out pool.Preference
	missing := map[string]bool{"weight": true, "preference": true}
	v.fields(map[string]func(value){
		"weight": func(v value) {
			missing["weight"] = false
			out.Weight = uint32(v.integer(1, maxWeight))
		},
		"preference": func(v value) {
			missing["preference"] = false
			out.Nodes = v.selector()
		},
	})
	v.require(missing, "weight", "preference")
	return out
}

// require says which of the fields of v are missing.
func (v value) require(missing map[string]bool, names ...string) {
	for _, name := range names {
		if missing[name] {
			v.fail("%s is required", name)
		}
	}
}

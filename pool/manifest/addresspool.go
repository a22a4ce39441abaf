package manifest

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/l2vip/l2vip/internal/dnsname"
	"github.com/l2vip/l2vip/pool"
)

// addressPool reads an IPAddressPool.
func (v value) addressPool() {
	out := pool.Pool{Name: v.p.object.name}
	path := fmt.Sprintf("Pools[%d]", len(v.p.manifest.Pools))
	given := false
	v.whole(func(v value) { out.Labels = v.labels() }, map[string]func(value){
		"addresses": func(v value) {
			given = true
			if v.node.Kind == yaml.SequenceNode && len(v.node.Content) == 0 {
				v.fail("is empty: want at least one range")
			}
			v.texts(func(text string, v value) {
				r, err := parseRange(text)
				if err != nil {
					v.fail("%w", err)
					return
				}
				v.p.positions[fmt.Sprintf("%s.Ranges[%d]", path, len(out.Ranges))] = v.position()
				out.Ranges = append(out.Ranges, r)
			})
		},
		"autoAssign":        func(v value) { out.NoAutoAssign = !v.boolean() },
		"avoidBuggyIPs":     func(v value) { out.AvoidBuggyIPs = v.boolean() },
		"serviceAllocation": func(v value) { v.serviceAllocation(&out) },
	})
	if !given {
		v.fail("spec.addresses is required")
	}
	v.p.manifest.Pools = append(v.p.manifest.Pools, out)
}

// parseRange parses a range as MetalLB does, which takes fewer than package pool: a CIDR
// without blanks around it, and no address alone.
func parseRange(text string) (pool.Range, error) {
	r, err := pool.ParseRange(text)
	if err != nil || strings.Contains(text, "-") {
		return r, err
	}
	trimmed := strings.TrimSpace(text)
	if addr, err := netip.ParseAddr(trimmed); err == nil {
		return pool.Range{}, fmt.Errorf("range %s is an address alone, want the CIDR \"%v/%d\"", quote(text), addr, addr.BitLen())
	}
	if text != trimmed {
		return pool.Range{}, fmt.Errorf("range %s has blanks around the CIDR, want %s", quote(text), quote(trimmed))
	}
	return r, nil
}

var errNamespaceSelectors = errors.New("there are no objects of namespaces here whose labels it could select by; name the namespaces in namespaces")

// serviceAllocation reads for which services a pool is.
func (v value) serviceAllocation(out *pool.Pool) {
	v.fields(map[string]func(value){
		"priority": func(v value) { out.Priority = v.integer(0, math.MaxInt32) },
		"namespaces": func(v value) {
			v.distinct(func(name string, v value) {
				if err := dnsname.Label(name); err != nil {
					v.fail("%s %w", quote(name), err)
				}
				out.Namespaces = append(out.Namespaces, name)
			})
		},
		"namespaceSelectors": func(v value) {
			if len(v.selectors()) > 0 {
				v.fail("%w", errNamespaceSelectors)
			}
		},
		"serviceSelectors": func(v value) { out.ServiceSelectors = v.selectors() },
	})
	if out.Priority == 0 && len(out.Namespaces) == 0 && len(out.ServiceSelectors) == 0 {
		// Such a pool is for all services, and comes before those without a
		// serviceAllocation.
		out.ServiceSelectors = []pool.Selector{{}}
	}
}

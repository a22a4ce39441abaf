package manifest

import (
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/l2vip/l2vip/pool"
)

const (
	group      = "metallb.io/"
	apiVersion = group + "v1beta1"
)

// maxWeight is the largest weight that a preferred node can have in MetalLB.
const maxWeight = 100

// meaningless are the kinds of MetalLB that have no use here.
var meaningless = map[string]bool{
	"BFDProfile":         true,
	"BGPAdvertisement":   true,
	"BGPPeer":            true,
	"Community":          true,
	"ConfigurationState": true,
	"ServiceBGPStatus":   true,
	"ServiceL2Status":    true,
}

// read reads a document. An empty one says nothing.
func (p *parser) read(document *yaml.Node) {
	p.kind, p.name = "", ""
	if len(document.Content) == 0 {
		return
	}
	root, ok := p.at(document.Content[0], "")
	if !ok {
		return
	}
	if root.node.Kind != yaml.MappingNode {
		root.wrongType("a mapping")
		return
	}
	p.kind = scalar(root.node, "kind")
	p.name = scalar(root.node, "metadata", "name")
	version := scalar(root.node, "apiVersion")

	ours := p.kind == "IPAddressPool" || p.kind == "L2Advertisement"
	switch {
	case p.kind == "":
		root.fail("has no kind")
	case ours && version != apiVersion:
		root.fail("%s has apiVersion %s, want %q", p.kind, quote(version), apiVersion)
	case p.kind == "IPAddressPool":
		p.manifest.Pools = append(p.manifest.Pools, root.addressPool())
	case p.kind == "L2Advertisement":
		p.manifest.Advertisements = append(p.manifest.Advertisements, root.advertisement())
	case meaningless[p.kind] && strings.HasPrefix(version, group):
		root.ignore()
	default:
		root.fail("unknown kind %s of apiVersion %s", quote(p.kind), quote(version))
	}
}

// scalar returns the scalar at a path of keys as it is written, or "" if there
// is none. It is for knowing what a document is before it is read.
func scalar(node *yaml.Node, path ...string) string {
	for node.Kind == yaml.AliasNode {
		node = node.Alias
	}
	if len(path) == 0 {
		if node.ShortTag() == "!!null" {
			return ""
		}
		return node.Value
	}
	if node.Kind != yaml.MappingNode {
		return ""
	}
	for i := 0; i+1 < len(node.Content); i += 2 {
		if node.Content[i].Value == path[0] {
			return scalar(node.Content[i+1], path[1:]...)
		}
	}
	return ""
}

// object reads the fields that every kind has, and its own.
func (v value) object(metadata, spec map[string]func(value)) {
	named := false
	known := map[string]func(value){
		"name": func(v value) {
			named = true
			if name, ok := v.text(); ok && name == "" {
				v.fail("is empty")
			}
		},
		"namespace": func(v value) { v.text() },
		// What follows is Kubernetes' own, as in what kubectl prints.
		"annotations":                value.ignore,
		"creationTimestamp":          value.ignore,
		"deletionGracePeriodSeconds": value.ignore,
		"deletionTimestamp":          value.ignore,
		"finalizers":                 value.ignore,
		"generateName":               value.ignore,
		"generation":                 value.ignore,
		"labels":                     value.ignore,
		"managedFields":              value.ignore,
		"ownerReferences":            value.ignore,
		"resourceVersion":            value.ignore,
		"selfLink":                   value.ignore,
		"uid":                        value.ignore,
	}
	for name, read := range metadata {
		known[name] = read
	}
	v.fields(map[string]func(value){
		"apiVersion": func(v value) { v.text() },
		"kind":       func(v value) { v.text() },
		"metadata":   func(v value) { v.fields(known) },
		"spec":       func(v value) { v.fields(spec) },
		"status":     value.ignore,
	})
	if !named {
		v.fail("metadata.name is required")
	}
}

// addressPool reads an IPAddressPool.
func (v value) addressPool() pool.Pool {
	out := pool.Pool{Name: v.p.name}
	given := false
	v.object(map[string]func(value){
		"labels": func(v value) { out.Labels = v.labels() },
	}, map[string]func(value){
		"addresses": func(v value) {
			given = true
			if v.node.Kind == yaml.SequenceNode && len(v.node.Content) == 0 {
				v.fail("is empty")
			}
			v.items(func(v value) {
				if r, ok := v.addressRange(); ok {
					out.Ranges = append(out.Ranges, r)
				}
			})
		},
		"autoAssign":        func(v value) { out.NoAutoAssign = !v.boolean() },
		"avoidBuggyIPs":     func(v value) { out.AvoidBuggyIPs = v.boolean() },
		"serviceAllocation": value.ignore,
	})
	if !given {
		v.fail("spec.addresses is required")
	}
	return out
}

func (v value) addressRange() (r pool.Range, ok bool) {
	text, ok := v.text()
	if !ok {
		return pool.Range{}, false
	}
	r, err := pool.ParseRange(text)
	if err != nil {
		v.fail("%w", err)
		return pool.Range{}, false
	}
	return r, true
}

// advertisement reads an L2Advertisement.
func (v value) advertisement() pool.Advertisement {
	out := pool.Advertisement{Name: v.p.name}
	v.object(nil, map[string]func(value){
		"ipAddressPools":         func(v value) { out.Pools = v.texts() },
		"ipAddressPoolSelectors": func(v value) { out.PoolSelectors = v.selectors() },
		"nodeSelectors":          func(v value) { out.NodeSelectors = v.selectors() },
		"interfaces":             func(v value) { out.Interfaces = v.texts() },
		"preferredNodeSelectors": func(v value) {
			v.items(func(v value) { out.Preferred = append(out.Preferred, v.preference()) })
		},
		"serviceSelectors": value.ignore,
	})
	return out
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
	for _, name := range []string{"weight", "preference"} {
		if missing[name] {
			v.fail("%s is required", name)
		}
	}
	return out
}

func (v value) selectors() []pool.Selector {
	var all []pool.Selector
	v.items(func(v value) { all = append(all, v.selector()) })
	return all
}

func (v value) selector() pool.Selector {
	var out pool.Selector
	v.fields(map[string]func(value){
		"matchLabels": func(v value) { out.MatchLabels = v.labels() },
		"matchExpressions": func(v value) {
			v.items(func(v value) { out.MatchExpressions = append(out.MatchExpressions, v.requirement()) })
		},
	})
	return out
}

func (v value) requirement() pool.Requirement {
	var out pool.Requirement
	before := len(v.p.errs)
	v.fields(map[string]func(value){
		"key": func(v value) { out.Key, _ = v.text() },
		"operator": func(v value) {
			text, _ := v.text()
			out.Operator = pool.Operator(text)
		},
		"values": func(v value) { out.Values = v.texts() },
	})
	if len(v.p.errs) == before {
		v.findings(pool.Selector{MatchExpressions: []pool.Requirement{out}}.Validate())
	}
	return out
}

// labels reads labels, and checks their syntax.
func (v value) labels() map[string]string {
	out := make(map[string]string)
	v.entries(func(key string, v value) {
		if text, ok := v.text(); ok {
			out[key] = text
			v.findings(pool.ValidateLabels(map[string]string{key: text}))
		}
	})
	return out
}

// findings adds what a validation of package pool found in v. The place of v
// replaces the path of each, which is that of a field in Go.
func (v value) findings(err error) {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return
	}
	for _, e := range joined.Unwrap() {
		if finding, ok := e.(*pool.ConfigError); ok {
			e = finding.Err
		}
		v.fail("%w", e)
	}
}

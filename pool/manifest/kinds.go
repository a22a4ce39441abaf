package manifest

import (
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// The API of what is read.
const (
	group      = "metallb.io/"
	apiVersion = group + "v1beta1"
	coreV1     = "v1"

	addressPoolKind   = "IPAddressPool"
	advertisementKind = "L2Advertisement"
)

// meaningless are the kinds of MetalLB and its operator that have no use here, with
// their versions.
var meaningless = map[string][]string{
	"BFDProfile":         {"v1beta1"},
	"BGPAdvertisement":   {"v1beta1"},
	"BGPPeer":            {"v1beta1", "v1beta2"},
	"Community":          {"v1beta1"},
	"ConfigurationState": {"v1beta1"},
	"MetalLB":            {"v1beta1"},
	"ServiceBGPStatus":   {"v1beta1"},
	"ServiceL2Status":    {"v1beta1"},
}

// What to do with the configuration of a MetalLB that is no more.
const (
	convertAddressPool = "MetalLB reads no AddressPool any more: write an IPAddressPool with its addresses, autoAssign and avoidBuggyIPs, and for protocol layer2 an L2Advertisement with its name in ipAddressPools"
	convertConfigMap   = "MetalLB reads its configuration from no ConfigMap any more: convert it with MetalLB's configmaptocrs, or write an IPAddressPool for each of its address-pools, and for protocol layer2 an L2Advertisement with its name in ipAddressPools"
)

// read reads a document. An empty one says nothing.
func (p *parser) read(document *yaml.Node) {
	p.object = object{}
	if len(document.Content) == 0 {
		return
	}
	if root, ok := p.at(document.Content[0], ""); ok {
		root.objectOrList()
	}
}

// objectOrList reads an object, or a list of objects as kubectl get writes it.
func (v value) objectOrList() {
	if v.node.Kind != yaml.MappingNode {
		v.wrongType("a mapping")
		return
	}
	kind, version := v.peekText("kind"), v.peekText("apiVersion")
	of, isList := strings.CutSuffix(kind, "List")
	if !isList || kind != "List" && !isOurs(of) && v.peek("items") == nil {
		v.read(kind, version)
		return
	}
	switch want := map[bool]string{true: apiVersion, false: coreV1}[isOurs(of)]; {
	case version == want || kind == "List" && version == "": // which kubectl takes, too
	case isOurs(of) || kind == "List":
		v.fail("%s has apiVersion %s, want %q", kind, quote(version), want)
		v.p.incomplete = true
		return
	}
	hasItems := false
	v.fields(map[string]func(value){
		"apiVersion": func(v value) { v.text() },
		"kind":       func(v value) { v.text() },
		"metadata":   func(value) {}, // a list has only what the server needs to go on with it
		"items": func(v value) {
			hasItems = true
			v.items(func(item value) { item.item(of, version) })
		},
	})
	if !hasItems && v.peek("items") == nil {
		v.fail("items is required")
	}
}

// item reads an item of a list, whose items may leave out of which kind they are if the
// list tells it.
func (v value) item(kind, version string) {
	if v.node.Kind != yaml.MappingNode {
		v.wrongType("a mapping")
		return
	}
	if own := v.peekText("kind"); own != "" || kind == "" {
		kind, version = own, v.peekText("apiVersion")
	}
	if v.peek("items") != nil || kind == "List" {
		v.fail("is a list itself, which kubectl reads neither: want its items here")
		v.p.incomplete = true
		return
	}
	v.read(kind, version)
}

func isOurs(kind string) bool { return kind == addressPoolKind || kind == advertisementKind }

// read reads an object of a kind.
func (v value) read(kind, version string) {
	p := v.p
	p.object = object{kind: kind, namespace: v.peekText("metadata", "namespace"), name: v.peekText("metadata", "name"), path: v.path}
	own := len(p.errs)
	versionOf, inGroup := strings.CutPrefix(version, group)
	versions, isMeaningless := meaningless[kind]
	switch {
	case kind == "":
		v.fail("has no kind: want %s or %s, with apiVersion %s", addressPoolKind, advertisementKind, apiVersion)
	case kind == "AddressPool" && (inGroup || version == ""):
		v.fail("%s", convertAddressPool)
	case kind == "ConfigMap" && version == coreV1 && v.configuredMetalLB():
		v.fail("%s", convertConfigMap)
	case isOurs(kind) && version == apiVersion:
		v.named()
		if kind == addressPoolKind {
			v.addressPool()
		} else {
			v.advertisement()
		}
		return
	case isOurs(kind):
		v.fail("%s has apiVersion %s, want %q", kind, quote(version), apiVersion)
	case strings.EqualFold(kind, addressPoolKind):
		v.fail("unknown kind %s, want %q", quote(kind), addressPoolKind)
	case strings.EqualFold(kind, advertisementKind):
		v.fail("unknown kind %s, want %q", quote(kind), advertisementKind)
	case inGroup && isMeaningless && !slices.Contains(versions, versionOf):
		v.fail("%s has apiVersion %s, want %q", kind, quote(version), group+versions[len(versions)-1])
	case inGroup && !isMeaningless:
		v.fail("unknown kind %s of apiVersion %s: MetalLB 0.16 has %s and %s for layer 2", quote(kind), quote(version), addressPoolKind, advertisementKind)
	case version == "":
		v.fail("%s has no apiVersion", kind)
	case v.hasText("kind") && v.hasText("apiVersion"):
		v.ignore()
	}
	if len(p.errs) > own {
		p.incomplete = true
	}
}

// hasText reports whether a field, if it is there, is a text, and says so if not.
func (v value) hasText(name string) bool {
	node := v.peek(name)
	if node == nil {
		return true
	}
	_, ok := value{p: v.p, node: node, line: v.p.lines + node.Line, path: join(v.path, name)}.text()
	return ok
}

// configuredMetalLB reports whether v is the ConfigMap that configured MetalLB before
// 0.13.
func (v value) configuredMetalLB() bool {
	config := v.peekText("data", "config")
	return v.p.object.name == "config" && v.p.object.namespace == "metallb-system" && v.peek("data", "config") != nil ||
		strings.Contains(config, "address-pools:")
}

// named notes where the object is, so that another of the same name is found.
func (v value) named() {
	if v.p.object.name == "" {
		v.p.incomplete = true
		return
	}
	v.p.objects = append(v.p.objects, positioned{v.p.object, v.position()})
}

package manifest

import (
	"strings"

	"github.com/l2vip/l2vip/internal/dnsname"
	"github.com/l2vip/l2vip/pool"
)

// maxAnnotations is how much annotations may be at most, keys and values together.
const maxAnnotations = 256 << 10

// whole reads the fields that every object has, and its own.
func (v value) whole(labels func(value), spec map[string]func(value)) {
	named := false
	v.fields(map[string]func(value){
		"apiVersion": func(v value) { v.text() },
		"kind":       func(v value) { v.text() },
		"metadata": func(v value) {
			v.fields(map[string]func(value){
				"name": func(v value) {
					named = true
					v.name(dnsname.Subdomain)
				},
				"namespace": func(v value) { v.name(dnsname.Label) },
				"labels":    labels,
				"annotations": func(v value) {
					v.annotations()
					v.ignore()
				},
				// What follows is Kubernetes' own, as in what kubectl prints.
				"creationTimestamp":          value.ignore,
				"deletionGracePeriodSeconds": value.ignore,
				"deletionTimestamp":          value.ignore,
				"finalizers":                 value.ignore,
				"generateName":               value.ignore,
				"generation":                 value.ignore,
				"managedFields":              value.ignore,
				"ownerReferences":            value.ignore,
				"resourceVersion":            value.ignore,
				"selfLink":                   value.ignore,
				"uid":                        value.ignore,
			})
		},
		"spec":   func(v value) { v.fields(spec) },
		"status": value.ignore,
	})
	if !named {
		v.fail("metadata.name is required")
	}
}

// name checks the name of an object or a namespace.
func (v value) name(check func(string) error) {
	name, ok := v.text()
	if !ok {
		return
	}
	if name == "" {
		v.fail("is empty")
	} else if err := check(name); err != nil {
		v.fail("%s %w", quote(name), err)
	}
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

// annotations checks annotations, which have the keys of labels in any capitals.
func (v value) annotations() {
	size := 0
	v.entries(func(key string, v value) {
		size += len(key)
		if text, ok := v.text(); ok {
			size += len(text)
		}
		if pool.ValidateLabels(map[string]string{strings.ToLower(key): ""}) != nil {
			v.fail("%s is no key of an annotation: want letters, digits, '-', '_' and '.', as in the key of a label", quote(key))
		}
	})
	if size > maxAnnotations {
		v.fail("%d bytes, more than %d", size, maxAnnotations)
	}
}

// findings adds what a validation of package pool found in v. The position of v
// replaces the path of each, which is that of a field in Go.
func (v value) findings(err error) {
	for _, finding := range findings(err) {
		v.fail("%w", finding.Err)
	}
}

package manifest

import (
	"fmt"
	"strconv"

	"go.yaml.in/yaml/v3"
)

// parser collects what the documents say and what is wrong with them.
type parser struct {
	manifest Manifest
	errs     []error
	budget   int  // how many values it may still look at
	spent    bool // it wanted to look at more, and has said so

	document   int
	kind, name string // of the document
}

// value is a YAML value and the path that leads to it within its document.
type value struct {
	p    *parser
	node *yaml.Node
	// line is where the value is used, which with an alias is not where it is
	// written.
	line int
	path string
}

// at returns the value of node. The second result is false if there is none to
// look at: it is null, or the parser has looked at enough.
func (p *parser) at(node *yaml.Node, path string) (value, bool) {
	v := value{p: p, node: node, line: node.Line, path: path}
	if p.budget--; p.budget < 0 {
		v.fail("the manifest has more than %d values", MaxNodes)
		p.spent = true
		return v, false
	}
	if node.Kind == yaml.AliasNode {
		v.node = node.Alias
	}
	null := v.node.Kind == yaml.ScalarNode && v.node.ShortTag() == "!!null"
	return v, !null
}

// fail adds what is wrong with v. Once the budget is spent, what is wrong may be
// only that nobody looked.
func (v value) fail(format string, args ...any) {
	if v.p.spent {
		return
	}
	v.p.errs = append(v.p.errs, &Error{Document: v.p.document, Line: v.line, Path: v.path, Err: fmt.Errorf(format, args...)})
}

// ignore notes that v means nothing here.
func (v value) ignore() {
	v.p.manifest.Ignored = append(v.p.manifest.Ignored, Ignored{
		Document: v.p.document, Line: v.line, Kind: v.p.kind, Name: v.p.name, Field: v.path,
	})
}

// entries calls each for every key of a mapping that has a value. The line of
// the value it passes is that of the key.
func (v value) entries(each func(key string, v value)) {
	if v.node.Kind != yaml.MappingNode {
		v.wrongType("a mapping")
		return
	}
	lines := make(map[string]int, len(v.node.Content)/2)
	for i := 0; i+1 < len(v.node.Content); i += 2 {
		key, ok := v.p.at(v.node.Content[i], v.path)
		if !ok {
			key.fail("want a key")
			continue
		}
		if key.node.ShortTag() == "!!merge" {
			key.fail("merge keys (<<) are not supported")
			continue
		}
		name, ok := key.text()
		if !ok {
			continue
		}
		line, twice := lines[name]
		if twice {
			key.fail("%s is given twice, first in line %d", quote(name), line)
			continue
		}
		lines[name] = key.line
		path := name
		if v.path != "" {
			path = v.path + "." + name
		}
		if entry, ok := v.p.at(v.node.Content[i+1], path); ok {
			entry.line = key.line
			each(name, entry)
		}
	}
}

// fields calls, for every field of a mapping, what is known under its name. A
// name that is not known is an error.
func (v value) fields(known map[string]func(value)) {
	v.entries(func(name string, field value) {
		read, ok := known[name]
		if !ok {
			field.fail("unknown field")
			return
		}
		read(field)
	})
}

// items calls each for every item of a list.
func (v value) items(each func(item value)) {
	if v.node.Kind != yaml.SequenceNode {
		v.wrongType("a list")
		return
	}
	for i, node := range v.node.Content {
		item, ok := v.p.at(node, fmt.Sprintf("%s[%d]", v.path, i))
		switch {
		case ok:
			each(item)
		case v.p.spent:
			return
		default:
			item.fail("has no value")
		}
	}
}

// text returns a text, and whether v is one. A time is a text too, because in
// JSON, which Kubernetes makes of the manifest, there is no other.
func (v value) text() (string, bool) {
	tag := v.node.ShortTag()
	if v.node.Kind != yaml.ScalarNode || tag != "!!str" && tag != "!!timestamp" || v.isOldBool() {
		v.wrongType("text")
		return "", false
	}
	return v.node.Value, true
}

// texts returns a list of texts.
func (v value) texts() []string {
	var all []string
	v.items(func(item value) {
		if text, ok := item.text(); ok {
			all = append(all, text)
		}
	})
	return all
}

// boolean returns a boolean.
func (v value) boolean() bool {
	var b bool
	if v.node.ShortTag() != "!!bool" && !v.isOldBool() || v.node.Decode(&b) != nil {
		v.wrongType("true or false")
	}
	return b
}

// integer returns a whole number from low to high.
func (v value) integer(low, high int) int {
	var n int
	if v.node.ShortTag() != "!!int" || v.node.Decode(&n) != nil || n < low || n > high {
		v.wrongType(fmt.Sprintf("a number from %d to %d", low, high))
	}
	return n
}

// wrongType says what is wanted instead of v.
func (v value) wrongType(want string) {
	switch v.node.Kind {
	case yaml.MappingNode:
		v.fail("want %s, not a mapping", want)
	case yaml.SequenceNode:
		v.fail("want %s, not a list", want)
	default:
		is := map[string]string{"!!str": "the text ", "!!bool": "the boolean ", "!!int": "the number ", "!!float": "the number "}[v.node.ShortTag()]
		if v.isOldBool() {
			is = "the boolean "
		}
		hint := ""
		if want == "text" {
			hint = "; put it in quotes"
		}
		v.fail("want %s, not %s%s%s", want, is, quote(v.node.Value), hint)
	}
}

// quote quotes a scalar of the manifest for a message, the long ones in part.
func quote(s string) string {
	const enough = 60
	if len(s) > enough {
		return strconv.Quote(s[:enough]) + "…"
	}
	return strconv.Quote(s)
}

// isOldBool reports whether v is one of the booleans of YAML 1.1 that YAML 1.2
// took for text. Kubernetes still reads them as booleans.
func (v value) isOldBool() bool {
	if v.node.Kind != yaml.ScalarNode || v.node.Style != 0 || v.node.Tag != "!!str" {
		return false
	}
	switch v.node.Value {
	case "y", "Y", "yes", "Yes", "YES", "on", "On", "ON",
		"n", "N", "no", "No", "NO", "off", "Off", "OFF":
		return true
	default:
		return false
	}
}

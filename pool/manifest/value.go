package manifest

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxMerges is how deep merge keys may be nested.
const maxMerges = 100

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
	v := value{p: p, node: node, line: p.lines + node.Line, path: path}
	if !v.spend(1) {
		return v, false
	}
	v.node = followed(node)
	return v, !isNull(v.node)
}

// spend takes from what may be looked at, and reports whether that is not used up.
func (v value) spend(nodes int) bool {
	if v.p.budget -= nodes; v.p.budget < 0 {
		v.fail("the manifest has more than %d values", MaxNodes)
		v.p.spent, v.p.incomplete = true, true
	}
	return !v.p.spent
}

// followed returns what an alias refers to, and any other node itself.
func followed(node *yaml.Node) *yaml.Node {
	if node.Kind == yaml.AliasNode {
		return node.Alias
	}
	return node
}

func isNull(node *yaml.Node) bool { return node.Kind == yaml.ScalarNode && node.ShortTag() == "!!null" }

// position returns where v is.
func (v value) position() fieldPosition {
	return fieldPosition{Position{v.p.file, v.p.document, v.line}, v.path}
}

// fail adds what is wrong with v. Once the budget is spent, what is wrong may be
// only that it was not looked at.
func (v value) fail(format string, args ...any) {
	if v.p.spent {
		return
	}
	v.p.report(&Error{File: v.p.file, Document: v.p.document, Line: v.line, Path: v.path, Err: fmt.Errorf(format, args...)})
}

// ignore notes that v means nothing here.
func (v value) ignore() {
	o := v.p.object
	v.p.manifest.Ignored = append(v.p.manifest.Ignored, Ignored{
		File: v.p.file, Document: v.p.document, Line: v.line, Kind: o.kind, Namespace: o.namespace, Name: o.name,
		Field: strings.TrimPrefix(strings.TrimPrefix(v.path, o.path), "."),
	})
}

// entries calls each for every key of a mapping that has a value, those that a merge
// key (<<) adds after its own. The line of the value it passes is that of the key.
func (v value) entries(each func(key string, v value)) {
	if v.node.Kind != yaml.MappingNode {
		v.wrongType("a mapping")
		return
	}
	m := mapping{each: each, lines: make(map[string]int, len(v.node.Content)/2)}
	m.read(v, 0, func(string) bool { return false })
}

// mapping is a mapping that is being read.
type mapping struct {
	each func(key string, v value)
	// lines are those of the keys that are read, which hide what is merged.
	lines map[string]int
}

// read reads a mapping, or one that is merged into it. above reports whether a key
// stands above the merge key in what v is merged into.
func (m mapping) read(v value, merges int, above func(key string) bool) {
	own := make(map[string]int, len(v.node.Content)/2)
	const mergeKey = "<<"
	var merged value
	for i := 0; i+1 < len(v.node.Content); i += 2 {
		key, ok := v.p.at(v.node.Content[i], v.path)
		if !ok {
			key.fail("want a key")
			continue
		}
		name := mergeKey
		if key.node.ShortTag() != "!!merge" {
			if name, ok = key.text(); !ok {
				continue
			}
		}
		if first, twice := own[name]; twice {
			key.fail("%s is given twice, first in line %d", quote(name), v.p.lines+v.node.Content[first].Line)
			continue
		}
		own[name] = i
		if name == mergeKey {
			merged, _ = v.p.at(v.node.Content[i+1], v.path)
			merged.line = key.line
			continue
		}
		field, ok := v.p.at(v.node.Content[i+1], join(v.path, name))
		field.line = key.line
		if _, hidden := m.lines[name]; hidden {
			if above(name) {
				key.fail("the merge key (<<) stands below %s, which both give: put it above, or YAML takes one of the two and kubectl the other", quote(name))
			}
			continue
		}
		m.lines[name] = key.line
		if ok {
			m.each(name, field)
		}
	}
	if at, ok := own[mergeKey]; ok {
		m.merge(merged, merges+1, func(key string) bool {
			i, isOwn := own[key]
			return isOwn && i < at || above(key)
		})
	}
}

// merge reads what a merge key says: a mapping, or a list of them, of which the first
// that has a key counts.
func (m mapping) merge(v value, merges int, above func(key string) bool) {
	switch {
	case v.p.stopped():
	case merges > maxMerges:
		v.fail("merge keys (<<) are nested more than %d deep", maxMerges)
	case v.node.Kind == yaml.MappingNode:
		m.read(v, merges, above)
	case v.node.Kind == yaml.SequenceNode:
		for _, node := range v.node.Content {
			item, ok := v.p.at(node, v.path)
			if !ok || item.node.Kind != yaml.MappingNode {
				item.wrongMerge()
				return
			}
			m.read(item, merges, above)
		}
	default:
		v.wrongMerge()
	}
}

func (v value) wrongMerge() { v.wrongType("a mapping, or a list of mappings, for a merge key (<<)") }

// peek returns the node of a field of a mapping, or nil if there is none, without
// looking at anything else. It is for knowing what an object is before it is read.
func (v value) peek(path ...string) *yaml.Node { return v.peekMerged(v.node, path, 0) }

func (v value) peekMerged(node *yaml.Node, path []string, merges int) *yaml.Node {
	if node = followed(node); len(path) == 0 {
		return node
	}
	if node.Kind != yaml.MappingNode || merges > maxMerges || !v.spend(1+len(node.Content)/peekedForOne) {
		return nil
	}
	var merged []*yaml.Node
	for i := 0; i+1 < len(node.Content); i += 2 {
		key, field := followed(node.Content[i]), followed(node.Content[i+1])
		switch {
		case key.ShortTag() == "!!merge" && field.Kind == yaml.SequenceNode:
			merged = append(merged, field.Content...)
		case key.ShortTag() == "!!merge":
			merged = append(merged, field)
		case key.Value == path[0]:
			return v.peekMerged(field, path[1:], 0)
		}
	}
	for _, from := range merged {
		if found := v.peekMerged(from, path, merges+1); found != nil || v.p.spent {
			return found
		}
	}
	return nil
}

// peekedForOne is how many nodes cost as much to peek at as one to look at.
const peekedForOne = 16

// peekText returns the text of a field as it is written, or "" if there is none.
func (v value) peekText(path ...string) string {
	found := v.peek(path...)
	if found == nil || found.Kind != yaml.ScalarNode || isNull(found) {
		return ""
	}
	return found.Value
}

// fields calls, for every field of a mapping, what is known under its name. A
// name that is not known is an error.
func (v value) fields(known map[string]func(value)) {
	v.entries(func(name string, field value) {
		if read, ok := known[name]; ok {
			read(field)
			return
		}
		field.unknown(name, known)
	})
}

// unknown says that a field of a mapping is not known, and which may be meant.
func (v value) unknown(name string, known map[string]func(value)) {
	var meant []string
	for candidate := range known {
		if alike(name, candidate) {
			meant = append(meant, candidate)
		}
	}
	const few = 8
	switch slices.Sort(meant); {
	case meant != nil:
		v.fail("unknown field; did you mean %s?", strings.Join(meant, " or "))
	case len(known) <= few:
		v.fail("unknown field: want one of %s", strings.Join(slices.Sorted(maps.Keys(known)), ", "))
	default:
		v.fail("unknown field")
	}
}

// alike reports whether one of two names may be meant where the other is written: they
// differ in capitals, or by one letter, or one begins with the other.
func alike(a, b string) bool {
	a, b = strings.ToLower(a), strings.ToLower(b)
	if len(a) > len(b) {
		a, b = b, a
	}
	const enough = 4 // letters to begin with
	if len(a) >= enough && strings.HasPrefix(b, a) {
		return true
	}
	i := 0
	for i < len(a) && a[i] == b[i] {
		i++
	}
	switch len(b) - len(a) {
	case 0:
		return i == len(a) || a[i+1:] == b[i+1:] || i+1 < len(a) && a[i] == b[i+1] && a[i+1] == b[i] && a[i+2:] == b[i+2:]
	case 1:
		return a[i:] == b[i+1:]
	default:
		return false
	}
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
		case v.p.stopped():
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

// texts calls each for every text of a list.
func (v value) texts(each func(text string, item value)) {
	v.items(func(item value) {
		if text, ok := item.text(); ok {
			each(text, item)
		}
	})
}

// distinct is texts for a list in which none may be given twice.
func (v value) distinct(each func(text string, item value)) {
	seen := make(map[string]bool)
	v.texts(func(text string, item value) {
		if seen[text] {
			item.fail("%s is given twice", quote(text))
			return
		}
		seen[text] = true
		each(text, item)
	})
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
		return 0
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

// join returns the path of a field.
func join(path, field string) string {
	if path == "" {
		return field
	}
	return path + "." + field
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

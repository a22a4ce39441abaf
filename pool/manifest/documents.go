package manifest

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"
	"regexp"
	"strconv"
	"unicode/utf16"

	"go.yaml.in/yaml/v3"
)

const bom = "\uFEFF" // a byte order mark

// documents reads every document of a file.
func (p *parser) documents(text []byte) {
	text, err := toUTF8(text)
	if err != nil {
		p.report(&Error{File: p.file, Err: err})
		p.incomplete = true
		return
	}
	for c := range chunks(text) {
		if p.stopped() {
			return
		}
		p.lines = c.before
		switch {
		case c.astray:
			p.next()
			p.unreadable(c.lateBOM, errors.New("a byte order mark in the middle of a document: want --- in a line of its own before it"))
		case c.empty():
			p.next()
		case c.content == jsonText:
			p.readJSON(c)
		default:
			p.readYAML(c)
		}
	}
}

// next counts a document, and reports whether it is one too many.
func (p *parser) next() bool {
	p.document++
	if p.document > MaxDocuments {
		p.report(&Error{File: p.file, Err: fmt.Errorf("more than %d documents", MaxDocuments)})
		p.incomplete, p.spent = true, true
		return false
	}
	return !p.stopped()
}

// unreadable adds what is wrong with the syntax of a document. The line is counted from
// the beginning of the chunk.
func (p *parser) unreadable(line int, err error) {
	p.incomplete = true
	p.report(&Error{File: p.file, Document: p.document, Line: p.lines + line, Err: err})
}

// readYAML reads the documents of a chunk: more than one if they are separated by "..."
// alone.
func (p *parser) readYAML(c chunk) {
	decoder := yaml.NewDecoder(bytes.NewReader(c.text))
	for {
		var root yaml.Node
		err := decoder.Decode(&root)
		if errors.Is(err, io.EOF) || !p.next() {
			return
		}
		if err != nil {
			line, err := syntaxError(err)
			if bytes.Contains(c.text, []byte("{{")) {
				err = fmt.Errorf("%w; it seems to be a template: render it first", err)
			}
			p.unreadable(line, err)
			return
		}
		p.read(&root)
	}
}

// readJSON reads the documents of a chunk that begins as JSON does: one after the other,
// with nothing but blanks between them. What is no JSON may be YAML, which has braces
// too.
func (p *parser) readJSON(c chunk) {
	text := c.body()
	values, line, err := readJSON(text)
	if err != nil && !looksLikeJSON(text) {
		p.readYAML(c)
		return
	}
	p.lines = c.before + bytes.Count(c.text[:len(c.text)-len(text)], []byte("\n"))
	for _, v := range values {
		if !p.next() {
			return
		}
		p.read(&yaml.Node{Kind: yaml.DocumentNode, Content: []*yaml.Node{v}})
	}
	if err != nil && p.next() {
		p.unreadable(line, fmt.Errorf("not JSON: %w", err))
	}
}

// yamlError is how the YAML package writes the line into its errors.
var yamlError = regexp.MustCompile(`^yaml: (?:line (\d+): )?`)

// syntaxError takes the line out of an error of the YAML package, which leaves it out
// for the first one.
func syntaxError(err error) (line int, _ error) {
	line = 1
	text := err.Error()
	if m := yamlError.FindStringSubmatch(text); m != nil {
		if n, err := strconv.Atoi(m[1]); err == nil {
			line = n
		}
		text = text[len(m[0]):]
	}
	return line, fmt.Errorf("not YAML: %s", text)
}

// toUTF8 returns text in UTF-8. What begins with a byte order mark of UTF-16 is
// UTF-16, as PowerShell writes it.
func toUTF8(text []byte) ([]byte, error) {
	var order binary.ByteOrder
	switch {
	case bytes.HasPrefix(text, []byte{0xFF, 0xFE}):
		order = binary.LittleEndian
	case bytes.HasPrefix(text, []byte{0xFE, 0xFF}):
		order = binary.BigEndian
	default:
		return text, nil
	}
	if len(text)%2 != 0 {
		return nil, errors.New("begins as UTF-16 does, and has an odd number of bytes")
	}
	units := make([]uint16, len(text)/2)
	for i := range units {
		units[i] = order.Uint16(text[2*i:])
	}
	return []byte(string(utf16.Decode(units))), nil
}

// chunk is what is between two lines of "---".
type chunk struct {
	// text is the lines, the "---" before them included, without the byte order
	// mark that a document may begin with.
	text []byte
	// before is how many lines of the file come before it, and lines how many it has.
	before, lines int
	// separated says that it begins with "---".
	separated bool
	content   content
	// lateBOM is the line of the chunk, counted from 1, with a byte order mark that
	// does not stand at the beginning. If zero, there is none. It is astray if the
	// document goes on after it.
	lateBOM int
	astray  bool
}

// content is what a chunk is known to have.
type content uint8

const (
	blank content = iota
	comments
	directives // which belong to the document after them
	yamlText
	jsonText
)

// chunks splits a file at its lines of "---". No document is in two chunks. What comes
// before the first such line and says nothing is no document.
func chunks(text []byte) iter.Seq[chunk] {
	return func(yield func(chunk) bool) {
		var c chunk
		for line := range bytes.Lines(text) {
			line, hadBOM := bytes.CutPrefix(line, []byte(bom))
			if c.endsAt(line, hadBOM) {
				if c.isDocument() && !yield(c) {
					return
				}
				c = chunk{before: c.before + c.lines}
			}
			c.add(line, hadBOM)
		}
		if c.isDocument() {
			yield(c)
		}
	}
}

// endsAt reports whether a line, which may have had a byte order mark, begins another
// chunk.
func (c *chunk) endsAt(line []byte, hadBOM bool) bool {
	_, separator := cutSeparator(line)
	joined := hadBOM && c.content == jsonText && bytes.HasPrefix(bytes.TrimLeft(line, " \t"), []byte("{"))
	return separator && c.content != directives || joined
}

func (c *chunk) isDocument() bool { return c.separated || c.content >= directives }

// empty reports whether the document says nothing.
func (c *chunk) empty() bool { return c.content < directives }

// add adds a line, which may have had a byte order mark.
func (c *chunk) add(line []byte, hadBOM bool) {
	c.text = append(c.text, line...)
	c.lines++
	if hadBOM && c.content >= yamlText && c.lateBOM == 0 {
		c.lateBOM = c.lines
	}
	if rest, separator := cutSeparator(line); separator {
		c.separated = true
		line = rest
	}
	switch line = bytes.TrimSpace(line); {
	case len(line) == 0:
	case c.content >= yamlText:
		c.astray = c.astray || c.lateBOM > 0 && line[0] != '#'
	case line[0] == '#':
		c.content = max(c.content, comments)
	case line[0] == '%' && !c.separated:
		c.content = directives
	case line[0] == '{' && c.content == blank:
		c.content = jsonText
	default:
		c.content = yamlText
	}
}

// cutSeparator returns what follows "---" in a line that separates documents.
func cutSeparator(line []byte) (rest []byte, ok bool) {
	rest, ok = bytes.CutPrefix(line, []byte("---"))
	ok = ok && (len(rest) == 0 || bytes.ContainsRune([]byte(" \t\r\n"), rune(rest[0])))
	return rest, ok
}

// body returns the text without a "---" that stands alone, and blanks.
func (c chunk) body() []byte {
	text := c.text
	if rest, ok := cutSeparator(text); ok {
		text = rest
	}
	return bytes.TrimLeft(text, " \t\r\n")
}

// looksLikeJSON reports whether text, which begins with a brace, goes on as only JSON is
// usually written.
func looksLikeJSON(text []byte) bool {
	inside := bytes.TrimLeft(text[1:], " \t\r\n")
	return len(inside) > 0 && (inside[0] == '"' || inside[0] == '}')
}

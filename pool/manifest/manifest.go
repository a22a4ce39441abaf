package manifest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/l2vip/l2vip/pool"
)

const (
	// MaxSize is the most bytes that [Parse] reads.
	MaxSize = 1 << 20
	// MaxNodes is the most YAML values that [Parse] looks at, where a value
	// counts each time that an alias refers to it.
	MaxNodes = 1 << 18
)

// Manifest is what the documents of a manifest say.
type Manifest struct {
	// Pools are the IPAddressPools, in their order.
	Pools []pool.Pool
	// Advertisements are the L2Advertisements, in their order.
	Advertisements []pool.Advertisement
	// Ignored are the parts that MetalLB knows and that mean nothing here. A
	// program should tell its user about them.
	Ignored []Ignored
}

// Ignored is a document, or a field of one, that means nothing here.
type Ignored struct {
	// Document counts the documents of the manifest from 1, empty ones too.
	Document int
	// Line counts the lines of the manifest from 1.
	Line int
	// Kind is that of the document, such as BGPPeer.
	Kind string
	// Name is that of the document's metadata. It is empty if there is none.
	Name string
	// Field is the path of the field, such as "spec.serviceAllocation". If
	// empty, all of the document is ignored.
	Field string
}

// String returns a sentence for the user.
func (i Ignored) String() string {
	what := i.Kind
	if i.Name != "" {
		what += fmt.Sprintf(" %q", i.Name)
	}
	if i.Field != "" {
		what = i.Field + " of " + what
	}
	return fmt.Sprintf("document %d, line %d: %s has no meaning here and is ignored", i.Document, i.Line, what)
}

// Error is one thing that is wrong with a manifest.
type Error struct {
	// Document counts the documents of the manifest from 1, empty ones too. It
	// is 0 if the error is about the manifest as a whole.
	Document int
	// Line counts the lines of the manifest from 1. It is 0 if the error is
	// about the manifest as a whole.
	Line int
	// Path is that of the field, such as "spec.addresses[0]". It is empty if
	// the error is about the document as a whole.
	Path string
	// Err says what is wrong.
	Err error
}

// Error returns the place and what is wrong there.
func (e *Error) Error() string {
	var b strings.Builder
	if e.Document != 0 {
		fmt.Fprintf(&b, "document %d, line %d: ", e.Document, e.Line)
	}
	if e.Path != "" {
		b.WriteString(e.Path + ": ")
	}
	b.WriteString(e.Err.Error())
	return b.String()
}

// Unwrap returns what is wrong, without the place.
func (e *Error) Unwrap() error { return e.Err }

// Parse reads a manifest of any number of documents, in UTF-8 or UTF-16. It
// reads up to [MaxSize] bytes and looks at up to [MaxNodes] values; what has more
// is an error.
//
// The error is everything that is wrong, joined, each finding as an [*Error]. In
// a document whose YAML cannot be read, that is one finding, and what follows it
// is not looked at. With an error the Manifest is empty. An error of r is
// returned as it is, wrapped.
func Parse(r io.Reader) (Manifest, error) {
	text, err := io.ReadAll(io.LimitReader(r, MaxSize+1))
	if err != nil {
		return Manifest{}, fmt.Errorf("reading the manifest: %w", err)
	}
	if len(text) > MaxSize {
		return Manifest{}, &Error{Err: fmt.Errorf("the manifest is larger than %d bytes", MaxSize)}
	}
	p := parser{budget: MaxNodes}
	documents := yaml.NewDecoder(bytes.NewReader(text))
	for p.document = 1; !p.spent; p.document++ {
		var root yaml.Node
		err := documents.Decode(&root)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			p.unreadable(err)
			break
		}
		p.read(&root)
	}
	if err := errors.Join(p.errs...); err != nil {
		return Manifest{}, err
	}
	return p.manifest, nil
}

// syntaxError is how the YAML package writes the line into its errors.
var syntaxError = regexp.MustCompile(`^yaml: (?:line (\d+): )?`)

// unreadable adds an error of the YAML package. That leaves the line out for the
// first one.
func (p *parser) unreadable(err error) {
	line := 1
	text := err.Error()
	if m := syntaxError.FindStringSubmatch(text); m != nil {
		if n, err := strconv.Atoi(m[1]); err == nil {
			line = n
		}
		text = text[len(m[0]):]
	}
	p.errs = append(p.errs, &Error{Document: p.document, Line: line, Err: fmt.Errorf("not YAML: %s", text)})
}

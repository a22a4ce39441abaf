package manifest

import (
	"fmt"
	"io"
	"strings"

	"github.com/l2vip/l2vip/pool"
)

// What is read at most. What has more is an error.
const (
	// MaxSize is the most bytes of one file.
	MaxSize = 1 << 20
	// MaxDocuments is the most documents in one file.
	MaxDocuments = 10_000
	// MaxNodes is the most YAML values that are looked at in one file, where a
	// value counts each time that an alias or a merge key refers to it.
	MaxNodes = 1 << 18
	// MaxDepth is how deep values may be nested in one another.
	MaxDepth = 10_000
	// MaxErrors is the most errors that are listed.
	MaxErrors = 1_000
)

// Manifest is what the documents of a manifest say.
type Manifest struct {
	// Pools are the IPAddressPools, in their order.
	Pools []pool.Pool
	// Advertisements are the L2Advertisements, in their order.
	Advertisements []pool.Advertisement
	// Ignored are the objects and fields that mean nothing here, in their order.
	// None of them restricts what is read. A program should tell its user about
	// them.
	Ignored []Ignored
}

// Position is where something stands.
type Position struct {
	// File is the name of the file. It is empty for what [Parse] reads.
	File string
	// Document counts the documents of the file from 1, empty ones too. It is 0
	// if the position is the file as a whole.
	Document int
	// Line counts the lines of the file from 1. It is 0 if the position is the file
	// as a whole.
	Line int
}

// String returns the position in words: "pools.yaml, document 1, line 7". It is empty
// for the whole of what [Parse] reads.
func (p Position) String() string {
	var parts []string
	if p.File != "" {
		parts = append(parts, p.File)
	}
	if p.Document != 0 {
		parts = append(parts, fmt.Sprintf("document %d, line %d", p.Document, p.Line))
	}
	return strings.Join(parts, ", ")
}

// Ignored is an object, or a field of one, that means nothing here.
type Ignored struct {
	// File is the name of the file. It is empty for what [Parse] reads.
	File string
	// Document counts the documents of the file from 1, empty ones too.
	Document int
	// Line counts the lines of the file from 1.
	Line int
	// Kind is that of the object, such as BGPPeer.
	Kind string
	// Namespace is that of the object's metadata. It is empty if there is none.
	Namespace string
	// Name is that of the object's metadata. It is empty if there is none.
	Name string
	// Field is the path of the field in the object, such as "status". If empty,
	// all of the object is ignored.
	Field string
}

// String returns a sentence for the user.
func (i Ignored) String() string {
	what := object{kind: i.Kind, namespace: i.Namespace, name: i.Name}.String()
	if i.Field != "" {
		what = i.Field + " of " + what
	}
	return fmt.Sprintf("%v: %s has no meaning here and is ignored", Position{i.File, i.Document, i.Line}, what)
}

// Error is one thing that is wrong with a manifest.
type Error struct {
	// File is the name of the file. It is empty for what [Parse] reads.
	File string
	// Document counts the documents of the file from 1, empty ones too. It is 0
	// if the error is about the file as a whole.
	Document int
	// Line counts the lines of the file from 1. It is 0 if the error is about
	// the file as a whole.
	Line int
	// Path is that of the field in its document, such as "spec.addresses[0]". It
	// is empty if the error is about the document as a whole.
	Path string
	// Other is the position of another part of the manifest that does not go together
	// with this one. It is zero if the error is about one position only.
	Other Position
	// Err says what is wrong.
	Err error
}

// Error returns the position and what is wrong there.
func (e *Error) Error() string {
	var b strings.Builder
	if position := (Position{e.File, e.Document, e.Line}).String(); position != "" {
		b.WriteString(position + ": ")
	}
	if e.Path != "" {
		b.WriteString(e.Path + ": ")
	}
	b.WriteString(e.Err.Error())
	return b.String()
}

// Unwrap returns what is wrong, without the position.
func (e *Error) Unwrap() error { return e.Err }

// Parse reads a manifest of any number of documents, in UTF-8 or UTF-16; see
// [ParseFiles] for one in several files.
//
// The error is everything that is wrong, joined, each finding as an [*Error]. In
// a document whose YAML or JSON cannot be read, that is one finding. With an error
// the Manifest is empty. An error of r is returned as it is, wrapped.
func Parse(r io.Reader) (Manifest, error) {
	p := newParser()
	if err := p.readAll(r, ""); err != nil {
		return Manifest{}, fmt.Errorf("reading the manifest: %w", err)
	}
	return p.result()
}

// readAll reads a file. The error is one of r.
func (p *parser) readAll(r io.Reader, file string) error {
	text, err := io.ReadAll(io.LimitReader(r, MaxSize+1))
	if err != nil {
		return err
	}
	p.begin(file)
	if len(text) > MaxSize {
		p.report(&Error{File: file, Err: fmt.Errorf("the manifest is larger than %d bytes", MaxSize)})
		p.incomplete = true
		return nil
	}
	p.documents(text)
	return nil
}

package manifest

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/l2vip/l2vip/pool"
)

// parser collects what the documents say and what is wrong with them.
type parser struct {
	manifest Manifest
	errs     []error

	// Of the file:
	file   string
	budget int  // how many values it may still look at
	spent  bool // it wanted to look at more, and has said so

	// Of the document:
	document int // its number
	lines    int // how many lines there are before the text that the lines of nodes count

	object object // that is being read

	objects []positioned // the pools and advertisements, to find those of one name
	// positions are those of what package pool finds things wrong with, by its paths.
	positions map[string]fieldPosition
	// incomplete says that there may be pools that could not be read.
	incomplete bool
	full       bool // there are MaxErrors errors
}

// object is what identifies an object.
type object struct {
	kind, namespace, name string
	path                  string // where it is in its document; empty if it is the document
}

// String returns the object in words.
func (o object) String() string {
	text := o.kind
	if o.name != "" {
		text += fmt.Sprintf(" %q", o.name)
	}
	if o.namespace != "" {
		text += fmt.Sprintf(" in namespace %q", o.namespace)
	}
	return text
}

// positioned is an object and where it is.
type positioned struct {
	object
	fieldPosition
}

// fieldPosition is where a field is.
type fieldPosition struct {
	Position
	path string
}

func newParser() *parser { return &parser{positions: make(map[string]fieldPosition)} }

// begin begins a file.
func (p *parser) begin(file string) {
	p.file, p.budget, p.spent, p.document, p.lines = file, MaxNodes, false, 0, 0
}

// stopped reports whether nothing more is to be looked at.
func (p *parser) stopped() bool { return p.spent || p.full }

// report adds an error, unless there are enough.
func (p *parser) report(err error) {
	switch {
	case p.full:
	case len(p.errs) < MaxErrors:
		p.errs = append(p.errs, err)
	default:
		p.full = true
		p.errs = append(p.errs, fmt.Errorf("there are more than %d errors: the rest is not listed", MaxErrors))
	}
}

// result returns what was read, or all that is wrong with it.
func (p *parser) result() (Manifest, error) {
	p.checkNames()
	p.checkOverlaps()
	p.checkAdvertisements()
	if err := errors.Join(p.errs...); err != nil {
		return Manifest{}, err
	}
	return p.manifest, nil
}

// checkNames finds objects of one kind with one name, and those that are in another
// namespace than the first.
func (p *parser) checkNames() {
	first := make(map[object]positioned)
	var home *positioned // the first object with a namespace
	for _, o := range p.objects {
		if o.namespace != "" {
			switch {
			case home == nil:
				home = &o
			case home.namespace != o.namespace:
				p.pair(o.fieldPosition, home.fieldPosition, "%v is in another namespace than %v in %v: MetalLB reads the objects of one namespace only", o.object, home.object, home.Position)
				continue
			}
		}
		key := object{kind: o.kind, name: o.name}
		if other, twice := first[key]; twice {
			p.pair(o.fieldPosition, other.fieldPosition, "%s %q is defined twice, first in %v", o.kind, o.name, other.Position)
			continue
		}
		first[key] = o
	}
}

// pair adds what is wrong with a field and another that it does not go together with.
func (p *parser) pair(at, other fieldPosition, format string, args ...any) {
	p.report(&Error{
		File: at.File, Document: at.Document, Line: at.Line, Path: at.path, Other: other.Position,
		Err: fmt.Errorf(format, args...),
	})
}

// checkOverlaps finds ranges that overlap, of one pool or of two.
func (p *parser) checkOverlaps() {
	for _, finding := range findings(pool.ValidatePools(p.manifest.Pools)) {
		at, known := p.positions["Pools"+finding.Path]
		other, pair := p.positions["Pools"+finding.Other]
		if known && pair {
			p.pair(at, other, "%w, in %v", finding.Err, other.Position)
		}
	}
}

// checkAdvertisements finds advertisements of pools that there are not.
func (p *parser) checkAdvertisements() {
	if p.incomplete {
		return
	}
	correct := len(p.errs) == 0
	labels := p.poolLabels()
	for _, finding := range findings(pool.ValidateAdvertisements(p.manifest.Advertisements, p.manifest.Pools)) {
		if at, known := p.positions["Advertisements"+finding.Path]; known {
			p.report(&Error{File: at.File, Document: at.Document, Line: at.Line, Path: at.path, Err: fmt.Errorf("%w%s", finding.Err, p.poolNames())})
		}
	}
	for i, ad := range p.manifest.Advertisements {
		if !correct || p.full || len(ad.Pools) > 0 || len(ad.PoolSelectors) == 0 {
			continue
		}
		ad.ServiceSelectors = nil
		selects := slices.ContainsFunc(labels, func(l map[string]string) bool { return ad.SelectsPool(pool.Pool{Labels: l}) })
		if at, known := p.positions[fmt.Sprintf("Advertisements[%d].PoolSelectors", i)]; known && !selects {
			p.report(&Error{
				File: at.File, Document: at.Document, Line: at.Line, Path: at.path,
				Err: fmt.Errorf("advertisement %q selects no pool: want labels that an IPAddressPool has", ad.Name),
			})
		}
	}
}

// poolLabels returns the labels that pools have, those that several have once.
func (p *parser) poolLabels() (all []map[string]string) {
	seen := make(map[string]bool)
	for _, known := range p.manifest.Pools {
		if key := fmt.Sprintf("%q", known.Labels); !seen[key] {
			seen[key] = true
			all = append(all, known.Labels)
		}
	}
	return all
}

// poolNames says which pools there are, for a sentence about one that there is not.
func (p *parser) poolNames() string {
	const enough = 10
	var names []string
	for i, known := range p.manifest.Pools {
		if i == enough {
			names = append(names, "…")
			break
		}
		if name := quote(known.Name); !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	if names == nil {
		return ": there is no IPAddressPool; ParseFiles reads several files as one"
	}
	return ": want one of " + strings.Join(names, ", ")
}

// findings returns the findings that a validation of package pool joins.
func findings(err error) (all []*pool.ConfigError) {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return nil
	}
	for _, e := range joined.Unwrap() {
		if finding, ok := e.(*pool.ConfigError); ok {
			all = append(all, finding)
		}
	}
	return all
}

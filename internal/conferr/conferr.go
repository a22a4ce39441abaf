// Package conferr collects everything that is wrong with a configuration,
// each finding with the path of the field it is about.
//
// The packages of l2vip export [Error] under the name ConfigError, so that one
// errors.As finds the findings of all of them.
package conferr

import (
	"errors"
	"fmt"
	"strings"
)

// Error is one thing that is wrong with a configuration.
type Error struct {
	// Path names the field, as a Go programmer would write it below the
	// configuration: "Pools[1].Ranges[0]".
	Path string
	// Other names another field of the same configuration that does not go
	// together with this one. If empty, the finding is about one field.
	Other string
	// Err says what is wrong with it.
	Err error
}

// Error returns the path and what is wrong there.
func (e *Error) Error() string {
	if e.Path == "" {
		return e.Err.Error()
	}
	return e.Path + ": " + e.Err.Error()
}

// Unwrap returns what is wrong, without its path.
func (e *Error) Unwrap() error { return e.Err }

// List collects findings in the order in which they are added. The zero value
// is an empty list.
type List struct {
	errs []error
}

// Addf adds a finding about the field at path. The format may wrap an error
// with %w.
func (l *List) Addf(path, format string, args ...any) {
	l.errs = append(l.errs, &Error{Path: path, Err: fmt.Errorf(format, args...)})
}

// AddPair adds a finding about the field at path, which does not go together with
// the one at other.
func (l *List) AddPair(path, other, format string, args ...any) {
	l.errs = append(l.errs, &Error{Path: path, Other: other, Err: fmt.Errorf(format, args...)})
}

// Merge adds every finding in err, which may be nil, a single error or errors
// that were joined, and puts prefix before the paths of each.
func (l *List) Merge(prefix string, err error) {
	for _, e := range flatten(err) {
		finding, ok := e.(*Error)
		if !ok {
			finding = &Error{Err: e}
		}
		merged := &Error{Path: Join(prefix, finding.Path), Err: finding.Err}
		if finding.Other != "" {
			merged.Other = Join(prefix, finding.Other)
		}
		l.errs = append(l.errs, merged)
	}
}

// Err returns the findings joined by [errors.Join], or nil if there are none.
func (l *List) Err() error { return errors.Join(l.errs...) }

// Join returns the path of field within prefix. Either may be empty.
func Join(prefix, field string) string {
	if prefix == "" || field == "" || strings.HasPrefix(field, "[") {
		return prefix + field
	}
	return prefix + "." + field
}

// flatten returns the findings that err joins, or err itself.
func flatten(err error) []error {
	if err == nil {
		return nil
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var errs []error
		for _, e := range joined.Unwrap() {
			errs = append(errs, flatten(e)...)
		}
		return errs
	}
	return []error{err}
}

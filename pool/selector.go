package pool

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/l2vip/l2vip/internal/conferr"
	"github.com/l2vip/l2vip/internal/dnsname"
)

// Selector is a label selector with the semantics of Kubernetes: it matches
// labels that meet every one of its requirements. The zero Selector has none
// and matches everything.
type Selector struct {
	// MatchLabels are labels that must be present with the given value. If
	// empty, none is required.
	MatchLabels map[string]string
	// MatchExpressions are further requirements. If empty, there are none.
	MatchExpressions []Requirement
}

// Requirement is what a [Selector] wants of one label.
type Requirement struct {
	// Key names the label. Required.
	Key string
	// Operator relates the label to Values. Required.
	Operator Operator
	// Values must not be empty with In and NotIn, and must be empty with
	// Exists and DoesNotExist.
	Values []string
}

// Operator is how a [Requirement] relates a label to values.
type Operator string

// The operators of Kubernetes' label selectors.
const (
	// In wants the label to be present with one of the values.
	In Operator = "In"
	// NotIn wants the label to be absent, or present with another value.
	NotIn Operator = "NotIn"
	// Exists wants the label to be present.
	Exists Operator = "Exists"
	// DoesNotExist wants the label to be absent.
	DoesNotExist Operator = "DoesNotExist"
)

// Matches reports whether labels, which may be nil, meet every requirement of s.
// A requirement with an unknown operator is never met.
func (s Selector) Matches(labels map[string]string) bool {
	for key, want := range s.MatchLabels {
		if got, ok := labels[key]; !ok || got != want {
			return false
		}
	}
	for _, r := range s.MatchExpressions {
		if !r.matches(labels) {
			return false
		}
	}
	return true
}

func (r Requirement) matches(labels map[string]string) bool {
	value, present := labels[r.Key]
	switch r.Operator {
	case In:
		return present && slices.Contains(r.Values, value)
	case NotIn:
		return !present || !slices.Contains(r.Values, value)
	case Exists:
		return present
	case DoesNotExist:
		return !present
	default:
		return false
	}
}

// Validate returns everything that is wrong with s, joined, each as a
// [*ConfigError]: a key or value that is no label's, an unknown operator, values
// missing or in excess.
func (s Selector) Validate() error {
	var errs conferr.List
	errs.Merge("MatchLabels", ValidateLabels(s.MatchLabels))
	for i, r := range s.MatchExpressions {
		errs.Merge(fmt.Sprintf("MatchExpressions[%d]", i), r.validate())
	}
	return errs.Err()
}

func (r Requirement) validate() error {
	var errs conferr.List
	if err := checkLabelKey(r.Key); err != nil {
		errs.Addf("Key", "%w", err)
	}
	switch r.Operator {
	case In, NotIn:
		if len(r.Values) == 0 {
			errs.Addf("Values", "operator %s needs at least one value", r.Operator)
		}
	case Exists, DoesNotExist:
		if len(r.Values) > 0 {
			errs.Addf("Values", "operator %s takes no values", r.Operator)
		}
	default:
		errs.Addf("Operator", "unknown operator %q: want In, NotIn, Exists or DoesNotExist", r.Operator)
	}
	for i, value := range r.Values {
		if err := checkLabelValue(value); err != nil {
			errs.Addf(fmt.Sprintf("Values[%d]", i), "%w", err)
		}
	}
	return errs.Err()
}

// ValidateLabels returns everything that is wrong with the keys and values of
// labels, joined, each as a [*ConfigError]. The syntax is that of Kubernetes: a
// key is a name, with an optional DNS subdomain of up to 253 characters and a
// slash before it; a name, and a value that is not empty, has up to 63 letters,
// digits, '-', '_' and '.', the first and last a letter or digit.
func ValidateLabels(labels map[string]string) error {
	var errs conferr.List
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		path := fmt.Sprintf("[%q]", key)
		if err := checkLabelKey(key); err != nil {
			errs.Addf(path, "%w", err)
		}
		if err := checkLabelValue(labels[key]); err != nil {
			errs.Addf(path, "%w", err)
		}
	}
	return errs.Err()
}

// maxName is the longest name and value that Kubernetes allows.
const maxName = 63

var (
	errSyntax = errors.New("want letters, digits, '-', '_' and '.', with a letter or digit at both ends")

	labelName = regexp.MustCompile(`^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$`)
)

func checkLabelKey(key string) error {
	prefix, name, prefixed := strings.Cut(key, "/")
	if !prefixed {
		prefix, name = "", key
	}
	switch {
	case prefixed && len(prefix) > dnsname.MaxSubdomain:
		return fmt.Errorf("label key %q: the part before the slash is longer than %d characters", key, dnsname.MaxSubdomain)
	case prefixed && dnsname.Subdomain(prefix) != nil:
		return fmt.Errorf("label key %q: the part before the slash is not a DNS subdomain", key)
	case len(name) > maxName:
		return fmt.Errorf("label key %q: the name is longer than %d characters", key, maxName)
	case !labelName.MatchString(name):
		return fmt.Errorf("label key %q: %w", key, errSyntax)
	}
	return nil
}

func checkLabelValue(value string) error {
	switch {
	case len(value) > maxName:
		return fmt.Errorf("label value %q is longer than %d characters", value, maxName)
	case value != "" && !labelName.MatchString(value):
		return fmt.Errorf("label value %q: %w", value, errSyntax)
	}
	return nil
}

// Package dnsname knows the names that Kubernetes allows: DNS labels and DNS
// subdomains, of RFC 1123.
package dnsname

import (
	"errors"
	"fmt"
	"regexp"
)

// The longest names that there are, in bytes.
const (
	MaxLabel     = 63
	MaxSubdomain = 253
)

var (
	label     = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`)
	subdomain = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`)

	errLabel     = errors.New("is not a DNS label: want small letters, digits and '-', with a letter or digit at both ends")
	errSubdomain = errors.New("is not a DNS subdomain: want small letters, digits, '-' and '.', with a letter or digit at both ends of each part")
)

// Label returns what is wrong with name as a DNS label, which the names of
// namespaces are. The error continues the sentence "name ...".
func Label(name string) error {
	switch {
	case len(name) > MaxLabel:
		return fmt.Errorf("is longer than %d characters", MaxLabel)
	case !label.MatchString(name):
		return errLabel
	}
	return nil
}

// Subdomain returns what is wrong with name as a DNS subdomain, which the names
// of most objects are. The error continues the sentence "name ...".
func Subdomain(name string) error {
	switch {
	case len(name) > MaxSubdomain:
		return fmt.Errorf("is longer than %d characters", MaxSubdomain)
	case !subdomain.MatchString(name):
		return errSubdomain
	}
	return nil
}

package dnsname_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/l2vip/l2vip/internal/dnsname"
)

func TestNames(t *testing.T) {
	for _, tt := range []struct {
		name             string
		label, subdomain bool
	}{
		{"a", true, true},
		{"9", true, true},
		{"a-b", true, true},
		{"a.b", false, true},
		{"a-b.c-d", false, true},
		{strings.Repeat("a", 63), true, true},
		{strings.Repeat("a", 64), false, true},
		{strings.Repeat("a", 253), false, true},
		{strings.Repeat("a", 254), false, false},
		{"", false, false},
		{"A", false, false},
		{"a_b", false, false},
		{"-a", false, false},
		{"a-", false, false},
		{"a..b", false, false},
		{"a.", false, false},
		{"a\n", false, false},
		{"ä", false, false},
	} {
		require.Equal(t, tt.label, dnsname.Label(tt.name) == nil, "label %q", tt.name)
		require.Equal(t, tt.subdomain, dnsname.Subdomain(tt.name) == nil, "subdomain %q", tt.name)
	}
}

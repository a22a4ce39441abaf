package l2vip

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestIntersect(t *testing.T) {
	list := func(names ...string) []string { return names }
	for _, tc := range []struct{ a, b, want []string }{
		{list("eth0"), list("eth0"), list("eth0")},
		{list("eth0"), list("eth1"), nil},
		{list("eth0"), list("eth00"), nil},
		{list("eth*"), list("eth0"), list("eth0")},
		{list("eth*"), list("e*"), list("eth*")},
		{list("eth*"), list("en*"), nil},
		{list("eth*"), list("eth*"), list("eth*")},
		{list("eth*"), list("eth"), list("eth")},
		{list("*"), list("eth*", "lo"), list("eth*", "lo")},
		{list("eth0*"), list("eth0", "eth01", "eth1"), list("eth0", "eth01")},
		{list("eth*", "e*"), list("eth0", "en0"), list("en0", "eth0")},
		{list(), list("eth0"), nil},
	} {
		require.Equal(t, tc.want, intersect(tc.a, tc.b), "%q and %q", tc.a, tc.b)
		require.Equal(t, tc.want, intersect(tc.b, tc.a), "%q and %q", tc.b, tc.a)
	}
}

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

func TestCheckInterface(t *testing.T) {
	for _, name := range []string{"eth0", "e", "*", "eth*", "123456789012345", "123456789012345*", "br-lan.7"} {
		require.NoError(t, checkInterface(name))
	}
	for name, what := range map[string]string{
		"": "needs a name", "e*h": "only be at the end", "**": "only be at the end", "*0": "only be at the end",
		"1234567890123456": "no interface name", "1234567890123456*": "no interface name", "a/b": "no interface name", "a b": "no interface name",
	} {
		require.ErrorContains(t, checkInterface(name), what, "%q", name)
	}
}

package l2vip_test

import (
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const module = "github.com/l2vip/l2vip"

// TestDirections keeps the directions of imports that doc.go draws.
func TestDirections(t *testing.T) {
	// For each package, the packages of the module that it may depend on.
	shared := []string{"/internal/conferr", "/internal/dnsname", "/internal/clock", "/internal/fields", "/internal/neighbor"}
	rules := map[string][]string{
		"":                                    {"/pool", "/election", "/election/segment", "/health", "/announce", "/internal/core", "/internal/asynclog"},
		"/internal/core":                      {"/pool", "/election", "/election/segment", "/health", "/announce"},
		"/internal/asynclog":                  {},
		"/pool":                               {},
		"/pool/manifest":                      {"/pool"},
		"/election":                           {},
		"/election/gossip":                    {"/election", "/internal/asynclog"},
		"/election/segment":                   {"/election"},
		"/health":                             {},
		"/announce":                           {},
		"/internal/clock":                     {},
		"/internal/conferr":                   {},
		"/internal/dnsname":                   {},
		"/internal/fields":                    {},
		"/internal/neighbor":                  {},
		"/internal/testnet":                   {},
		"/internal/testnet/memnet":            {},
		"/internal/testnet/memnet/segmentnet": {"/internal/testnet/memnet", "/election", "/election/segment"},
		"/internal/labprog":                   {"/internal/testnet"},
	}
	for pkg, allowed := range rules {
		for _, dep := range deps(t, "."+pkg) {
			if rest, ours := strings.CutPrefix(dep, module); ours && rest != pkg {
				require.Contains(t, append(allowed, shared...), rest, "%s%s must not depend on it", module, pkg)
			}
		}
	}
}

// The core decides by what it is given, and nothing else.
func TestCoreIsPure(t *testing.T) {
	out, err := exec.Command("go", "list", "-f", `{{join .Imports " "}}`, "./internal/core").Output()
	require.NoError(t, err)
	for _, dep := range strings.Fields(string(out)) {
		require.NotContains(t, []string{"sync", "sync/atomic", "context", "log", "log/slog", "os", module + "/internal/clock"}, dep)
	}
}

// TestLeanPrograms shows what a program does not link if it does not ask for it.
func TestLeanPrograms(t *testing.T) {
	for _, tc := range []struct {
		pkg    string
		absent []string
	}{
		{".", []string{"github.com/hashicorp/", "go.yaml.in/yaml", "github.com/stretchr/"}},
		{"./examples/announce", []string{"github.com/hashicorp/", "go.yaml.in/yaml", module + "/election/gossip"}},
	} {
		for _, dep := range deps(t, tc.pkg) {
			require.False(t, slices.ContainsFunc(tc.absent, func(prefix string) bool { return strings.HasPrefix(dep, prefix) }), "%s links %s", tc.pkg, dep)
		}
	}
}

func deps(t *testing.T, pkg string) []string {
	t.Helper()
	out, err := exec.Command("go", "list", "-deps", pkg).Output()
	require.NoError(t, err, "go list -deps %s", pkg)
	return strings.Fields(string(out))
}

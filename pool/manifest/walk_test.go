package manifest_test

import (
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/l2vip/l2vip/pool"
	"github.com/l2vip/l2vip/pool/manifest"
)

var update = flag.Bool("update", false, "write what is read into testdata")

// verdict is the first line of each golden file: what MetalLB 0.16 makes of the
// manifest, and why it is something else here, where it is.
var verdict = regexp.MustCompile(`^MetalLB 0\.16 (accepts|refuses) it(; here it is (?:read|refused): .+)?\.$`)

// TestFiles reads every manifest of testdata. What is expected of one stands beside it in
// a file of the same name that ends in .golden; testdata/README.md tells more.
func TestFiles(t *testing.T) {
	files := os.DirFS("testdata")
	count := 0
	for _, dir := range []string{"right", "wrong"} {
		entries, err := os.ReadDir(path.Join("testdata", dir))
		require.NoError(t, err)
		for _, e := range entries {
			if path.Ext(e.Name()) == ".golden" {
				continue
			}
			count++
			t.Run(dir+"/"+e.Name(), func(t *testing.T) {
				patterns := []string{path.Join(dir, e.Name())}
				if e.IsDir() {
					patterns = []string{path.Join(dir, e.Name(), "*.yaml"), path.Join(dir, e.Name(), "*.json"), path.Join(dir, e.Name(), "*.yml")}
					patterns = slices.DeleteFunc(patterns, func(p string) bool { _, err := manifest.ParseFS(files, p); return errors.Is(err, os.ErrNotExist) })
				}
				m, err := manifest.ParseFS(files, patterns...)
				require.Equal(t, dir == "right", err == nil, "%v", err)
				golden := path.Join("testdata", dir, e.Name()) + ".golden"
				raw, err2 := os.ReadFile(golden)
				if err2 != nil && !*update {
					t.Fatal(err2)
				}
				first, want, _ := strings.Cut(string(raw), "\n")
				got := strings.ReplaceAll(report(m, err), "testdata/", "")
				if *update {
					require.NoError(t, os.WriteFile(golden, []byte(first+"\n"+got), 0o644))
				} else {
					require.Equal(t, want, got)
				}
				match := verdict.FindStringSubmatch(first)
				require.NotNil(t, match, "the first line of %s is %q", golden, first)
				same := (match[1] == "accepts") == (dir == "right")
				require.Equal(t, same, match[2] == "", "a reason is given where it differs from MetalLB, and only there")
			})
		}
	}
	require.Greater(t, count, 60)
}

// report writes down what Parse returns.
func report(m manifest.Manifest, err error) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	list := func(what string, length int, item func(i int) string) {
		for i := range length {
			line("  %s %s", what, item(i))
		}
	}
	if err != nil {
		b.WriteString("\nerrors:\n")
		for text := range strings.SplitSeq(err.Error(), "\n") {
			line("  %s", text)
		}
		return b.String()
	}
	selectors := func(what string, all []pool.Selector) {
		list(what, len(all), func(i int) string { return selector(all[i]) })
	}
	names := func(what string, all []string) {
		list(what, len(all), func(i int) string { return fmt.Sprintf("%q", all[i]) })
	}
	for _, p := range m.Pools {
		line("\npool %q", p.Name)
		for _, key := range slices.Sorted(maps.Keys(p.Labels)) {
			line("  label %q: %q", key, p.Labels[key])
		}
		list("range", len(p.Ranges), func(i int) string { return p.Ranges[i].String() })
		if p.NoAutoAssign {
			line("  no auto assign")
		}
		if p.AvoidBuggyIPs {
			line("  avoid buggy IPs")
		}
		if p.Priority != 0 {
			line("  priority %d", p.Priority)
		}
		names("for services in namespace", p.Namespaces)
		selectors("for services with", p.ServiceSelectors)
	}
	for _, a := range m.Advertisements {
		line("\nadvertisement %q", a.Name)
		names("of pool", a.Pools)
		selectors("of pools with", a.PoolSelectors)
		selectors("from nodes with", a.NodeSelectors)
		selectors("for services with", a.ServiceSelectors)
		names("on interface", a.Interfaces)
		list("prefers", len(a.Preferred), func(i int) string {
			return fmt.Sprintf("%d: nodes with %s", a.Preferred[i].Weight, selector(a.Preferred[i].Nodes))
		})
	}
	if len(m.Ignored) > 0 {
		b.WriteString("\nignored:\n")
	}
	for _, i := range m.Ignored {
		line("  %v", i)
	}
	if b.Len() == 0 {
		b.WriteString("\nnothing\n")
	}
	return b.String()
}

func selector(s pool.Selector) string {
	var all []string
	for _, key := range slices.Sorted(maps.Keys(s.MatchLabels)) {
		all = append(all, fmt.Sprintf("%s=%q", key, s.MatchLabels[key]))
	}
	for _, r := range s.MatchExpressions {
		all = append(all, strings.TrimSpace(fmt.Sprintf("%s %s %s", r.Key, r.Operator, strings.Join(r.Values, ","))))
	}
	if all == nil {
		return "anything"
	}
	return strings.Join(all, ", ")
}

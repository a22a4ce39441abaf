package manifest_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"

	"github.com/l2vip/l2vip/pool"
	"github.com/l2vip/l2vip/pool/manifest"
)

func parse(t *testing.T, text string) manifest.Manifest {
	t.Helper()
	m, err := manifest.Parse(strings.NewReader(text))
	require.NoError(t, err)
	return m
}

func addressPool(spec string) string {
	return "apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata:\n  name: mypool\nspec:\n" + spec
}

func advertisement(spec string) string {
	return "apiVersion: metallb.io/v1beta1\nkind: L2Advertisement\nmetadata:\n  name: myad\nspec:\n" + spec
}

func TestScenario(t *testing.T) {
	file, err := os.Open("testdata/scenario.yaml")
	require.NoError(t, err)
	defer file.Close()
	m, err := manifest.Parse(file)
	require.NoError(t, err)
	require.Equal(t, manifest.Manifest{
		Pools: []pool.Pool{{Name: "mypool", Ranges: []pool.Range{pool.MustParseRange("192.168.122.100/24")}}},
		Advertisements: []pool.Advertisement{{
			Name:          "l2-advert",
			Pools:         []string{"mypool"},
			NodeSelectors: []pool.Selector{{MatchLabels: map[string]string{"node-role": "front"}}},
		}},
	}, m)

	require.NoError(t, pool.ValidateAdvertisements(m.Advertisements, m.Pools))
	a, err := pool.Allocate(m.Pools, []pool.Request{{Service: "nginx", Pool: "mypool"}})
	require.NoError(t, err)
	require.Equal(t, "192.168.122.100", a.Addresses("nginx")[0].String())
}

func TestEveryFieldOfBothKinds(t *testing.T) {
	file, err := os.Open("testdata/full.yaml")
	require.NoError(t, err)
	defer file.Close()
	m, err := manifest.Parse(file)
	require.NoError(t, err)
	require.Equal(t, manifest.Manifest{
		Pools: []pool.Pool{{
			Name:   "kept",
			Labels: map[string]string{"example.com/zone": "a", "empty": ""},
			Ranges: []pool.Range{
				pool.MustParseRange("10.0.0.0/28"),
				pool.MustParseRange("10.0.1.1-10.0.1.9"),
				pool.MustParseRange("2001:db8::/64"),
			},
			NoAutoAssign:  true,
			AvoidBuggyIPs: true,
		}},
		Advertisements: []pool.Advertisement{{
			Name:          "prefers-a",
			Pools:         []string{"kept", "elsewhere"},
			PoolSelectors: []pool.Selector{{MatchLabels: map[string]string{"zone": "a"}}},
			NodeSelectors: []pool.Selector{
				{MatchExpressions: []pool.Requirement{
					{Key: "node-role", Operator: pool.In, Values: []string{"front", "edge"}},
					{Key: "retired", Operator: pool.DoesNotExist},
				}},
				{},
			},
			Interfaces: []string{"eth0", "eth1"},
			Preferred: []pool.Preference{
				{Weight: 100, Nodes: pool.Selector{MatchLabels: map[string]string{"zone": "a"}}},
				{Weight: 1, Nodes: pool.Selector{MatchExpressions: []pool.Requirement{{Key: "gpu", Operator: pool.Exists}}}},
			},
		}, {
			Name: "everything",
		}},
		Ignored: []manifest.Ignored{
			{Document: 1, Line: 9, Kind: "IPAddressPool", Name: "kept", Field: "metadata.annotations"},
			{Document: 1, Line: 20, Kind: "IPAddressPool", Name: "kept", Field: "spec.serviceAllocation"},
			{Document: 1, Line: 22, Kind: "IPAddressPool", Name: "kept", Field: "status"},
			{Document: 2, Line: 25, Kind: "BGPPeer", Name: "router"},
			{Document: 4, Line: 61, Kind: "L2Advertisement", Name: "prefers-a", Field: "spec.serviceSelectors"},
		},
	}, m)
	require.Equal(t, `document 1, line 20: spec.serviceAllocation of IPAddressPool "kept" has no meaning here and is ignored`, m.Ignored[1].String())
	require.Equal(t, `document 2, line 25: BGPPeer "router" has no meaning here and is ignored`, m.Ignored[3].String())
}

func TestKindsWithoutMeaning(t *testing.T) {
	for _, tt := range []struct{ kind, version string }{
		{"BGPPeer", "v1beta2"},
		{"BGPPeer", "v1beta1"},
		{"BGPAdvertisement", "v1beta1"},
		{"BFDProfile", "v1beta1"},
		{"Community", "v1beta1"},
		{"ConfigurationState", "v1beta1"},
		{"ServiceL2Status", "v1beta1"},
		{"ServiceBGPStatus", "v1beta1"},
	} {
		m := parse(t, fmt.Sprintf("kind: %s\napiVersion: metallb.io/%s\nspec: {whatever: [1]}\n", tt.kind, tt.version))
		require.Equal(t, manifest.Manifest{Ignored: []manifest.Ignored{{Document: 1, Line: 1, Kind: tt.kind}}}, m)
	}
}

func TestWhatIsWrong(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"unknown kind", "apiVersion: v1\nkind: Secret\n", `document 1, line 1: unknown kind "Secret" of apiVersion "v1"`},
		{"kind of another group", "apiVersion: example.com/v1\nkind: BGPPeer\n", `document 1, line 1: unknown kind "BGPPeer" of apiVersion "example.com/v1"`},
		{"unknown version", "apiVersion: metallb.io/v1\nkind: IPAddressPool\n", `document 1, line 1: IPAddressPool has apiVersion "metallb.io/v1", want "metallb.io/v1beta1"`},
		{"long text", "kind: " + strings.Repeat("x", 1000) + "\n", `document 1, line 1: unknown kind "` + strings.Repeat("x", 60) + `"… of apiVersion ""`},
		{"no kind", "metadata: {}\n", `document 1, line 1: has no kind`},
		{"null kind", "kind:\n", `document 1, line 1: has no kind`},
		{"not a mapping", "- a\n", `document 1, line 1: want a mapping, not a list`},
		{"no name", "apiVersion: metallb.io/v1beta1\nkind: L2Advertisement\n", `document 1, line 1: metadata.name is required`},
		{"null name", "apiVersion: metallb.io/v1beta1\nkind: L2Advertisement\nmetadata: {name: ~}\n", `document 1, line 1: metadata.name is required`},
		{"name is a boolean to Kubernetes", "apiVersion: metallb.io/v1beta1\nkind: L2Advertisement\nmetadata:\n  name: no\n", `document 1, line 4: metadata.name: want text, not the boolean "no"; put it in quotes`},
		{"name is a boolean", "apiVersion: metallb.io/v1beta1\nkind: L2Advertisement\nmetadata:\n  name: true\n", `document 1, line 4: metadata.name: want text, not the boolean "true"; put it in quotes`},
		{"name is a number", "apiVersion: metallb.io/v1beta1\nkind: L2Advertisement\nmetadata:\n  name: 1.5\n", `document 1, line 4: metadata.name: want text, not the number "1.5"; put it in quotes`},
		{"name is a list", "apiVersion: metallb.io/v1beta1\nkind: L2Advertisement\nmetadata:\n  name: [a]\n", `document 1, line 4: metadata.name: want text, not a list`},
		{"empty name", "apiVersion: metallb.io/v1beta1\nkind: L2Advertisement\nmetadata: {name: \"\"}\n", `document 1, line 3: metadata.name: is empty`},
		{"unknown metadata", "apiVersion: metallb.io/v1beta1\nkind: L2Advertisement\nmetadata:\n  name: a\n  label: {}\n", `document 1, line 5: metadata.label: unknown field`},
		{"unknown top field", advertisement("  interfaces: [eth0]\nspce: {}\n"), `document 1, line 7: spce: unknown field`},
		{"unknown field", addressPool("  addresses: [10.0.0.1]\n  autoassign: false\n"), `document 1, line 7: spec.autoassign: unknown field`},
		{"no addresses", addressPool("  autoAssign: true\n"), `document 1, line 1: spec.addresses is required`},
		{"empty addresses", addressPool("  addresses: []\n"), `document 1, line 6: spec.addresses: is empty`},
		{"addresses are not a list", addressPool("  addresses: 10.0.0.1\n"), `document 1, line 6: spec.addresses: want a list, not the text "10.0.0.1"`},
		{"bad range", addressPool("  addresses:\n    - 10.0.0.1\n    - 10.0.0.9-10.0.0.2\n"), `document 1, line 8: spec.addresses[1]: range "10.0.0.9-10.0.0.2" is reversed: its end is below its start`},
		{"null range", addressPool("  addresses:\n    - 10.0.0.1\n    -\n"), `document 1, line 8: spec.addresses[1]: has no value`},
		{"not a boolean", addressPool("  addresses: [10.0.0.1]\n  autoAssign: maybe\n"), `document 1, line 7: spec.autoAssign: want true or false, not the text "maybe"`},
		{"a quoted boolean", addressPool("  addresses: [10.0.0.1]\n  autoAssign: \"no\"\n"), `document 1, line 7: spec.autoAssign: want true or false, not the text "no"`},
		{"key given twice", addressPool("  addresses: [10.0.0.1]\n  autoAssign: true\n  autoAssign: false\n"), `document 1, line 8: spec: "autoAssign" is given twice, first in line 7`},
		{"merge key", addressPool("  <<: {addresses: [10.0.0.1]}\n  addresses: [10.0.0.2]\n"), `document 1, line 6: spec: merge keys (<<) are not supported`},
		{"key is no text", addressPool("  addresses: [10.0.0.1]\n  5: 6\n"), `document 1, line 7: spec: want text, not the number "5"; put it in quotes`},
		{"key is null", addressPool("  addresses: [10.0.0.1]\n  ~: 6\n"), `document 1, line 7: spec: want a key`},
		{"bad label", "apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata:\n  name: a\n  labels:\n    ok: not ok\nspec: {addresses: [10.0.0.1]}\n", `document 1, line 6: metadata.labels.ok: label value "not ok": want letters, digits, '-', '_' and '.', with a letter or digit at both ends`},
		{"label is a boolean", advertisement("  nodeSelectors:\n  - matchLabels:\n      front: true\n"), `document 1, line 8: spec.nodeSelectors[0].matchLabels.front: want text, not the boolean "true"; put it in quotes`},
		{"bad operator", advertisement("  nodeSelectors:\n  - matchExpressions:\n    - key: a\n      operator: Gt\n      values: [\"1\"]\n"), `document 1, line 8: spec.nodeSelectors[0].matchExpressions[0]: unknown operator "Gt": want In, NotIn, Exists or DoesNotExist`},
		{"two findings in a requirement", advertisement("  ipAddressPoolSelectors:\n  - matchExpressions:\n    - {key: -a, operator: In}\n"), "document 1, line 8: spec.ipAddressPoolSelectors[0].matchExpressions[0]: label key \"-a\": want letters, digits, '-', '_' and '.', with a letter or digit at both ends\n" +
			"document 1, line 8: spec.ipAddressPoolSelectors[0].matchExpressions[0]: operator In needs at least one value"},
		{"unknown in a selector", advertisement("  nodeSelectors:\n  - matchLabel: {a: b}\n"), `document 1, line 7: spec.nodeSelectors[0].matchLabel: unknown field`},
		{"selector is a list", advertisement("  nodeSelectors:\n  - [a]\n"), `document 1, line 7: spec.nodeSelectors[0]: want a mapping, not a list`},
		{"weight too large", advertisement("  preferredNodeSelectors:\n  - weight: 101\n    preference: {}\n"), `document 1, line 7: spec.preferredNodeSelectors[0].weight: want a number from 1 to 100, not the number "101"`},
		{"weight of 0", advertisement("  preferredNodeSelectors:\n  - weight: 0\n    preference: {}\n"), `document 1, line 7: spec.preferredNodeSelectors[0].weight: want a number from 1 to 100, not the number "0"`},
		{"weight is text", advertisement("  preferredNodeSelectors:\n  - weight: \"5\"\n    preference: {}\n"), `document 1, line 7: spec.preferredNodeSelectors[0].weight: want a number from 1 to 100, not the text "5"`},
		{"weight and preference are missing", advertisement("  preferredNodeSelectors:\n  - {}\n"), "document 1, line 7: spec.preferredNodeSelectors[0]: weight is required\ndocument 1, line 7: spec.preferredNodeSelectors[0]: preference is required"},
		{"not YAML", "a: b\n---\nkind: [\n", "document 1, line 1: has no kind\ndocument 2, line 3: not YAML: did not find expected node content"},
		{"not YAML in the first line", "\t", "document 1, line 1: not YAML: found character that cannot start any token"},
		{"unknown anchor", "kind: *a\n", "document 1, line 1: not YAML: unknown anchor 'a' referenced"},
		{"anchor inside itself", addressPool("  addresses: &a [*a]\n"), "document 1, line 6: spec.addresses[0]: want text, not a list"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m, err := manifest.Parse(strings.NewReader(tt.text))
			require.EqualError(t, err, tt.want)
			require.Equal(t, manifest.Manifest{}, m)
			var finding *manifest.Error
			require.ErrorAs(t, err, &finding)
			require.Positive(t, finding.Document)
			require.Positive(t, finding.Line)
		})
	}
}

func TestAllThatIsWrongAtOnce(t *testing.T) {
	_, err := manifest.Parse(strings.NewReader(
		addressPool("  addresses: [10.0.0.1, 127.0.0.1]\n  foo: 1\n") + "---\n\n---\n" +
			advertisement("  nodeSelectors: yes\n  bar: 2\n"),
	))
	require.EqualError(t, err, strings.Join([]string{
		`document 1, line 6: spec.addresses[1]: range "127.0.0.1" is a loopback address`,
		`document 1, line 7: spec.foo: unknown field`,
		`document 3, line 16: spec.nodeSelectors: want a list, not the boolean "yes"`,
		`document 3, line 17: spec.bar: unknown field`,
	}, "\n"))
}

func TestEmptyDocumentsSayNothing(t *testing.T) {
	for _, text := range []string{"", "\n", "# only a comment\n", "---\n---\n# two\n---\n...\n", "--- ~\n", "\uFEFF"} {
		require.Equal(t, manifest.Manifest{}, parse(t, text), "%q", text)
	}
}

func TestDocumentsAreCountedFromOneWithTheEmptyOnes(t *testing.T) {
	m := parse(t, "---\n# nothing\n---\napiVersion: metallb.io/v1beta1\nkind: Community\n")
	require.Equal(t, []manifest.Ignored{{Document: 2, Line: 4, Kind: "Community"}}, m.Ignored)
}

func TestLineEndings(t *testing.T) {
	text, err := os.ReadFile("testdata/full.yaml")
	require.NoError(t, err)
	require.Equal(t, parse(t, string(text)), parse(t, strings.ReplaceAll(string(text), "\n", "\r\n")))
}

func TestAbsentAndNullAreTheSame(t *testing.T) {
	require.Equal(t,
		parse(t, "apiVersion: metallb.io/v1beta1\nkind: L2Advertisement\nmetadata: {name: myad}\n"),
		parse(t, advertisement("  ipAddressPools:\n  nodeSelectors: ~\n  interfaces: null\n")),
	)
}

func TestBooleansOfKubernetes(t *testing.T) {
	for text, want := range map[string]bool{"true": true, "yes": true, "On": true, "y": true, "false": false, "no": false, "OFF": false, "n": false} {
		m := parse(t, addressPool("  addresses: [10.0.0.1]\n  avoidBuggyIPs: "+text+"\n"))
		require.Equal(t, want, m.Pools[0].AvoidBuggyIPs, text)
	}
}

func TestQuotedTextIsText(t *testing.T) {
	m := parse(t, advertisement("  interfaces: [\"no\", '5', !!str true, 2001-01-01]\n"))
	require.Equal(t, []string{"no", "5", "true", "2001-01-01"}, m.Advertisements[0].Interfaces)
}

func TestAliasesAreFollowed(t *testing.T) {
	m := parse(t, advertisement("  nodeSelectors:\n  - &front\n    matchLabels: {role: &role front}\n  preferredNodeSelectors:\n  - weight: 5\n    preference: *front\n  interfaces: [*role]\n"))
	front := pool.Selector{MatchLabels: map[string]string{"role": "front"}}
	require.Equal(t, []pool.Selector{front}, m.Advertisements[0].NodeSelectors)
	require.Equal(t, []pool.Preference{{Weight: 5, Nodes: front}}, m.Advertisements[0].Preferred)
	require.Equal(t, []string{"front"}, m.Advertisements[0].Interfaces)

	_, err := manifest.Parse(strings.NewReader(addressPool("  addresses:\n  - &x 10.0.0.300\n  - *x\n")))
	require.ErrorContains(t, err, "document 1, line 8: spec.addresses[1]", "the place is that of the alias")
}

func TestAliasBomb(t *testing.T) {
	var b strings.Builder
	b.WriteString(advertisement("  nodeSelectors:\n  - &s\n    matchExpressions:\n    - &r {key: a, operator: In, values: &v [" + strings.Repeat("x,", 1000) + "]}\n"))
	b.WriteString("    - *r\n" + strings.Repeat("    - *r\n", 1000))
	b.WriteString(strings.Repeat("  - *s\n", 10_000))
	_, err := manifest.Parse(strings.NewReader(b.String()))
	require.ErrorContains(t, err, fmt.Sprintf("the manifest has more than %d values", manifest.MaxNodes))
	require.NotContains(t, err.Error(), "\n", "and that is all there is to say")
}

func TestDeepNesting(t *testing.T) {
	_, err := manifest.Parse(strings.NewReader("kind: " + strings.Repeat("[", manifest.MaxSize-10)))
	require.ErrorContains(t, err, "exceeded max depth")
}

func TestSizeIsBounded(t *testing.T) {
	comment := "#" + strings.Repeat(".", manifest.MaxSize-1)
	_, err := manifest.Parse(strings.NewReader(comment))
	require.NoError(t, err)
	_, err = manifest.Parse(io.MultiReader(strings.NewReader(comment), strings.NewReader(".")))
	require.EqualError(t, err, "the manifest is larger than 1048576 bytes")
}

func TestErrorOfTheReader(t *testing.T) {
	broken := errors.New("broken")
	_, err := manifest.Parse(iotest.ErrReader(broken))
	require.ErrorIs(t, err, broken)
}

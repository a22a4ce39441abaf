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

// errorsOf returns the findings that err joins.
func errorsOf(t *testing.T, err error) (all []*manifest.Error) {
	t.Helper()
	require.Error(t, err)
	for _, e := range err.(interface{ Unwrap() []error }).Unwrap() {
		var finding *manifest.Error
		require.ErrorAs(t, e, &finding)
		all = append(all, finding)
	}
	return all
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
	m, err := manifest.ParseFiles("testdata/right/every-field.yaml")
	require.NoError(t, err)
	const file = "testdata/right/every-field.yaml"
	require.Equal(t, manifest.Manifest{
		Pools: []pool.Pool{{
			Name:   "kept",
			Labels: map[string]string{"example.com/zone": "a", "empty": ""},
			Ranges: []pool.Range{
				pool.MustParseRange("10.0.0.0/28"),
				pool.MustParseRange("10.0.1.1-10.0.1.9"),
				pool.MustParseRange("2001:db8::/64"),
			},
			NoAutoAssign:     true,
			AvoidBuggyIPs:    true,
			Priority:         5,
			Namespaces:       []string{"shop"},
			ServiceSelectors: []pool.Selector{{MatchLabels: map[string]string{"app": "web"}}},
		}},
		Advertisements: []pool.Advertisement{{
			Name:          "prefers-a",
			Pools:         []string{"kept"},
			PoolSelectors: []pool.Selector{{MatchLabels: map[string]string{"zone": "a"}}},
			NodeSelectors: []pool.Selector{
				{MatchExpressions: []pool.Requirement{
					{Key: "node-role", Operator: pool.In, Values: []string{"front", "edge"}},
					{Key: "retired", Operator: pool.DoesNotExist},
				}},
				{},
			},
			ServiceSelectors: []pool.Selector{{MatchLabels: map[string]string{"app": "web"}}},
			Interfaces:       []string{"eth0", "eth1"},
			Preferred: []pool.Preference{
				{Weight: 100, Nodes: pool.Selector{MatchLabels: map[string]string{"zone": "a"}}},
				{Weight: 1, Nodes: pool.Selector{MatchExpressions: []pool.Requirement{{Key: "gpu", Operator: pool.Exists}}}},
			},
		}, {
			Name: "everything",
		}},
		Ignored: []manifest.Ignored{
			{File: file, Document: 1, Line: 9, Kind: "IPAddressPool", Name: "kept", Field: "metadata.annotations"},
			{File: file, Document: 1, Line: 25, Kind: "IPAddressPool", Name: "kept", Field: "status"},
			{File: file, Document: 2, Line: 28, Kind: "BGPPeer", Namespace: "metallb-system", Name: "router"},
		},
	}, m)
	require.Equal(t, file+`, document 1, line 25: status of IPAddressPool "kept" has no meaning here and is ignored`, m.Ignored[1].String())
	require.Equal(t, file+`, document 2, line 28: BGPPeer "router" in namespace "metallb-system" has no meaning here and is ignored`, m.Ignored[2].String())
}

// A program finds the position of each error without reading its text.
func TestErrorsHavePositions(t *testing.T) {
	m, err := manifest.ParseFiles("testdata/wrong/several")
	require.Equal(t, manifest.Manifest{}, m)
	found := errorsOf(t, err)
	require.Len(t, found, 3)
	for i, want := range []manifest.Error{
		{File: "testdata/wrong/several/b.yaml", Document: 2, Line: 11, Other: manifest.Position{File: "testdata/wrong/several/a.yaml", Document: 1, Line: 1}},
		{File: "testdata/wrong/several/b.yaml", Document: 1, Line: 9, Path: "spec.addresses[0]", Other: manifest.Position{File: "testdata/wrong/several/a.yaml", Document: 2, Line: 15}},
		{File: "testdata/wrong/several/c.json", Document: 1, Line: 7, Path: "spec.ipAddressPools[1]"},
	} {
		want.Err = found[i].Err
		require.Equal(t, want, *found[i])
	}

	_, err = manifest.Parse(strings.NewReader(addressPool("  addresses: [10.0.0.0/24, 10.0.0.0/25]\n")))
	require.EqualError(t, err, `document 1, line 6: spec.addresses[1]: range 10.0.0.0/25 of pool "mypool" overlaps range 10.0.0.0/24 of pool "mypool", in document 1, line 6`)
}

func TestAllThatIsWrongAtOnce(t *testing.T) {
	_, err := manifest.Parse(strings.NewReader(
		addressPool("  addresses: [10.0.0.0/24, 127.0.0.0/24]\n  foo: 1\n") + "---\n\n---\n" +
			advertisement("  nodeSelectors: yes\n  bar: 2\n") + "---\nkind: [\n---\nkind: Foo\n",
	))
	require.EqualError(t, err, strings.Join([]string{
		`document 1, line 6: spec.addresses[1]: range "127.0.0.0/24" includes a loopback address, 127.0.0.0`,
		`document 1, line 7: spec.foo: unknown field: want one of addresses, autoAssign, avoidBuggyIPs, serviceAllocation`,
		`document 3, line 16: spec.nodeSelectors: want a list, not the boolean "yes"`,
		`document 3, line 17: spec.bar: unknown field: want one of interfaces, ipAddressPoolSelectors, ipAddressPools, nodeSelectors, preferredNodeSelectors, serviceSelectors`,
		`document 4, line 19: not YAML: did not find expected node content`,
		`document 5, line 21: Foo has no apiVersion`,
	}, "\n"))
}

// What could not be read may have had the pool.
func TestNothingIsSaidOfPoolsThatCouldNotBeRead(t *testing.T) {
	ad := advertisement("  ipAddressPools: [other]\n")
	for name, text := range map[string]string{
		"a document that is not YAML": "kind: [\n---\n",
		"a pool without a name":       strings.Replace(addressPool("  addresses: [10.0.0.0/24]\n---\n"), "  name: mypool\n", "", 1),
		"a kind that is misspelt":     strings.Replace(addressPool("  addresses: [10.0.0.0/24]\n---\n"), "IPAddressPool", "IPAdressPool", 1),
	} {
		_, err := manifest.Parse(strings.NewReader(text + ad))
		require.Error(t, err, name)
		require.NotContains(t, err.Error(), "which does not exist", name)
	}
	_, err := manifest.ParseFiles("testdata/scenario.yaml", "testdata/nowhere.yaml", "testdata/wrong/advertisement-without-any-pool.yaml")
	require.ErrorIs(t, err, os.ErrNotExist)
	require.NotContains(t, err.Error(), "which does not exist")
}

func TestDocumentsAreCountedFromOneWithTheEmptyOnes(t *testing.T) {
	const community = "apiVersion: metallb.io/v1beta1\nkind: Community\n"
	for text, want := range map[string]manifest.Ignored{
		community:                                      {Document: 1, Line: 1},
		"# before\n---\n" + community:                  {Document: 1, Line: 3},
		"---\n# nothing\n---\n" + community:            {Document: 2, Line: 4},
		"--- ~\n---\n" + community:                     {Document: 2, Line: 3},
		"a: &a\n---\n{}\n{}\n---\n" + community:        {},
		"%YAML 1.1\n---\n" + community:                 {Document: 1, Line: 3},
		"\n\n{\"apiVersion\":\"v1\",\n\"kind\":\"X\"}": {Document: 1, Line: 3},
	} {
		m, err := manifest.Parse(strings.NewReader(text))
		if want.Document == 0 {
			all := errorsOf(t, err)
			require.Equal(t, 3, all[len(all)-1].Document, "%q", text)
			continue
		}
		require.NoError(t, err, "%q", text)
		require.Equal(t, want.Document, m.Ignored[0].Document, "%q", text)
		require.Equal(t, want.Line, m.Ignored[0].Line, "%q", text)
	}
}

// However a file is written, it says the same, at the same positions.
func TestOneManifestWrittenInManyWays(t *testing.T) {
	raw, err := os.ReadFile("testdata/right/every-field.yaml")
	require.NoError(t, err)
	text := string(raw)
	want := parse(t, text)
	for name, written := range map[string]string{
		"Windows":                          strings.ReplaceAll(text, "\n", "\r\n"),
		"a byte order mark":                "\uFEFF" + text,
		"one in each document":             "\uFEFF" + strings.ReplaceAll(text, "---\n", "---\n\uFEFF"),
		"one before each separator":        "\uFEFF" + strings.ReplaceAll(text, "---\n", "\uFEFF---\n"),
		"separators that go on as comment": strings.ReplaceAll(text, "---\n", "---\t# next\n"),
	} {
		require.Equal(t, want, parse(t, written), name)
	}
}

func TestAbsentAndNullAreTheSame(t *testing.T) {
	require.Equal(t,
		parse(t, "apiVersion: metallb.io/v1beta1\nkind: L2Advertisement\nmetadata: {name: myad}\n"),
		parse(t, advertisement("  ipAddressPools:\n  nodeSelectors: ~\n  interfaces: null\n")),
	)
}

func TestBooleansOfKubernetes(t *testing.T) {
	for text, want := range map[string]bool{"true": true, "yes": true, "On": true, "y": true, "false": false, "no": false, "OFF": false, "n": false} {
		m := parse(t, addressPool("  addresses: [10.0.0.0/24]\n  avoidBuggyIPs: "+text+"\n"))
		require.Equal(t, want, m.Pools[0].AvoidBuggyIPs, text)
	}
}

func TestQuotedTextIsText(t *testing.T) {
	m := parse(t, advertisement("  interfaces: [\"no\", '5', !!str true, 2001-01-01]\n"))
	require.Equal(t, []string{"no", "5", "true", "2001-01-01"}, m.Advertisements[0].Interfaces)
}

func TestTheLineOfAnAliasIsWhereItIsUsed(t *testing.T) {
	_, err := manifest.Parse(strings.NewReader(addressPool("  addresses:\n  - &x 10.0.0.300/32\n  - *x\n")))
	require.ErrorContains(t, err, "document 1, line 8: spec.addresses[1]")
}

func TestParseFiles(t *testing.T) {
	want, err := manifest.ParseFiles("testdata/right/several/10-pools.yaml", "testdata/right/several/20-advertisements.json", "testdata/right/several/30-more.yml")
	require.NoError(t, err)
	require.Len(t, want.Pools, 2)
	require.Len(t, want.Advertisements, 2)
	got, err := manifest.ParseFiles("testdata/right/several/", "testdata/right/several/../several/30-more.yml")
	require.NoError(t, err, "a directory, and a file of it once more")
	require.Equal(t, want, got)

	got, err = manifest.ParseFS(os.DirFS("testdata/right/several"), "*.y*ml", "*.json", "*-pools.yaml")
	require.NoError(t, err)
	require.Len(t, got.Pools, 2)
	require.Equal(t, []string{"back", "front"}, []string{got.Advertisements[0].Name, got.Advertisements[1].Name}, "in the order of the patterns")
}

func TestParseFilesThatCannotBeRead(t *testing.T) {
	empty := t.TempDir()
	m, err := manifest.ParseFiles("testdata/nowhere.yaml", empty, "testdata/wrong/kind-null.yaml")
	require.Equal(t, manifest.Manifest{}, m)
	require.ErrorIs(t, err, os.ErrNotExist)
	require.ErrorContains(t, err, "testdata/nowhere.yaml")
	require.ErrorContains(t, err, empty+" has no file that ends in .json, .yaml or .yml")
	require.ErrorContains(t, err, "testdata/wrong/kind-null.yaml, document 1, line 1: has no kind", "and everything else that is wrong")

	_, err = manifest.ParseFS(os.DirFS("testdata"), "scenario.yaml", "nowhere/*", "[")
	require.ErrorIs(t, err, os.ErrNotExist)
	require.ErrorContains(t, err, `pattern "nowhere/*"`)
	require.ErrorContains(t, err, `pattern "["`)
}

func TestErrorOfTheReader(t *testing.T) {
	broken := errors.New("broken")
	_, err := manifest.Parse(iotest.ErrReader(broken))
	require.ErrorIs(t, err, broken)
}

func TestSizeIsBounded(t *testing.T) {
	comment := "#" + strings.Repeat(".", manifest.MaxSize-1)
	_, err := manifest.Parse(strings.NewReader(comment))
	require.NoError(t, err)
	_, err = manifest.Parse(io.MultiReader(strings.NewReader(comment), strings.NewReader(".")))
	require.EqualError(t, err, "the manifest is larger than 1048576 bytes")
}

func TestDocumentsAreBounded(t *testing.T) {
	for name, document := range map[string]string{"YAML": "---\nkind: X\napiVersion: v1\n", "JSON": `{"kind":"X","apiVersion":"v1"}`, "null": "--- ~\n"} {
		_, err := manifest.Parse(strings.NewReader(strings.Repeat(document, manifest.MaxDocuments)))
		require.NoError(t, err, name)
		_, err = manifest.Parse(strings.NewReader(strings.Repeat(document, manifest.MaxDocuments+1)))
		require.EqualError(t, err, "more than 10000 documents", name)
	}
}

func TestErrorsAreBounded(t *testing.T) {
	_, err := manifest.Parse(strings.NewReader(strings.Repeat("---\n- x\n", manifest.MaxErrors)))
	require.Len(t, errorsOf(t, err), manifest.MaxErrors)
	_, err = manifest.Parse(strings.NewReader(strings.Repeat("---\n- x\n", manifest.MaxDocuments)))
	all := err.(interface{ Unwrap() []error }).Unwrap()
	require.Len(t, all, manifest.MaxErrors+1)
	require.EqualError(t, all[manifest.MaxErrors], "there are more than 1000 errors: the rest is not listed")
}

// tooManyValues is that aliases or merge keys multiply what there is to look at.
func tooManyValues(t *testing.T, text string) {
	t.Helper()
	_, err := manifest.Parse(strings.NewReader(text))
	require.ErrorContains(t, err, fmt.Sprintf("the manifest has more than %d values", manifest.MaxNodes))
	require.NotContains(t, err.Error(), "\n", "and that is all there is to say")
}

func TestAliasesThatMultiply(t *testing.T) {
	var b strings.Builder
	b.WriteString(advertisement("  preferredNodeSelectors:\n  - &s\n    weight: 1\n    preference:\n      matchExpressions:\n"))
	for i := range 1000 {
		fmt.Fprintf(&b, "      - {key: a, operator: In, values: [x%d]}\n", i)
	}
	b.WriteString(strings.Repeat("  - *s\n", 10_000))
	tooManyValues(t, b.String())
}

func TestMergeKeysThatMultiply(t *testing.T) {
	var b strings.Builder
	b.WriteString("status:\n  a0: &a0 {x: z}\n")
	for i := range 30 {
		fmt.Fprintf(&b, "  a%d: &a%d {<<: [*a%d, *a%d]}\n", i+1, i+1, i, i)
	}
	labels := "  nodeSelectors:\n  - matchLabels:\n      <<: *a30\n"
	tooManyValues(t, strings.Replace(advertisement(labels), "metadata:\n", b.String()+"metadata:\n", 1))
	// What a document is, is found out with the same care.
	tooManyValues(t, "apiVersion: v1\nkind: Foo\n"+b.String()+"<<: *a30\n")
}

// A list of one large object, again and again.
func TestItemsThatMultiply(t *testing.T) {
	large := "apiVersion: v1\n    kind: Foo\n    " + strings.Repeat("x: 1\n    ", 10_000)
	tooManyValues(t, "apiVersion: v1\nitems:\n  - &o\n    "+large+"\n"+strings.Repeat("  - *o\n", 50_000)+"kind: List\n")
}

func TestDepthIsBounded(t *testing.T) {
	_, err := manifest.Parse(strings.NewReader("kind: " + strings.Repeat("[", manifest.MaxSize-10)))
	require.ErrorContains(t, err, "exceeded max depth")
	_, err = manifest.Parse(strings.NewReader(`{"kind":` + strings.Repeat("[", manifest.MaxSize-10)))
	require.EqualError(t, err, "document 1, line 1: not JSON: nested more than 10000 deep")
	_, err = manifest.Parse(strings.NewReader(`{"kind":"X","apiVersion":"v1","spec":` + strings.Repeat("[", manifest.MaxDepth) + strings.Repeat("]", manifest.MaxDepth) + "}"))
	require.NoError(t, err)
}

package manifest_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/l2vip/l2vip/pool"
	"github.com/l2vip/l2vip/pool/manifest"
)

// FuzzParse begins with every manifest of testdata. What is read can be used, and what
// cannot be read has an error with a position.
func FuzzParse(f *testing.F) {
	require.NoError(f, fs.WalkDir(os.DirFS("testdata"), ".", func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || !slices.Contains([]string{".yaml", ".yml", ".json"}, path.Ext(name)) {
			return err
		}
		text, err := os.ReadFile(path.Join("testdata", name))
		f.Add(text)
		return err
	}))
	f.Add([]byte("kind: &a [*a]\n---\n<<: *a\n"))
	f.Add([]byte("&a {<<: [*a, {kind: X}], apiVersion: v1}\n"))
	f.Add([]byte(addressPool("  addresses: &a [10.0.0.0/24, *a, ~, no, 5]\n  autoAssign: off\n")))
	f.Add([]byte("--- !!null {kind: IPAddressPool}\n"))
	f.Add([]byte("{\"kind\":\"List\",\"apiVersion\":\"v1\",\"items\":[{}]}\xef\xbb\xbf{}"))
	f.Fuzz(func(t *testing.T, text []byte) {
		m, err := manifest.Parse(bytes.NewReader(text))
		if err != nil {
			require.Equal(t, manifest.Manifest{}, m)
			var finding *manifest.Error
			require.True(t, errors.As(err, &finding))
			return
		}
		require.NoError(t, pool.ValidatePools(m.Pools))
		require.NoError(t, pool.ValidateAdvertisements(m.Advertisements, m.Pools))
		for _, i := range m.Ignored {
			require.Positive(t, i.Document)
			require.Positive(t, i.Line)
			require.LessOrEqual(t, i.Line, len(text)+1)
			require.NotEmpty(t, i.Kind)
		}
	})
}

package manifest_test

import (
	"bytes"
	"errors"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/l2vip/l2vip/pool"
	"github.com/l2vip/l2vip/pool/manifest"
)

func FuzzParse(f *testing.F) {
	for _, name := range []string{"testdata/scenario.yaml", "testdata/full.yaml"} {
		text, err := os.ReadFile(name)
		require.NoError(f, err)
		f.Add(text)
		f.Add(bytes.ReplaceAll(text, []byte("\n"), []byte("\r\n")))
	}
	f.Add([]byte("kind: &a [*a]\n---\n<<: *a\n"))
	f.Add([]byte(addressPool("  addresses: &a [10.0.0.1, *a, ~, no, 5]\n  autoAssign: off\n")))
	f.Add([]byte("--- !!null {kind: IPAddressPool}\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		m, err := manifest.Parse(bytes.NewReader(text))
		if err != nil {
			require.Equal(t, manifest.Manifest{}, m)
			var finding *manifest.Error
			require.True(t, errors.As(err, &finding))
			return
		}
		for _, p := range m.Pools {
			require.NotEmpty(t, p.Name)
			require.NotEmpty(t, p.Ranges)
			require.NoError(t, pool.ValidateLabels(p.Labels))
		}
		for _, a := range m.Advertisements {
			require.NotEmpty(t, a.Name)
			for _, s := range append(a.NodeSelectors, a.PoolSelectors...) {
				require.NoError(t, s.Validate())
			}
			for _, p := range a.Preferred {
				require.NotZero(t, p.Weight)
				require.NoError(t, p.Nodes.Validate())
			}
		}
		for _, i := range m.Ignored {
			require.Positive(t, i.Document)
			require.Positive(t, i.Line)
			require.NotEmpty(t, i.Kind)
		}
	})
}

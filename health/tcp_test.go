package health_test

import (
	"context"
	"net"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/l2vip/l2vip/health"
)

func TestTCPConnects(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	r := start(t, health.TCP{Address: l.Addr().String()})
	require.True(t, r.next().Ready)
	require.NoError(t, l.Close())
	got := r.next()
	require.False(t, got.Ready)
	require.Contains(t, got.Reason, l.Addr().String())
	require.Empty(t, r.stop(), "the reason stays the same")
}

func TestTCPSaysWhyItFails(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	probe := health.TCP{Address: l.Addr().String()}
	require.NoError(t, l.Close())
	require.ErrorIs(t, probe.Check(t.Context()), syscall.ECONNREFUSED)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.Error(t, probe.Check(ctx))
}

func TestTCPNamesWhatIsWrong(t *testing.T) {
	for _, address := range []string{"", "localhost", "::1:80:", "localhost:", "localhost:0", "localhost:65536", "localhost:-1"} {
		probe := health.TCP{Address: address}
		assert.Equal(t, []string{"Address"}, findings(probe.Validate()), address)
		assert.Error(t, probe.Run(t.Context(), nil), address)
	}
	for _, address := range []string{":80", "[::1]:80", "db.example.com:postgresql"} {
		assert.NoError(t, health.TCP{Address: address}.Validate(), address)
	}
}

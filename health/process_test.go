package health_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/l2vip/l2vip/health"
)

func TestProcessNamesAllThatIsWrong(t *testing.T) {
	tests := []struct {
		process health.Process
		want    []string
	}{
		{health.Process{}, []string{"PID"}},
		{health.Process{PID: -1, Reread: -1}, []string{"PID", "Reread"}},
		{health.Process{PID: 1, PIDFile: "/run/nginx.pid"}, []string{"PID"}},
		{health.Process{PID: 1}, nil},
		{health.Process{PIDFile: "/run/nginx.pid"}, nil},
	}
	for _, tt := range tests {
		assert.Equal(t, tt.want, findings(tt.process.Validate()), "%+v", tt.process)
	}
	require.Error(t, health.Process{}.Run(t.Context(), nil))
}

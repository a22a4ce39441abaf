//go:build unix

package health_test

import (
	"errors"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/l2vip/l2vip/health"
)

func shell(script string) health.Exec { return health.Exec{Command: []string{"sh", "-c", script}} }

func TestExecGoesByTheExitStatus(t *testing.T) {
	tests := []struct {
		script string
		want   string // empty: healthy
	}{
		{"true", ""},
		{"echo fine; echo not so fine >&2", ""},
		{"exit 3", "sh: exit status 3"},
		{"kill -9 $$", "sh: signal: killed"},
		{"echo first; echo second >&2; exit 1", "sh: exit status 1: second"},
		{`printf 'last line\r\n \n\n'; exit 1`, "sh: exit status 1: last line"},
		{`printf 'no\033[31mt red'; exit 1`, "sh: exit status 1: no [31mt red"},
	}
	for _, tt := range tests {
		err := shell(tt.script).Check(t.Context())
		if tt.want == "" {
			assert.NoError(t, err, tt.script)
		} else {
			assert.EqualError(t, err, tt.want, tt.script)
		}
	}
	var status *exec.ExitError
	require.ErrorAs(t, shell("exit 3").Check(t.Context()), &status)
	require.Equal(t, 3, status.ExitCode())
}

func TestExecKeepsTheEndOfALongOutput(t *testing.T) {
	err := shell(`i=0; while [ $i -lt 20000 ]; do echo "line $i"; i=$((i+1)); done; exit 1`).Check(t.Context())
	require.EqualError(t, err, "sh: exit status 1: line 19999")

	err = shell(`printf '%0100000d' 0; printf end; exit 1`).Check(t.Context())
	require.EqualError(t, err, "sh: exit status 1: "+strings.Repeat("0", 125)+"end")
}

func TestExecSetsDirectoryAndEnvironment(t *testing.T) {
	dir := t.TempDir()
	probe := shell(`test "$PWD" = "$WANT" && test -z "$HOME"`)
	probe.Dir, probe.Env = dir, []string{"WANT=" + dir}
	require.NoError(t, probe.Check(t.Context()))
}

func TestExecSaysThatTheCommandIsMissing(t *testing.T) {
	err := health.Exec{Command: []string{"/no/such/check"}}.Check(t.Context())
	require.EqualError(t, err, "check: fork/exec /no/such/check: no such file or directory")
	require.ErrorIs(t, health.Exec{Command: []string{"no-such-check"}}.Check(t.Context()), exec.ErrNotFound)
}

func TestExecIsASource(t *testing.T) {
	r := start(t, shell("echo no database; exit 1"))
	require.Equal(t, health.State{Reason: "sh: exit status 1: no database"}, r.next())
	require.Empty(t, r.stop())
}

func TestExecNamesWhatIsWrong(t *testing.T) {
	require.Equal(t, []string{"Command"}, findings(health.Exec{}.Validate()))
	require.Equal(t, []string{"Command[0]"}, findings(health.Exec{Command: []string{"", "x"}}.Validate()))
	var finding *health.ConfigError
	require.True(t, errors.As(health.Exec{}.Run(t.Context(), nil), &finding))
	require.True(t, errors.As(health.Exec{}.Check(t.Context()), &finding))
}

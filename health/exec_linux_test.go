package health

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// startChild runs script as a check in dir, which has the FIFOs child and go.
// The script must write the id of a child to the first and read the second,
// which happens when the test has taken hold of the child.
func startChild(t *testing.T, ctx context.Context, script string) (child *pidfd, result <-chan error) {
	t.Helper()
	dir := t.TempDir()
	for _, fifo := range []string{"child", "go"} {
		require.NoError(t, unix.Mkfifo(filepath.Join(dir, fifo), 0o600))
	}
	results := make(chan error, 1)
	go func() { results <- Exec{Command: []string{"sh", "-c", script}, Dir: dir}.Check(ctx) }()

	text, err := os.ReadFile(filepath.Join(dir, "child")) // a FIFO: waits for the child
	require.NoError(t, err)
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	require.NoError(t, err)
	child, err = openPidfd(pid)
	require.NoError(t, err)
	t.Cleanup(child.close)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "go"), []byte("\n"), 0))
	return child, results
}

func TestExecLeavesNoChildren(t *testing.T) {
	stopped := errors.New("stopped by the test")
	tests := []struct {
		name, then string
		cancel     bool
		want       error
	}{
		{"when cancelled", "wait", true, stopped},
		{"when cancelled although it ignores signals", "trap '' TERM INT HUP; wait", true, stopped},
		{"when it succeeds", "exit 0", false, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			child, result := startChild(t, ctx, "sleep 1000 & echo $! >child; read go <go; "+tt.then)
			if tt.cancel {
				cancel(stopped)
			}
			require.ErrorIs(t, <-result, tt.want)
			<-child.done
			require.NoError(t, child.err)
		})
	}
}

func TestExecFailsWhenADaemonKeepsItsOutputOpen(t *testing.T) {
	if _, err := exec.LookPath("setsid"); err != nil {
		t.Skip("needs the command setsid:", err)
	}
	daemon, result := startChild(t, t.Context(), `setsid sh -c 'echo $$ >child; exec sleep 1000' & read go <go`)
	defer func() {
		require.NoError(t, unix.Kill(daemon.pid, unix.SIGKILL))
		<-daemon.done
	}()
	require.ErrorIs(t, <-result, exec.ErrWaitDelay)
}

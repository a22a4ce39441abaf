package health

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/l2vip/l2vip/internal/conferr"
)

const (
	// maxOutput is how much of the end of a command's output is kept, in bytes.
	maxOutput = 128
	// outputDelay is how long a command's output may stay open after its exit.
	outputDelay = 100 * time.Millisecond
)

// Exec is a probe that runs a command, which says by exit status 0 that all is
// well. The last line of its output, standard and error together, becomes part
// of the reason when it fails; about 128 bytes of it are kept. It is also a
// [Source], with the default timing of [Monitor].
//
// On Linux the command runs in a process group of its own. When it exits, or
// the check's context ends, the whole group is killed, so that nothing it
// started outlives the check. What leaves the group (a daemon) gets away, and
// if it keeps the output open, the check fails. A command that cannot be
// killed, because it runs as another user or waits for a disk, delays the
// check's return. On other systems only the command itself is killed.
type Exec struct {
	// Command is the program, looked up in PATH unless it holds a slash, and
	// its arguments; required. No shell is involved.
	Command []string
	// Dir is the directory to run in; empty means the program's own.
	Dir string
	// Env is the environment, as "KEY=value"; nil means the program's own.
	Env []string
}

// Validate returns a [*ConfigError] if there is no command.
func (e Exec) Validate() error {
	var l conferr.List
	if len(e.Command) == 0 {
		l.Addf("Command", "required")
	} else if e.Command[0] == "" {
		l.Addf("Command[0]", "empty")
	}
	return l.Err()
}

// Run checks in a [Monitor] with default timing. It fails only if the
// configuration is not valid.
func (e Exec) Run(ctx context.Context, report func(State)) error {
	if err := e.Validate(); err != nil {
		return err
	}
	return Check(e.Check).Run(ctx, report)
}

// Check runs the command once and returns nil if its exit status is 0. It ends
// when ctx does, and has no time limit of its own.
func (e Exec) Check(ctx context.Context) error {
	if err := e.Validate(); err != nil {
		return err
	}
	var output tail
	cmd := exec.CommandContext(ctx, e.Command[0], e.Command[1:]...)
	cmd.Dir, cmd.Env = e.Dir, e.Env
	cmd.Stdout, cmd.Stderr = &output, &output
	cmd.WaitDelay = outputDelay

	err := runGroup(cmd)
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	err = fmt.Errorf("%s: %w", filepath.Base(e.Command[0]), err)
	if line := output.lastLine(); line != "" {
		err = fmt.Errorf("%w: %s", err, line)
	}
	return err
}

// tail is an io.Writer that keeps the last maxOutput bytes.
type tail struct{ kept []byte }

func (t *tail) Write(p []byte) (int, error) {
	t.kept = append(t.kept, p[max(0, len(p)-maxOutput):]...)
	t.kept = t.kept[max(0, len(t.kept)-maxOutput):]
	return len(p), nil
}

// lastLine returns the last line that is not blank, or what is kept of it.
func (t *tail) lastLine() string {
	kept := bytes.TrimSpace(t.kept)
	return oneLine(string(bytes.TrimSpace(kept[bytes.LastIndexByte(kept, '\n')+1:])))
}

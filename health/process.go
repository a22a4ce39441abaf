package health

import (
	"time"

	"github.com/l2vip/l2vip/internal/conferr"
)

// Process is a [Source] that is ready while a process lives. The kernel tells
// of the exit as it happens (through a pidfd); nothing is asked again and
// again. A process that has exited but was not yet waited for by its parent
// counts as exited. It needs Linux 5.3; elsewhere Run returns an error that
// wraps [errors.ErrUnsupported].
//
// With PID, the exit is final: Process is never ready again.
//
// With PIDFile, Process follows the file. It looks for the process that the
// file names; a file that is absent, holds no process id or names a process
// that does not live is not ready. Once found, the process counts until it
// exits or the file names another one that lives; what else happens to the
// file does not matter, so a program that replaces itself step by step is
// ready all the time. After an exit, a file that was not written since does
// not count, even if its process id is in use again. A file that was left by
// an earlier run and names what is by now a stranger cannot be told from a
// good one: keep pid files where a reboot removes them, as in /run.
type Process struct {
	// PID is the process id, as this program sees it (it matters in a PID
	// namespace). Either PID or PIDFile is required, not both.
	PID int
	// PIDFile is the path of a file whose first line is a process id. It is
	// read when inotify tells of a change in its directory.
	PIDFile string
	// Reread is how often PIDFile is read as well, for changes that inotify
	// does not tell of: the directory does not exist yet or was replaced, the
	// file is a symbolic link, a network file system, or the user's inotify
	// instances are used up. 0 means 1 s.
	Reread time.Duration
}

// Validate returns all that is wrong with the configuration, each finding as a
// [*ConfigError].
func (p Process) Validate() error {
	var l conferr.List
	switch {
	case p.PID < 0:
		l.Addf("PID", "negative: %d", p.PID)
	case p.PID == 0 && p.PIDFile == "":
		l.Addf("PID", "required, or PIDFile")
	case p.PID != 0 && p.PIDFile != "":
		l.Addf("PID", "set together with PIDFile %q", p.PIDFile)
	}
	if p.Reread < 0 {
		l.Addf("Reread", "negative: %v", p.Reread)
	}
	return l.Err()
}

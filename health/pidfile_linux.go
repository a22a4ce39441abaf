package health

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// maxPIDFile is how much of a pid file is read, in bytes.
const maxPIDFile = 64

// reading is what a pid file said at one time.
type reading struct {
	pid  int
	info os.FileInfo
}

// readPIDFile reads the process id in the first line of the file.
func readPIDFile(path string) (reading, error) {
	// Non-blocking, because opening a FIFO would wait for its writer.
	file, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return reading{}, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return reading{}, err
	}
	if !info.Mode().IsRegular() {
		return reading{}, fmt.Errorf("pid file %s is not a regular file", path)
	}
	text, err := io.ReadAll(io.LimitReader(file, maxPIDFile))
	if err != nil {
		return reading{}, err
	}
	line, _, _ := strings.Cut(string(text), "\n")
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil || pid <= 0 {
		return reading{}, fmt.Errorf("pid file %s holds no process id but %q", path, line)
	}
	return reading{pid: pid, info: info}, nil
}

// same says whether the file was not written between the two readings.
func (r reading) same(other reading) bool {
	return r.pid == other.pid && os.SameFile(r.info, other.info) && r.info.ModTime().Equal(other.info.ModTime())
}

// follower follows the process that a pid file names.
type follower struct {
	path string
	proc *pidfd  // the process found; nil while there is none
	from reading // what the file last said of it, or of the one that exited
}

// look brings proc up to date. An error means that nothing can be followed.
func (f *follower) look() (State, error) {
	select {
	case <-f.exited():
		if f.proc.err != nil {
			return State{}, fmt.Errorf("process %d: %w", f.proc.pid, f.proc.err)
		}
		f.close()
	default:
	}
	err := f.find()
	switch {
	case f.proc != nil:
		return State{Ready: true}, nil
	case errors.Is(err, errors.ErrUnsupported) || errors.Is(err, unix.EPERM):
		return State{}, err // an old kernel or a sandbox: no other process will do better
	default:
		return State{Reason: reason(err)}, nil
	}
}

// find makes proc the process that the file names, if it lives.
func (f *follower) find() error {
	now, err := readPIDFile(f.path)
	if err != nil {
		return err
	}
	if f.proc != nil && f.proc.pid == now.pid {
		f.from = now
		return nil
	}
	if f.proc == nil && f.from.same(now) {
		return fmt.Errorf("process %d has exited", now.pid)
	}
	return f.follow(now)
}

// follow makes proc the process that the file named when it was read.
func (f *follower) follow(named reading) error {
	proc, err := openPidfd(named.pid)
	if err != nil {
		return err
	}
	// Between reading and opening, the process may have made way for one that
	// wrote the file anew, and its id may have gone to a stranger. The change
	// of the file is a reason to look again.
	if again, err := readPIDFile(f.path); err != nil || !again.same(named) {
		proc.close()
		return fmt.Errorf("pid file %s is being written", f.path)
	}
	f.close()
	f.proc, f.from = proc, named
	return nil
}

// exited returns a channel that is closed when the process has exited, or nil
// while there is none.
func (f *follower) exited() <-chan struct{} {
	if f.proc == nil {
		return nil
	}
	return f.proc.done
}

// close lets go of the process.
func (f *follower) close() {
	if f.proc != nil {
		f.proc.close()
		f.proc = nil
	}
}

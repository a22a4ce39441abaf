package health_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/l2vip/l2vip/health"
)

// sleeper starts a process that lives until it is killed, and is reaped only
// when the test ends or calls reap.
func sleeper(t *testing.T) (process *os.Process, reap func()) {
	t.Helper()
	cmd := exec.Command("sleep", "1000000")
	require.NoError(t, cmd.Start())
	reaped := false
	reap = func() {
		if !reaped {
			reaped = true
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	}
	t.Cleanup(reap)
	return cmd.Process, reap
}

// write writes a pid file in place.
func write(t *testing.T, path string, pid int) {
	t.Helper()
	require.NoError(t, os.WriteFile(path, fmt.Appendln(nil, pid), 0o600))
}

// follow follows a pid file that is only read when inotify tells of a change.
func follow(t *testing.T, path string) *running {
	return start(t, health.Process{PIDFile: path, Reread: time.Hour})
}

// untilReady takes states until one is ready. A pid file that is written in
// place may be seen while it is empty.
func (r *running) untilReady() {
	r.t.Helper()
	for !r.next().Ready {
	}
}

func TestProcessNoticesTheExitOfAPID(t *testing.T) {
	process, _ := sleeper(t)
	r := start(t, health.Process{PID: process.Pid})
	require.Equal(t, health.State{Ready: true}, r.next())
	require.NoError(t, process.Kill()) // and nobody reaps it
	require.Equal(t, health.State{Reason: fmt.Sprintf("process %d has exited", process.Pid)}, r.next())
	require.Empty(t, r.stop())
}

func TestProcessKnowsThatAPIDIsNotThere(t *testing.T) {
	process, reap := sleeper(t)
	reap()
	r := start(t, health.Process{PID: process.Pid})
	require.Equal(t, health.State{Reason: fmt.Sprintf("process %d: no such process", process.Pid)}, r.next())
	require.Empty(t, r.stop())
}

func TestProcessEndsWhileTheProcessLives(t *testing.T) {
	byPID := start(t, health.Process{PID: os.Getpid()})
	require.Equal(t, health.State{Ready: true}, byPID.next())
	require.Empty(t, byPID.stop())

	path := filepath.Join(t.TempDir(), "app.pid")
	write(t, path, os.Getpid())
	byFile := follow(t, path)
	require.Equal(t, health.State{Ready: true}, byFile.next())
	require.Empty(t, byFile.stop())
}

func TestProcessFailsForAThread(t *testing.T) {
	// Of two threads that live at the same time, one at least is not the main one.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	tid := unix.Gettid()
	if tid == os.Getpid() {
		other, done := make(chan int), make(chan struct{})
		defer close(done)
		go func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			other <- unix.Gettid()
			<-done
		}()
		tid = <-other
	}
	err := health.Process{PID: tid}.Run(t.Context(), nil)
	require.ErrorContains(t, err, fmt.Sprintf("process %d: pidfd_open: ", tid))
}

func TestProcessFollowsAPIDFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.pid")
	r := follow(t, path)
	require.Equal(t, health.State{Reason: fmt.Sprintf("open %s: no such file or directory", path)}, r.next())

	first, _ := sleeper(t)
	write(t, path, first.Pid)
	r.untilReady()
	require.NoError(t, first.Kill())
	require.Equal(t, health.State{Reason: fmt.Sprintf("process %d has exited", first.Pid)}, r.next())

	second, _ := sleeper(t)
	aside := path + ".new"
	write(t, aside, second.Pid)
	require.NoError(t, os.Rename(aside, path))
	require.Equal(t, health.State{Ready: true}, r.next())
	require.NoError(t, os.Remove(path))
	require.NoError(t, second.Kill())
	require.Equal(t, health.State{Reason: fmt.Sprintf("open %s: no such file or directory", path)}, r.next())
	require.Empty(t, r.stop())
}

func TestProcessFollowsAFileThatItsWriterKeepsOpen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.pid")
	file, err := os.Create(path)
	require.NoError(t, err)
	defer file.Close()
	r := follow(t, path)
	require.False(t, r.next().Ready)
	_, err = fmt.Fprint(file, os.Getpid())
	require.NoError(t, err)
	r.untilReady()
}

func TestProcessStaysReadyWhenAnotherHasTakenOver(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.pid")
	old, _ := sleeper(t)
	write(t, path, old.Pid)
	r := follow(t, path)
	require.Equal(t, health.State{Ready: true}, r.next())

	successor, _ := sleeper(t)
	write(t, path+".new", successor.Pid)
	require.NoError(t, os.Rename(path+".new", path))
	require.NoError(t, old.Kill())
	require.NoError(t, successor.Kill())
	got := r.next()
	require.False(t, got.Ready)
	require.Contains(t, got.Reason, fmt.Sprintf("process %d", successor.Pid))
	require.Empty(t, r.stop())
}

func TestProcessReadsAgainWhatInotifyCannotSee(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "not", "yet")
	path := filepath.Join(dir, "app.pid")
	r := start(t, health.Process{PIDFile: path, Reread: time.Millisecond})
	require.False(t, r.next().Ready)
	require.NoError(t, os.MkdirAll(dir, 0o700))
	write(t, path, os.Getpid())
	r.untilReady()
	require.Empty(t, r.stop())
}

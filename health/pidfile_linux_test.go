package health

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// startSleeper starts a process, and returns a function that ends it and
// returns when nothing of it is left.
func startSleeper(t *testing.T) (pid int, end func()) {
	t.Helper()
	cmd := exec.Command("sleep", "1000000")
	require.NoError(t, cmd.Start())
	end = func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
	t.Cleanup(end)
	return cmd.Process.Pid, end
}

// newFollower returns a follower of a file that holds text.
func newFollower(t *testing.T, text string) *follower {
	t.Helper()
	f := &follower{path: filepath.Join(t.TempDir(), "app.pid")}
	f.write(t, text)
	t.Cleanup(f.close)
	return f
}

func (f *follower) write(t *testing.T, text string) {
	t.Helper()
	require.NoError(t, os.WriteFile(f.path, []byte(text), 0o600))
}

// mustLook looks, and returns the state's reason.
func (f *follower) mustLook(t *testing.T) string {
	t.Helper()
	state, err := f.look()
	require.NoError(t, err)
	require.Equal(t, state.Ready, state.Reason == "")
	return state.Reason
}

func TestFollowerReadsTheFirstLine(t *testing.T) {
	self := os.Getpid()
	for _, text := range []string{"%d", "%d\n", " %d \r\n", "%d\n/var/lib/postgresql\n5432\n", "%d" + strings.Repeat(" ", 1000)} {
		f := newFollower(t, fmt.Sprintf(text, self))
		require.Empty(t, f.mustLook(t), text)
		require.Equal(t, self, f.proc.pid)
	}
}

func TestFollowerSaysWhatIsWrongWithTheFile(t *testing.T) {
	gone, end := startSleeper(t)
	end()
	tests := []struct{ text, want string }{
		{"", `holds no process id but ""`},
		{"\n12", `holds no process id but ""`},
		{"nginx", `holds no process id but "nginx"`},
		{"12x", `holds no process id but "12x"`},
		{"0", `holds no process id but "0"`},
		{"-1", `holds no process id but "-1"`},
		{"99999999999999999999", `holds no process id but "99999999999999999999"`},
		{strings.Repeat("1", 1000), `holds no process id but "1111`},
		{fmt.Sprint(gone), fmt.Sprintf("process %d: no such process", gone)},
	}
	for _, tt := range tests {
		assert.Contains(t, newFollower(t, tt.text).mustLook(t), tt.want, tt.text)
	}

	f := &follower{path: t.TempDir()}
	assert.Contains(t, f.mustLook(t), "is not a regular file")
	f = &follower{path: filepath.Join(t.TempDir(), "fifo")}
	require.NoError(t, unix.Mkfifo(f.path, 0o600))
	assert.Contains(t, f.mustLook(t), "is not a regular file")
}

func TestFollowerDoesNotTakeAProcessThatWaitsToBeReaped(t *testing.T) {
	pid, _ := startSleeper(t)
	held, err := openPidfd(pid)
	require.NoError(t, err)
	defer held.close()
	require.NoError(t, unix.Kill(pid, unix.SIGKILL))
	<-held.done
	f := newFollower(t, fmt.Sprint(pid))
	require.Equal(t, fmt.Sprintf("process %d: no such process", pid), f.mustLook(t))
}

func TestFollowerDoesNotTakeAReusedIDForTheOneThatExited(t *testing.T) {
	pid, end := startSleeper(t)
	f := newFollower(t, fmt.Sprint(pid))
	require.Empty(t, f.mustLook(t))
	end()
	<-f.exited()
	require.Equal(t, fmt.Sprintf("process %d has exited", pid), f.mustLook(t))

	// Let the id be in use again: by this process, as the follower sees it.
	self := os.Getpid()
	f.write(t, fmt.Sprint(self))
	again, err := readPIDFile(f.path)
	require.NoError(t, err)
	f.from = again // what the file said of the process that exited
	require.Equal(t, fmt.Sprintf("process %d has exited", self), f.mustLook(t))

	// Written since, the file counts, even with the same id.
	require.NoError(t, os.Chtimes(f.path, time.Time{}, again.info.ModTime().Add(time.Nanosecond)))
	require.Empty(t, f.mustLook(t))
}

func TestFollowerDropsAProcessThatTheFileNoLongerNames(t *testing.T) {
	f := newFollower(t, fmt.Sprint(os.Getpid()))
	before, err := readPIDFile(f.path)
	require.NoError(t, err)
	other, _ := startSleeper(t)
	f.write(t, fmt.Sprint(other)) // between reading and opening
	require.ErrorContains(t, f.follow(before), "is being written")
	require.Nil(t, f.proc)
	require.NoError(t, os.Remove(f.path))
	require.ErrorContains(t, f.follow(before), "is being written")
	require.Nil(t, f.proc)
}

func TestFollowerKeepsALivingProcess(t *testing.T) {
	first, endFirst := startSleeper(t)
	second, endSecond := startSleeper(t)
	gone, endGone := startSleeper(t)
	endGone()

	f := newFollower(t, fmt.Sprint(first))
	require.Empty(t, f.mustLook(t))
	for _, text := range []string{"", "garbage", fmt.Sprint(gone)} {
		f.write(t, text)
		require.Empty(t, f.mustLook(t), text)
		require.Equal(t, first, f.proc.pid)
	}
	require.NoError(t, os.Remove(f.path))
	require.Empty(t, f.mustLook(t))

	f.write(t, fmt.Sprint(second)) // both live: the file decides
	require.Empty(t, f.mustLook(t))
	require.Equal(t, second, f.proc.pid)
	endFirst()
	require.Empty(t, f.mustLook(t))

	endSecond()
	<-f.exited()
	require.Equal(t, fmt.Sprintf("process %d has exited", second), f.mustLook(t))
}

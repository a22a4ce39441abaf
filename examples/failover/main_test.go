package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"flag"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/l2vip/l2vip/internal/labprog"
	"github.com/l2vip/l2vip/internal/testnet"
)

// programEnv makes the test binary the program itself. Everything that it starts
// inherits the value.
const programEnv = "FAILOVER_TEST_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(programEnv) != "" {
		main()
		return
	}
	os.Exit(labprog.Main(roles, m.Run))
}

// The whole scenario with short phases.
func TestFailover(t *testing.T) {
	testnet.Require(t)
	for name, tc := range map[string]struct {
		family family
		server string
	}{
		"embedded": {overIPv4, "embedded"},
		"nginx":    {overIPv4, "nginx"},
		"IPv6":     {overIPv6, "embedded"},
	} {
		t.Run(name, func(t *testing.T) {
			if tc.server == "nginx" && labprog.Find("nginx") == "" {
				t.Skip("there is no nginx on this machine")
			}
			t.Cleanup(func() { goleak.VerifyNone(t) })
			timeline := filepath.Join(t.TempDir(), "timeline.svg")
			var out, log bytes.Buffer
			err := failover(t.Context(), options{
				family: tc.family, runs: 1, json: true, svg: timeline, server: tc.server, verbose: true, lasts: time.Second / 2,
			}, &out, &log)
			require.NoError(t, err, log.String())
			var doc document
			require.NoError(t, json.Unmarshal(out.Bytes(), &doc))
			require.True(t, doc.OK)
			require.Equal(t, tc.family.prefix(serviceEnd).Addr(), doc.Address)
			require.Len(t, doc.Phases, len(phases))
			for i, entry := range doc.Phases {
				require.Equal(t, phases[i].name, entry.Name)
				require.Equal(t, phases[i].fails, entry.From != entry.To, entry.Name)
				require.Positive(t, entry.Requests, entry.Name)
			}
			require.FileExists(t, timeline)
		})
	}
}

// However the program ends, nothing that it has started outlives it.
func TestNothingStays(t *testing.T) {
	testnet.Require(t)
	for name, tc := range map[string]struct {
		signal syscall.Signal
		status int
	}{
		"interrupted": {syscall.SIGINT, exitInterrupted},
		"terminated":  {syscall.SIGTERM, exitInterrupted},
		"killed":      {syscall.SIGKILL, -1},
	} {
		t.Run(name, func(t *testing.T) {
			self, err := os.Executable()
			require.NoError(t, err)
			mark := programEnv + "=" + strconv.FormatInt(time.Now().UnixNano(), 36)
			cmd := exec.Command(self)
			cmd.Env = append(os.Environ(), mark, "TMPDIR="+t.TempDir())
			cmd.Stderr = os.Stderr
			out, err := cmd.StdoutPipe()
			require.NoError(t, err)
			require.NoError(t, cmd.Start())
			defer func() { _, _ = cmd.Process.Kill(), cmd.Wait() }()
			for lines := bufio.NewScanner(out); lines.Scan(); {
				if strings.HasSuffix(lines.Text(), " leads") {
					break
				}
			}
			running := 2 + len(applications) + len(speakers()) + len(fronts) // itself and the client
			require.GreaterOrEqual(t, len(marked(t, mark)), running)
			require.NoError(t, cmd.Process.Signal(tc.signal))
			_, _ = io.Copy(io.Discard, out)
			require.Error(t, cmd.Wait())
			require.Equal(t, tc.status, cmd.ProcessState.ExitCode())
			// The kernel kills the children of a killed program; it does not
			// wait for them.
			require.Eventually(t, func() bool { return len(marked(t, mark)) == 0 }, 10*time.Second, time.Millisecond)
		})
	}
}

// The flag says the family to the programs in the nodes as well.
func TestFamilyFlag(t *testing.T) {
	for arg, want := range map[string]family{
		"-6": overIPv6, overIPv6.flag(): overIPv6, overIPv4.flag(): overIPv4, "": overIPv4,
	} {
		var f family
		flags := flag.NewFlagSet("failover", flag.ContinueOnError)
		familyFlag(flags, &f)
		require.NoError(t, flags.Parse(strings.Fields(arg)))
		require.Equal(t, want, f, arg)
	}
}

// marked lists the processes with a variable in their environment.
func marked(t *testing.T, variable string) (found []string) {
	t.Helper()
	paths, err := filepath.Glob("/proc/[0-9]*/environ")
	require.NoError(t, err)
	for _, path := range paths {
		env, err := os.ReadFile(path)
		if err == nil && bytes.Contains(env, []byte(variable)) {
			found = append(found, path)
		}
	}
	return found
}

func TestOptions(t *testing.T) {
	for args, want := range map[string]string{
		"":                                    "",
		"-runs 3 -json -svg out.svg -v":       "",
		"-server nginx":                       "",
		"-6 -server embedded":                 "",
		"-6=perhaps":                          "invalid boolean",
		"-runs 0":                             "-runs 0: at least 1",
		"-server apache":                      "-server apache: auto, nginx or embedded",
		"steady":                              `unexpected argument "steady"`,
		"-runs many":                          "invalid value",
		"-json -server embedded node-failure": `unexpected argument "node-failure"`,
	} {
		flags := flag.NewFlagSet("failover", flag.ContinueOnError)
		flags.SetOutput(io.Discard)
		_, err := parseOptions(flags, strings.Fields(args))
		if want == "" {
			require.NoError(t, err, args)
		} else {
			require.ErrorContains(t, err, want)
		}
	}
}

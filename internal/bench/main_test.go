package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/l2vip/l2vip/internal/labprog"
	"github.com/l2vip/l2vip/internal/testnet"
)

func TestMain(m *testing.M) { os.Exit(labprog.Main(roles, m.Run)) }

// A run on the wire, from the flags to the document and the picture.
func TestBench(t *testing.T) {
	testnet.Require(t)
	t.Cleanup(func() { goleak.VerifyNone(t) })
	picture := filepath.Join(t.TempDir(), "gaps.svg")
	o, err := parseOptions(flag.NewFlagSet("bench", flag.ContinueOnError),
		[]string{"-runs", "1", "-case", "app-kill", "-system", "l2vip", "-json", "-svg", picture})
	require.NoError(t, err)
	o.verbose = true
	var out, log bytes.Buffer
	require.NoError(t, bench(t.Context(), o, &out, &log), log.String())
	var doc document
	require.NoError(t, json.Unmarshal(out.Bytes(), &doc))
	require.Len(t, doc.Cases, 1)
	e := doc.Cases[0]
	require.Equal(t, "app-kill", e.Case)
	require.Equal(t, "l2vip", e.System)
	require.Equal(t, 1, e.Runs)
	require.GreaterOrEqual(t, *e.Median, 1.0)
	require.Positive(t, e.Announced)
	require.FileExists(t, picture)
}

// The costs of idle nodes are found where the kernel counts them.
func TestCost(t *testing.T) {
	testnet.Require(t)
	lab, err := testnet.NewLab()
	require.NoError(t, err)
	defer lab.Close()
	node, err := lab.AddNode("node")
	require.NoError(t, err)
	before, err := sentPackets(node)
	require.NoError(t, err)
	port, err := node.Frames()
	require.NoError(t, err)
	defer port.Close()
	for range 10 {
		frame, err := question(node.HardwareAddr, 0)
		require.NoError(t, err)
		_, err = port.WriteTo(frame, port.LocalAddr())
		require.NoError(t, err)
	}
	after, err := sentPackets(node)
	require.NoError(t, err)
	require.GreaterOrEqual(t, after-before, uint64(10))
}

func TestOptions(t *testing.T) {
	for args, want := range map[string]string{
		"": "",
		"-runs 3 -json -svg out.svg -v -minute 5s": "",
		"-case drain,port-cut -system keepalived":  "",
		"-from a.json,b.json -svg out.svg":         "",
		"-runs 0":                                  "-runs 0: at least 1",
		"-case drain,cut":                          `-case "cut": one of port-cut, silent-kernel`,
		"-system keepalivd":                        `-system "keepalivd": one of l2vip`,
		"-minute 1":                                "invalid value",
		"-minute -1s":                              "-minute -1s: more than 0",
		"-seeds 0":                                 "-seeds 0: at least 1",
		"-seed 0s":                                 "-seed 0s: more than 0",
		"drain":                                    `unexpected argument "drain"`,
	} {
		flags := flag.NewFlagSet("bench", flag.ContinueOnError)
		flags.SetOutput(io.Discard)
		_, err := parseOptions(flags, strings.Fields(args))
		if want == "" {
			require.NoError(t, err, args)
		} else {
			require.ErrorContains(t, err, want)
		}
	}
}

// What is chosen is played in the order of the tables.
func TestChoose(t *testing.T) {
	chosen, err := choose("-case", "drain,port-cut", cases)
	require.NoError(t, err)
	require.Equal(t, "port-cut, drain", names(chosen))
	all, err := choose("-case", "", cases)
	require.NoError(t, err)
	require.Len(t, all, len(cases))
	for _, name := range []string{
		"port-cut", "silent-kernel", "follower-cut", "app-kill", "app-hang", "drain",
		"speaker-kill", "node-return", "busy-minute", "paused", "loss", "idle",
		"deaf-holder", "deaf-return", "mute-holder", "membership-cut", "hung-loop",
	} {
		_, err := choose("-case", name, cases)
		require.NoError(t, err)
	}
}

// A case is played with those systems that it means something to.
func TestFits(t *testing.T) {
	fitting := func(name string) (list []system) {
		for _, s := range systems() {
			if caseNamed(t, name).fits(s) {
				list = append(list, s)
			}
		}
		return list
	}
	require.Equal(t, names(systems()), names(fitting("port-cut")))
	require.Equal(t, "l2vip, l2vip-fast, l2vip-segment, l2vip-segment-fast", names(fitting("hung-loop")))
	require.Equal(t, "l2vip, l2vip-fast", names(fitting("loss")))
	require.Equal(t, "l2vip, l2vip-fast", names(fitting("membership-cut")))
}

// What is called two minutes lasts twice as long as a minute.
func TestLasting(t *testing.T) {
	o := options{minute: time.Second}
	for name, want := range map[string]time.Duration{
		"port-cut": settles, "busy-minute": time.Second, "membership-cut": 2 * time.Second,
	} {
		require.Equal(t, want, trial{testCase: caseNamed(t, name), options: o}.lasting(), name)
	}
}

// A run with a peer that is not installed says so and goes on with the others;
// without any other it fails.
func TestMissing(t *testing.T) {
	testnet.Require(t)
	t.Setenv("PATH", t.TempDir())
	s := keepalived("keepalived", "1")
	if s.missing() == nil {
		t.Skip("keepalived is where it is looked for without a search path")
	}
	var out, log bytes.Buffer
	err := bench(t.Context(), options{runs: 1, systems: []system{s}, cases: cases[:1], minute: time.Second}, &out, &log)
	require.ErrorContains(t, err, "no system is left")
	require.Contains(t, log.String(), "keepalived is left out: keepalived is not installed")
}

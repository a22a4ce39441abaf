package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// segments is the package whose test simulates the detection of silent nodes.
const segments = "github.com/l2vip/l2vip/election/segment"

// measureRisk returns what came of the simulation of loss with the timings of the
// system. What it simulates has no door to the outside, so it is a test of its
// package, built here and run with the seeds that are wanted.
func measureRisk(ctx context.Context, t trial) (result, error) {
	dir, err := os.MkdirTemp("", "l2vip-bench-")
	if err != nil {
		return result{}, err
	}
	defer os.RemoveAll(dir)
	program := filepath.Join(dir, "simulation")
	if out, err := exec.CommandContext(ctx, "go", "test", "-c", "-o", program, segments).CombinedOutput(); err != nil {
		return result{}, fmt.Errorf("build the simulation: %w: %s", err, out)
	}
	timing := profileNamed(t.system.name).timings
	out, err := exec.CommandContext(ctx, program, "-test.run", "^TestLoss$", "-test.v", "-test.timeout", "0",
		"-seeds", strconv.Itoa(t.seeds), "-lasts", t.seed.String(), "-beat", timing.Beat.String(), "-misses", strconv.Itoa(timing.Misses)).CombinedOutput()
	r, parseErr := parseRisk(out)
	if parseErr != nil {
		return result{}, errors.Join(err, parseErr)
	}
	r.Seeds = t.seeds
	return r, nil // the test fails if there are takeovers, which are counted
}

// parseRisk returns what the test says in its attributes.
func parseRisk(out []byte) (r result, err error) {
	missing := map[string]*int{"beats": &r.Beats, "suspicions": &r.Suspicions, "takeovers": &r.Takeovers}
	for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) != 5 || !slices.Equal(fields[:3], []string{"===", "ATTR", "TestLoss"}) || missing[fields[3]] == nil {
			continue
		}
		if *missing[fields[3]], err = strconv.Atoi(fields[4]); err != nil {
			return result{}, err
		}
		delete(missing, fields[3])
	}
	if len(missing) > 0 {
		return result{}, fmt.Errorf("the simulation does not say what came of it: %s", out)
	}
	return r, nil
}

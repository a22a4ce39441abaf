package main

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"io"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// phaseNamed returns a phase of the scenario.
func phaseNamed(t *testing.T, name string) phase {
	t.Helper()
	for _, ph := range phases {
		if ph.name == name {
			return ph
		}
	}
	require.Fail(t, "no such phase", name)
	return phase{}
}

// sample is a run of three phases, and what the client saw.
func sample(t *testing.T) ([]request, []outcome) {
	t.Helper()
	requests := sent("1111" + "1--00" + "0000")
	outcomes := []outcome{
		{run: 1, phase: phaseNamed(t, "steady"), from: "front-1", first: 0},
		{run: 1, phase: phaseNamed(t, "app-failure"), from: "front-1", first: 4},
		{run: 1, phase: phaseNamed(t, "app-return"), from: "front-0", first: 9},
	}
	for i, end := range []int{4, 9, 13} {
		outcomes[i].look(requests[:end])
	}
	return requests, outcomes
}

func TestOutcome(t *testing.T) {
	_, outcomes := sample(t)
	for _, o := range outcomes {
		require.True(t, o.ok(), o.phase.name)
	}
	failure := outcomes[1]
	failure.phase = phase{} // has functions, which can't be compared
	require.Equal(t, outcome{
		run: 1, from: "front-1", to: "front-0", first: 4, end: 9,
		requests: 5, failed: 2, longest: 15 * ms, paused: 5 * ms, moved: true,
	}, failure)
}

func TestVerdict(t *testing.T) {
	fails, returns := phaseNamed(t, "drain"), phaseNamed(t, "node-return")
	for name, tc := range map[string]struct {
		phase phase
		line  string
		ok    bool
	}{
		"taken over":     {fails, "1-0", true},
		"stays":          {fails, "1-1", false},
		"never again":    {fails, "---", false},
		"by the worker":  {fails, "1-9", false},
		"nothing moves":  {returns, "111", true},
		"one failed":     {returns, "1-1", true},
		"moves":          {returns, "100", false},
		"moves and back": {returns, "101", false},
	} {
		t.Run(name, func(t *testing.T) {
			o := outcome{phase: tc.phase, from: "front-1"}
			o.look(sent(tc.line))
			require.Equal(t, tc.ok, o.ok())
		})
	}
}

func TestTable(t *testing.T) {
	_, outcomes := sample(t)
	var out strings.Builder
	printRuns(&out, outcomes, 1)
	require.Equal(t, `
phase           from      to        requests  failed  longest gap
steady          front-1   front-1          4       0       5.0 ms
app-failure     front-1   front-0          5       2      15.0 ms
app-return      front-0   front-0          4       0       5.0 ms
`, out.String())
}

func TestTableOfSeveralRuns(t *testing.T) {
	_, outcomes := sample(t)
	outcomes = append(outcomes, outcome{run: 2, phase: outcomes[1].phase, from: "front-0", requests: 7, failed: 5, longest: 30 * ms})
	var out strings.Builder
	printRuns(&out, outcomes, 2)
	require.Equal(t, `
run 1 of 2
phase           from      to        requests  failed  longest gap
steady          front-1   front-1          4       0       5.0 ms
app-failure     front-1   front-0          5       2      15.0 ms
app-return      front-0   front-0          4       0       5.0 ms

run 2 of 2
phase           from      to        requests  failed  longest gap
app-failure     front-0   -                7       5      30.0 ms  ← no other front has taken over

phase            runs  requests  failed   median gap    worst gap
steady              1         4       0       5.0 ms       5.0 ms
app-failure         2        12       7      22.5 ms      30.0 ms
app-return          1         4       0       5.0 ms       5.0 ms
`, out.String())
}

func TestMedian(t *testing.T) {
	require.Equal(t, 3*ms, median([]time.Duration{9 * ms, 1 * ms, 3 * ms}))
	require.Equal(t, 2*ms, median([]time.Duration{3 * ms, 1 * ms}))
}

func TestJSON(t *testing.T) {
	_, outcomes := sample(t)
	vip := netip.MustParseAddr("192.168.122.100")
	var out bytes.Buffer
	require.NoError(t, report(vip, outcomes[1:2], 1, true).print(&out))
	require.JSONEq(t, `{"address":"192.168.122.100","phases":[
		{"name":"app-failure","from":"front-1","to":"front-0","requests":5,"failed":2,"longest_gap_ms":15}
	],"ok":true}`, out.String())

	out.Reset()
	require.NoError(t, report(vip, nil, 1, false).print(&out))
	require.JSONEq(t, `{"address":"192.168.122.100","phases":[],"ok":false}`, out.String())

	doc := report(vip, append(outcomes, outcomes...), 2, true)
	require.Len(t, doc.Phases, 6)
	require.Equal(t, 1, doc.Phases[0].Run)
	require.Equal(t, summaryEntry{Name: "app-failure", Runs: 2, Requests: 10, Failed: 4, MedianGap: 15, WorstGap: 15}, doc.Summary[1])
	require.True(t, json.Valid(must(json.Marshal(doc))))
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestTimeline(t *testing.T) {
	requests, outcomes := sample(t)
	for name, outcomes := range map[string][]outcome{"phases": outcomes, "nothing": nil} {
		t.Run(name, func(t *testing.T) {
			var out strings.Builder
			require.NoError(t, drawTimeline(&out, `<"&'>`, requests, outcomes))
			for decoder := xml.NewDecoder(strings.NewReader(out.String())); ; {
				_, err := decoder.Token()
				if err == io.EOF {
					break
				}
				require.NoError(t, err)
			}
			for _, o := range outcomes {
				require.Contains(t, out.String(), ">"+o.phase.name+"<")
			}
			if outcomes != nil {
				require.Contains(t, out.String(), ">15.0 ms, 2 failed<")
				require.Equal(t, 1, strings.Count(out.String(), frontColours[0]))
				require.Equal(t, 1, strings.Count(out.String(), frontColours[1]))
			}
		})
	}
}

func TestDisplay(t *testing.T) {
	requests := sent(strings.Repeat("1", 205) + strings.Repeat("-", 15) + strings.Repeat("0", 190))
	b := newBoard()
	for _, r := range requests {
		b.add(r)
	}
	var out strings.Builder
	d := &display{out: &out, board: b}
	d.skip(100)
	d.strip(len(requests), true)
	require.Equal(t, "    0.50s  ██████████▄_████████  front-1 → front-0\n", out.String())
	out.Reset()
	d.strip(len(requests), false)
	require.Equal(t, "    1.50s  ███████████  front-0\n", out.String())
	d.colour = true
	require.Equal(t, "\x1b[31m_\x1b[0m", d.cells(sent("---")))
}

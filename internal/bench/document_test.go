package main

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestJSON(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, sample(t).printJSON(&out, 2))
	require.JSONEq(t, `{"cases":[
		{"case":"port-cut","system":"l2vip","runs":3,"median_ms":12,"worst_ms":16,"lost":36,"ratios":{"keepalived-10ms":0.33},"announced_ms":11.5,"each":[
			{"gap_ns":12000000,"lost":11,"announced_ns":11500000},{"gap_ns":16000000,"lost":15,"announced_ns":15500000},{"gap_ns":11000000,"lost":10,"announced_ns":10500000}]},
		{"case":"port-cut","system":"keepalived-10ms","runs":3,"median_ms":36,"worst_ms":48,"lost":114,"each":[
			{"gap_ns":36000000,"lost":35,"announced_ns":-1},{"gap_ns":48000000,"lost":47,"announced_ns":-1},{"gap_ns":33000000,"lost":32,"announced_ns":-1}]},
		{"case":"paused","system":"l2vip","runs":1,"median_ms":1,"worst_ms":1,"lost":0,"takeovers":1,"unanswered_requests":0,"stray_answers":0,"each":[{"gap_ns":1000000,"takeovers":1}]},
		{"case":"paused","system":"keepalived-10ms","runs":1,"median_ms":1,"worst_ms":1,"lost":0,"takeovers":3,"unanswered_requests":0,"stray_answers":4,"failed":1,"each":[{"gap_ns":1000000,"takeovers":3,"stray_answers":4}]},
		{"case":"mute-holder","system":"l2vip","runs":1,"median_ms":12,"worst_ms":12,"lost":11,"announced_ms":11,"takeovers":2,"two_holders":1,"failed":1,"each":[
			{"gap_ns":12000000,"lost":11,"announced_ns":11000000,"takeovers":2,"two_holders":1}]},
		{"case":"loss","system":"l2vip","runs":1,"takeovers":0,"seeds":100,"beats":3000000,"suspicions":2,"each":[{"seeds":100,"beats":3000000,"suspicions":2}]},
		{"case":"idle","system":"l2vip","runs":1,"cpu_ms_per_second":20.12,"packets_per_second":96.66,"each":[{"cpu_ms_per_second":20.123,"packets_per_second":96.66}]}
	],"processors":2}`, out.String())
	out.Reset()
	require.NoError(t, results(nil).printJSON(&out, 2))
	require.JSONEq(t, `{"cases":[],"processors":2}`, out.String())
}

// The document is read by machines: what it is made of must be there even if it is 0.
func TestZeroIsSaid(t *testing.T) {
	var all results
	all.add(caseNamed(t, "busy-minute"), systems()[0], result{Announced: -1}, nil)
	text, err := json.Marshal(all.entry(all[0]))
	require.NoError(t, err)
	for _, field := range []string{`"lost":0`, `"takeovers":0`, `"unanswered_requests":0`, `"median_ms":0`} {
		require.Contains(t, string(text), field)
	}
	all.add(caseNamed(t, "hung-loop"), systems()[0], result{Announced: -1}, nil)
	text, err = json.Marshal(all.entry(all[1]))
	require.NoError(t, err)
	require.Contains(t, string(text), `"two_holders":0`)
}

// saved writes a document to a file.
func saved(t *testing.T, all results, processors int) (path string) {
	t.Helper()
	var out bytes.Buffer
	require.NoError(t, all.printJSON(&out, processors))
	path = filepath.Join(t.TempDir(), "results.json")
	require.NoError(t, os.WriteFile(path, out.Bytes(), 0o600))
	return path
}

// What was printed is read again, and printed as it was.
func TestFrom(t *testing.T) {
	all := sample(t)
	var want, out bytes.Buffer
	for _, c := range all.cases() {
		all.printCase(&want, c)
	}
	all.printMarkdown(&want, 7)
	require.NoError(t, bench(t.Context(), options{from: []string{saved(t, all, 7)}, cases: cases, systems: systems()}, &out, io.Discard))
	require.Equal(t, want.String(), out.String())

	// Runs in several documents are as good as in one, in the order of the tables.
	var first, second results
	ours, peer, cut := systems()[0], systemNamed(t, "keepalived-10ms"), caseNamed(t, "port-cut")
	first.add(caseNamed(t, "drain"), ours, result{Gap: ms}, nil)
	first.add(cut, peer, result{Gap: 40 * ms, Lost: 39}, nil)
	second.add(cut, ours, result{Gap: 10 * ms, Lost: 9}, nil)
	second.add(cut, peer, result{Gap: 60 * ms, Lost: 59}, nil)
	o := options{from: []string{saved(t, first, 2), saved(t, second, 2)}, cases: cases, systems: systems()}
	joined, processors, err := readResults(o)
	require.NoError(t, err)
	require.Equal(t, 2, processors)
	require.Len(t, joined, 3)
	e := joined.entry(joined[0])
	require.Equal(t, map[string]float64{"keepalived-10ms": 0.2}, e.Ratios)
	e = joined.entry(joined[1])
	require.Equal(t, "keepalived-10ms", e.System)
	require.Equal(t, 2, e.Runs)
	require.Equal(t, 50.0, *e.Median)
	require.Equal(t, 60.0, *e.Worst)
	require.Equal(t, 98, *e.Lost)
	require.Equal(t, "drain", joined[2].testCase.name)

	o.cases = cases[:1]
	joined, _, err = readResults(o)
	require.NoError(t, err)
	require.Len(t, joined, 2)

	o.from = append(o.from, saved(t, first, 4))
	_, _, err = readResults(o)
	require.ErrorContains(t, err, "measured with 4 processors, what comes before it with 2")
}

// What is not a document of this bench is refused.
func TestFromWhat(t *testing.T) {
	for text, want := range map[string]string{
		"{": "unexpected end",
		`{"cases":[{"case":"cut","system":"l2vip"}]}`:              `case "cut": one of port-cut`,
		`{"cases":[{"case":"drain","system":"us"}]}`:               `system "us": one of l2vip`,
		`{"cases":[{"case":"drain","system":"l2vip","runs":2}]}`:   "drain with l2vip has 2 runs and tells of 0",
		`{"cases":[{"case":"drain","system":"l2vip","failed":2}]}`: "",
		`{"cases":[{"case":"drain","system":"l2vip","runs":[1]}]}`: "cannot unmarshal",
	} {
		path := filepath.Join(t.TempDir(), "results.json")
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		_, _, err := readResults(options{from: []string{path}, cases: cases, systems: systems()})
		if want == "" {
			require.NoError(t, err, text)
			continue
		}
		require.ErrorContains(t, err, path+": ")
		require.ErrorContains(t, err, want)
	}
	_, _, err := readResults(options{from: []string{"/nowhere"}})
	require.ErrorIs(t, err, os.ErrNotExist)
}

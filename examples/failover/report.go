package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"time"
)

// document is what -json prints.
type document struct {
	Address netip.Addr   `json:"address"`
	Phases  []phaseEntry `json:"phases"`
	// Summary says more about several runs.
	Summary []summaryEntry `json:"summary,omitempty"`
	OK      bool           `json:"ok"`
}

type phaseEntry struct {
	Run        int     `json:"run,omitempty"` // of several, from 1
	Name       string  `json:"name"`
	From       string  `json:"from"`
	To         string  `json:"to"`
	Requests   int     `json:"requests"`
	Failed     int     `json:"failed"`
	LongestGap float64 `json:"longest_gap_ms"`
}

type summaryEntry struct {
	Name      string  `json:"name"`
	Runs      int     `json:"runs"`
	Requests  int     `json:"requests"`
	Failed    int     `json:"failed"`
	MedianGap float64 `json:"median_gap_ms"`
	WorstGap  float64 `json:"worst_gap_ms"`
}

// report is what -json prints, of runs that were asked for.
func report(vip netip.Addr, outcomes []outcome, runs int, ok bool) document {
	doc := document{Address: vip, Phases: []phaseEntry{}, OK: ok}
	for _, o := range outcomes {
		entry := phaseEntry{
			Name: o.phase.name, From: o.from, To: o.to,
			Requests: o.requests, Failed: o.failed, LongestGap: milliseconds(o.longest),
		}
		if runs > 1 {
			entry.Run = o.run
		}
		doc.Phases = append(doc.Phases, entry)
	}
	if runs > 1 {
		doc.Summary = summarize(outcomes)
	}
	return doc
}

// print writes the document.
func (d document) print(w io.Writer) error {
	out := json.NewEncoder(w)
	out.SetIndent("", "  ")
	return out.Encode(d)
}

// summarize joins the outcomes of each phase, in the order of the phases.
func summarize(outcomes []outcome) []summaryEntry {
	var all []summaryEntry
	for _, ph := range phases {
		var gaps []time.Duration
		s := summaryEntry{Name: ph.name}
		for _, o := range outcomes {
			if o.phase.name == ph.name {
				gaps = append(gaps, o.longest)
				s.Requests += o.requests
				s.Failed += o.failed
			}
		}
		if s.Runs = len(gaps); s.Runs > 0 {
			s.MedianGap, s.WorstGap = milliseconds(median(gaps)), milliseconds(slices.Max(gaps))
			all = append(all, s)
		}
	}
	return all
}

// median returns the middle of the durations, or the mean of the two middle
// ones.
func median(all []time.Duration) time.Duration {
	all = slices.SortedFunc(slices.Values(all), cmp.Compare[time.Duration])
	return (all[(len(all)-1)/2] + all[len(all)/2]) / 2
}

// milliseconds rounds to a tenth of one.
func milliseconds(d time.Duration) float64 {
	return float64(d.Round(100*time.Microsecond)) / float64(time.Millisecond)
}

// printRuns prints a table of each run, and for several what they have in
// common.
func printRuns(w io.Writer, outcomes []outcome, runs int) {
	for _, run := range byRun(outcomes) {
		fmt.Fprintln(w)
		if runs > 1 {
			fmt.Fprintf(w, "run %d of %d\n", run[0].run, runs)
		}
		printTable(w, run)
	}
	if runs > 1 {
		fmt.Fprintln(w)
		printSummary(w, outcomes)
	}
}

// byRun splits the outcomes into those of each run.
func byRun(outcomes []outcome) [][]outcome {
	var runs [][]outcome
	for i, o := range outcomes {
		if i == 0 || o.run != outcomes[i-1].run {
			runs = append(runs, nil)
		}
		runs[len(runs)-1] = append(runs[len(runs)-1], o)
	}
	return runs
}

// printTable prints a table of outcomes, and marks those that are not ok.
func printTable(w io.Writer, outcomes []outcome) {
	fmt.Fprintf(w, "%-14s  %-8s  %-8s  %8s  %6s  %11s\n", "phase", "from", "to", "requests", "failed", "longest gap")
	for _, o := range outcomes {
		fmt.Fprintf(w, "%-14s  %-8s  %-8s  %8d  %6d  %8.1f ms",
			o.phase.name, cmp.Or(o.from, "-"), cmp.Or(o.to, "-"), o.requests, o.failed, milliseconds(o.longest))
		if !o.ok() {
			fmt.Fprintf(w, "  ← %s", o.verdict())
		} else if o.paused >= 4*every && o.paused > o.longest/2 {
			fmt.Fprintf(w, "  ← the busy machine held the client up for %.1f ms", milliseconds(o.paused))
		}
		fmt.Fprintln(w)
	}
}

// verdict says what is wrong with an outcome that is not ok.
func (o outcome) verdict() string {
	if o.phase.fails {
		return "no other front has taken over"
	}
	return "the address has moved"
}

// printSummary prints what several runs have in common.
func printSummary(w io.Writer, outcomes []outcome) {
	fmt.Fprintf(w, "%-14s  %5s  %8s  %6s  %11s  %11s\n", "phase", "runs", "requests", "failed", "median gap", "worst gap")
	for _, s := range summarize(outcomes) {
		fmt.Fprintf(w, "%-14s  %5d  %8d  %6d  %8.1f ms  %8.1f ms\n", s.Name, s.Runs, s.Requests, s.Failed, s.MedianGap, s.WorstGap)
	}
}

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"
)

// document is what -json prints, and -from reads.
type document struct {
	Cases      []entry `json:"cases"`
	Processors int     `json:"processors"` // of the machine
}

// entry is a series in a document. What a case does not measure is left out.
type entry struct {
	Case   string `json:"case"`
	System string `json:"system"`
	Runs   int    `json:"runs"` // those that have measured something
	// The longest gap of each run: the median of all runs, and the worst.
	Median *float64 `json:"median_ms,omitempty"`
	Worst  *float64 `json:"worst_ms,omitempty"`
	// Lost is how many datagrams were not answered from what happened until it was
	// over, in all runs together.
	Lost *int `json:"lost,omitempty"`
	// Ratios are the median in relation to that of each peer in the same case: 0.25
	// is a quarter of its gap. Only ours have them, where gaps are what matters.
	Ratios map[string]float64 `json:"ratios,omitempty"`
	// Announced is the median of when another node announced the address.
	Announced float64 `json:"announced_ms,omitempty"`
	// What is counted, in all runs.
	Takeovers  *int `json:"takeovers,omitempty"`
	Unanswered *int `json:"unanswered_requests,omitempty"`
	Strays     *int `json:"stray_answers,omitempty"`
	// TwoHolders is how many questions two nodes have answered.
	TwoHolders *int `json:"two_holders,omitempty"`
	// What was simulated.
	Seeds      int  `json:"seeds,omitempty"`
	Beats      *int `json:"beats,omitempty"`
	Suspicions *int `json:"suspicions,omitempty"`
	// The costs of all nodes together.
	CPU     *float64 `json:"cpu_ms_per_second,omitempty"`
	Packets *float64 `json:"packets_per_second,omitempty"`
	// Late is the longest pause of the client itself.
	Late float64 `json:"client_late_ms,omitempty"`
	// Failed is how many runs did not end as they must, or not even began.
	Failed int `json:"failed,omitempty"`
	// Each are the runs. All else follows from them and those of the peers, but for
	// Failed.
	Each []result `json:"each,omitempty"`
}

// entry returns the series for the document.
func (all results) entry(s *series) entry {
	e := entry{Case: s.testCase.name, System: s.system.name, Runs: len(s.runs), Failed: s.failed, Each: s.runs}
	if len(s.runs) == 0 {
		return e
	}
	switch s.testCase.figures {
	case costs:
		e.CPU = new(round(median(collect(s.runs, func(r result) float64 { return r.CPU }))))
		e.Packets = new(round(median(collect(s.runs, func(r result) float64 { return r.Packets }))))
		return e
	case risks:
		e.Seeds = s.sum(func(r result) int { return r.Seeds })
		e.Beats = new(s.sum(func(r result) int { return r.Beats }))
		e.Suspicions = new(s.sum(func(r result) int { return r.Suspicions }))
		e.Takeovers = new(s.sum(func(r result) int { return r.Takeovers }))
		return e
	}
	e.Median, e.Worst = new(milliseconds(median(s.gaps()))), new(milliseconds(slices.Max(s.gaps())))
	e.Lost = new(s.sum(func(r result) int { return r.Lost }))
	e.Announced = milliseconds(s.announced())
	e.Late = milliseconds(slices.Max(collect(s.runs, func(r result) time.Duration { return r.Late })))
	for _, name := range all.peers() {
		if ratio, ok := all.ratio(s, all.find(s.testCase.name, name)); ok {
			if e.Ratios == nil {
				e.Ratios = make(map[string]float64)
			}
			e.Ratios[name] = round(ratio)
		}
	}
	if s.testCase.figures == counts {
		e.Takeovers = new(s.sum(func(r result) int { return r.Takeovers }))
		e.Unanswered = new(s.sum(func(r result) int { return r.Unanswered }))
		e.Strays = new(s.sum(func(r result) int { return r.Strays }))
	}
	if s.testCase.figures == holders {
		e.Takeovers = new(s.sum(func(r result) int { return r.Takeovers }))
		e.TwoHolders = new(s.sum(func(r result) int { return r.TwoHolders }))
	}
	return e
}

// printJSON writes all series as a document, measured with so many processors.
func (all results) printJSON(w io.Writer, processors int) error {
	doc := document{Cases: []entry{}, Processors: processors}
	for _, s := range all {
		doc.Cases = append(doc.Cases, all.entry(s))
	}
	out := json.NewEncoder(w)
	out.SetIndent("", "  ")
	return out.Encode(doc)
}

// readResults reads documents, and returns the runs in them of the cases and systems that
// are asked for, in the order of the tables, and with how many processors they
// were measured.
func readResults(o options) (all results, processors int, err error) {
	var entries []entry
	for _, path := range o.from {
		doc, err := readDocument(path)
		if err != nil {
			return nil, 0, fmt.Errorf("%s: %w", path, err)
		}
		if processors != 0 && doc.Processors != processors {
			return nil, 0, fmt.Errorf("%s: measured with %s, what comes before it with %d", path, plural(doc.Processors, "processor"), processors)
		}
		processors = doc.Processors
		entries = append(entries, doc.Cases...)
	}
	for _, c := range o.cases {
		for _, s := range o.systems {
			for _, e := range entries {
				if e.Case == c.name && e.System == s.name {
					all.join(c, s, e)
				}
			}
		}
	}
	return all, processors, nil
}

// readDocument reads a document, and looks whether it is what this program has
// printed.
func readDocument(path string) (document, error) {
	var doc document
	text, err := os.ReadFile(path)
	if err != nil {
		return doc, err
	}
	if err := json.Unmarshal(text, &doc); err != nil {
		return doc, err
	}
	for _, e := range doc.Cases {
		_, unknown := choose("case", e.Case, cases)
		_, unknownSystem := choose("system", e.System, systems())
		if err := errors.Join(unknown, unknownSystem); err != nil {
			return doc, err
		}
		if len(e.Each) != e.Runs {
			return doc, fmt.Errorf("%s with %s has %s and tells of %d", e.Case, e.System, plural(e.Runs, "run"), len(e.Each))
		}
	}
	return doc, nil
}

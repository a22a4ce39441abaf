package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// series is what came of all runs of a case with a system.
type series struct {
	testCase testCase
	system   system
	runs     []result
	failed   int // how many did not end as they must, or not even began
}

// results are all series, in the order in which they were begun.
type results []*series

// add adds a run, which failed if there is an error. What a failed run has not
// measured does not count.
func (all *results) add(c testCase, s system, r result, err error) {
	of := all.begin(c, s)
	if err != nil {
		of.failed++
	}
	if err == nil || r != (result{}) {
		of.runs = append(of.runs, r)
	}
}

// join adds the runs of a series in a document.
func (all *results) join(c testCase, s system, e entry) {
	of := all.begin(c, s)
	of.runs = append(of.runs, e.Each...)
	of.failed += e.Failed
}

// begin returns the series of a case with a system, a new one if there is none.
func (all *results) begin(c testCase, s system) *series {
	of := all.find(c.name, s.name)
	if of == nil {
		of = &series{testCase: c, system: s}
		*all = append(*all, of)
	}
	return of
}

// find returns the series of a case with a system, or nil.
func (all results) find(caseName, systemName string) *series {
	for _, s := range all {
		if s.testCase.name == caseName && s.system.name == systemName {
			return s
		}
	}
	return nil
}

// gaps returns the gaps of all runs.
func (s *series) gaps() []time.Duration {
	return collect(s.runs, func(r result) time.Duration { return r.Gap })
}

// sum adds up what each run counts.
func (s *series) sum(count func(result) int) int {
	n := 0
	for _, r := range s.runs {
		n += count(r)
	}
	return n
}

// collect takes the same thing of each run.
func collect[T any](runs []result, take func(result) T) []T {
	var list []T
	for _, r := range runs {
		list = append(list, take(r))
	}
	return list
}

// median returns the middle of the values, or the mean of the two middle ones; 0
// of none.
func median[T time.Duration | float64](all []T) T {
	if len(all) == 0 {
		return 0
	}
	all = slices.Sorted(slices.Values(all))
	return (all[(len(all)-1)/2] + all[len(all)/2]) / 2
}

// announced returns the median of when another node announced the address, over
// the runs in which one did; 0 if there are none.
func (s *series) announced() time.Duration {
	times := collect(s.runs, func(r result) time.Duration { return r.Announced })
	return median(slices.DeleteFunc(times, func(d time.Duration) bool { return d < 0 }))
}

// ratio is the median gap of ours in relation to that of a peer; false if there
// is nothing to compare.
func (all results) ratio(s, peer *series) (float64, bool) {
	if peer == nil || s.system.peer || !peer.system.peer || !s.testCase.figures.compared() || len(s.runs) == 0 || len(peer.runs) == 0 {
		return 0, false
	}
	of := median(peer.gaps())
	return float64(median(s.gaps())) / float64(of), of > 0
}

// gap tells that gaps are measured, whether they matter or not.
func (f figures) gap() bool { return f.compared() || f == counts }

// compared tells that gaps are what matters, and are compared with those of the peers.
func (f figures) compared() bool { return f == gaps || f == holders }

// peers are the systems that ours is compared with, of those measured.
func (all results) peers() []string {
	var list []string
	for _, s := range all {
		if s.system.peer && !slices.Contains(list, s.system.name) {
			list = append(list, s.system.name)
		}
	}
	return list
}

// printCase prints a table of all systems in a case.
func (all results) printCase(w io.Writer, c testCase) {
	fmt.Fprintf(w, "\n%s: %s\n", c.name, c.says)
	peers := all.peers()
	fmt.Fprintf(w, "%-18s  %4s", "system", "runs")
	switch c.figures {
	case costs:
		fmt.Fprintf(w, "  %12s  %9s\n", "CPU ms/s", "packets/s")
	case risks:
		fmt.Fprintf(w, "  %9s  %12s  %10s  %9s\n", "seeds", "beats", "suspicions", "takeovers")
	default:
		fmt.Fprintf(w, "  %9s  %9s  %9s  %6s", "median", "worst", "announced", "lost")
		if c.figures == counts {
			peers = nil // their gaps are not what matters
			fmt.Fprintf(w, "  %9s  %10s  %6s", "takeovers", "unanswered", "strays")
		}
		if c.figures == holders {
			fmt.Fprintf(w, "  %9s  %11s", "takeovers", "two holders")
		}
		for _, peer := range peers {
			fmt.Fprintf(w, "  %*s", len("of "+peer), "of "+peer)
		}
		fmt.Fprintln(w)
	}
	for _, s := range all {
		if s.testCase.name == c.name {
			all.printRow(w, s, peers)
		}
	}
}

func (all results) printRow(w io.Writer, s *series, peers []string) {
	e := all.entry(s)
	fmt.Fprintf(w, "%-18s  %4d", e.System, e.Runs)
	switch {
	case e.CPU != nil:
		fmt.Fprintf(w, "  %12.2f  %9.1f", *e.CPU, *e.Packets)
	case e.Beats != nil:
		fmt.Fprintf(w, "  %9d  %12d  %10d  %9d", e.Seeds, *e.Beats, *e.Suspicions, *e.Takeovers)
	case e.Median != nil:
		fmt.Fprintf(w, "  %9.1f  %9.1f  %9s  %6d", *e.Median, *e.Worst, orDash(e.Announced), *e.Lost)
		switch {
		case e.TwoHolders != nil:
			fmt.Fprintf(w, "  %9d  %11d", *e.Takeovers, *e.TwoHolders)
		case e.Takeovers != nil:
			fmt.Fprintf(w, "  %9d  %10d  %6d", *e.Takeovers, *e.Unanswered, *e.Strays)
		}
		for _, peer := range peers {
			fmt.Fprintf(w, "  %*s", len("of "+peer), orDash(e.Ratios[peer]))
		}
		if e.Late > tooLate && e.Late > *e.Worst/2 {
			fmt.Fprintf(w, "  ← the busy machine held the client up for %.1f ms", e.Late)
		}
	}
	if e.Failed > 0 {
		fmt.Fprintf(w, "  ← %d failed", e.Failed)
	}
	fmt.Fprintln(w)
}

// tooLate is what the client may be late by, in milliseconds, before that is
// worth a word.
const tooLate = 3.0

// orDash is a number, or a dash for nothing.
func orDash(f float64) string {
	if f == 0 {
		return "–"
	}
	return fmt.Sprint(f)
}

// cases returns the cases, in the order in which they were begun.
func (all results) cases() []testCase {
	var list []testCase
	for _, s := range all {
		if !slices.ContainsFunc(list, func(c testCase) bool { return c.name == s.testCase.name }) {
			list = append(list, s.testCase)
		}
	}
	return list
}

// printMarkdown prints one table of everything, for a text, measured with so many
// processors.
func (all results) printMarkdown(w io.Writer, processors int) {
	var systems []string
	for _, s := range all {
		if !slices.Contains(systems, s.system.name) {
			systems = append(systems, s.system.name)
		}
	}
	fmt.Fprintf(w, "\nThe longest gap in milliseconds, median (worst), and the datagrams lost in a run; %s.\n\n", plural(processors, "processor"))
	fmt.Fprintf(w, "| what happens | %s |\n|---|%s\n", strings.Join(systems, " | "), strings.Repeat("---|", len(systems)))
	for _, c := range all.cases() {
		fmt.Fprintf(w, "| %s (`%s`) |", c.says, c.name)
		for _, name := range systems {
			fmt.Fprintf(w, " %s |", all.cell(all.find(c.name, name)))
		}
		fmt.Fprintln(w)
	}
}

// cell is a series in the table for a text.
func (all results) cell(s *series) string {
	if s == nil || len(s.runs) == 0 {
		return "–"
	}
	e := all.entry(s)
	var text string
	switch {
	case e.CPU != nil:
		return fmt.Sprintf("%.1f ms of CPU and %.0f packets a second", *e.CPU, *e.Packets)
	case e.Beats != nil:
		return fmt.Sprintf("%s in %d simulated beats", plural(*e.Takeovers, "takeover"), *e.Beats)
	case e.TwoHolders != nil:
		text = fmt.Sprintf("%.1f (%.1f), %s, %s with two holders", *e.Median, *e.Worst, plural(*e.Takeovers, "takeover"), plural(*e.TwoHolders, "moment"))
	case e.Takeovers != nil:
		text = fmt.Sprintf("%s, %s unanswered, %s answered by another", plural(*e.Takeovers, "takeover"), plural(*e.Unanswered, "question"), plural(*e.Strays, "question"))
	default:
		text = fmt.Sprintf("%.1f (%.1f), %.0f lost", *e.Median, *e.Worst, median(collect(s.runs, func(r result) float64 { return float64(r.Lost) })))
	}
	if e.Failed > 0 {
		text += fmt.Sprintf(", %d failed", e.Failed)
	}
	return text
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// describe says in a line what came of a run.
func (r result) describe(c testCase, err error) string {
	var text string
	switch {
	case r == result{} && err != nil:
		return err.Error()
	case c.figures == risks:
		text = fmt.Sprintf("%s, %s in %d beats", plural(r.Takeovers, "takeover"), plural(r.Suspicions, "suspicion"), r.Beats)
	case c.figures == costs:
		text = fmt.Sprintf("%.2f ms of CPU and %.1f packets a second", r.CPU, r.Packets)
	default:
		text = fmt.Sprintf("%.1f ms, %d lost", milliseconds(r.Gap), r.Lost)
		if r.Announced >= 0 {
			text += fmt.Sprintf(", announced after %.1f ms", milliseconds(r.Announced))
		}
		if c.figures == holders {
			text += fmt.Sprintf(", %s, %s with two holders", plural(r.Takeovers, "takeover"), plural(r.TwoHolders, "moment"))
		} else if c.moves && r.Takeovers > 1 {
			text += fmt.Sprintf(", %d takeovers", r.Takeovers)
		}
		if c.figures == counts {
			text += fmt.Sprintf(", %s, %d unanswered, %d strays", plural(r.Takeovers, "takeover"), r.Unanswered, r.Strays)
		}
	}
	if err != nil {
		text += ": " + err.Error()
	}
	return text
}

// milliseconds rounds to a tenth of one.
func milliseconds(d time.Duration) float64 {
	return float64(d.Round(100*time.Microsecond)) / float64(time.Millisecond)
}

// round rounds to three digits that count, more or less: ratios of a thousandth
// are still told apart.
func round(f float64) float64 {
	precision := 100.0
	if f < 0.1 {
		precision = 10000
	}
	return float64(int(f*precision+0.5)) / precision
}

package main

import (
	"errors"
	"fmt"
	"html"
	"io"
	"math"
	"os"
	"slices"
	"strings"
	"time"
)

// The measures of the picture, in pixels. A forge shows a document about as wide.
const (
	svgWidth  = 880
	svgMargin = 20
	svgLeft   = 310 // where the axis begins
	svgAxis   = 440 // how long it is; what is behind it are the longest bars' figures
	svgTop    = 112 // of the first case
	svgBottom = 30
	svgRow    = 17 // of a system
	svgBar    = 11
	svgPad    = 9  // above and below the rows of a case
	svgLine   = 14 // of text
	svgWrap   = 30 // characters of text beside the names of the systems
)

// A picture lies on paper of its own, so that it can be read wherever it is shown.
// The colours are those of a light page; for a dark one a style replaces them, for
// viewers that take note of it.
var colours = []struct{ name, light, dark string }{
	{"paper", "#ffffff", "#0d1117"},
	{"band", "#f4f6f8", "#161b22"},
	{"grid", "#dfe4e9", "#2b3138"},
	{"ink", "#1f2328", "#e6edf3"},
	{"faint", "#59636e", "#9aa4ae"},
	{"ours", "#2aa287", "#2f9e83"},
	{"ours-worst", "#0c5a48", "#8fe3cb"},
	{"peer", "#b3bcc5", "#5f6974"},
	{"peer-worst", "#5b6570", "#c0c8d0"},
}

// picture is an SVG under construction.
type picture struct {
	strings.Builder
	decades float64 // that the axis spans, from a millisecond on
}

// writePicture draws the gaps to a file; see drawPicture.
func writePicture(path string, all results) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(drawPicture(file, all), file.Close())
}

// drawPicture writes the gaps of all cases as an SVG: for each system a bar to the
// median, and a line from there to the worst.
func drawPicture(w io.Writer, all results) error {
	all = slices.DeleteFunc(slices.Clone(all), func(s *series) bool { return !s.testCase.figures.gap() || len(s.runs) == 0 })
	var groups []results
	height, longest := float64(svgTop), 10*time.Millisecond
	for i, s := range all {
		if i == 0 || s.testCase.name != all[i-1].testCase.name {
			groups = append(groups, nil)
		}
		last := len(groups) - 1
		groups[last] = append(groups[last], s)
		longest = max(longest, slices.Max(s.gaps()))
	}
	for _, group := range groups {
		height += groupHeight(group)
	}
	bottom := height
	height += svgBottom

	p := &picture{decades: math.Ceil(math.Log10(milliseconds(longest)))}
	fmt.Fprintf(p, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%.0f" viewBox="0 0 %[1]d %.0[2]f" font-family="system-ui, -apple-system, 'Segoe UI', Helvetica, Arial, sans-serif" font-size="11">`+"\n", svgWidth, height)
	const title = "For how long clients miss the address"
	fmt.Fprintf(p, "<title>%s</title>\n", title)
	p.style()
	p.rect("paper", 0, 0, svgWidth, height, 6)
	p.text("ink", svgMargin, 34, `font-size="19" font-weight="600"`, title)
	p.text("faint", svgMargin, 54, `font-size="12"`, "The longest time between two answered datagrams of a client that sends one each millisecond.")
	p.legend(74, all)
	y := float64(svgTop)
	for i, group := range groups {
		if i%2 == 0 {
			p.rect("band", 0, y, svgWidth, groupHeight(group), 0)
		}
		y += groupHeight(group)
	}
	p.axis(svgTop, bottom)
	y = svgTop
	for _, group := range groups {
		p.group(y, group)
		y += groupHeight(group)
	}
	p.WriteString("</svg>\n")
	_, err := io.WriteString(w, p.String())
	return err
}

// style is what a dark page changes.
func (p *picture) style() {
	p.WriteString("<style>@media (prefers-color-scheme: dark) {")
	for _, c := range colours {
		fmt.Fprintf(p, " .%s { fill: %s }", c.name, c.dark)
	}
	p.WriteString(" }</style>\n")
}

// fill are the attributes for a colour.
func fill(colour string) string {
	i := slices.IndexFunc(colours, func(c struct{ name, light, dark string }) bool { return c.name == colour })
	return fmt.Sprintf(`class="%s" fill="%s"`, colour, colours[i].light)
}

func (p *picture) text(colour string, x, y float64, attributes, text string) {
	fmt.Fprintf(p, `<text %s x="%.1f" y="%.1f" %s>%s</text>`+"\n", fill(colour), x, y, attributes, html.EscapeString(text))
}

func (p *picture) rect(colour string, x, y, width, height, radius float64) {
	fmt.Fprintf(p, `<rect %s x="%.1f" y="%.1f" width="%.1f" height="%.1f" rx="%.0f"/>`+"\n", fill(colour), x, y, width, height, radius)
}

// legend says what the colours and shapes mean.
func (p *picture) legend(y float64, all results) {
	x := float64(svgMargin)
	p.bar("ours", x, y-9, x+26, x+26)
	p.text("ink", x+34, y, "", "l2vip")
	p.bar("peer", x+80, y-9, x+106, x+106)
	p.text("ink", x+114, y, "", "others")
	p.bar("peer", x+166, y-9, x+184, x+202)
	p.text("ink", x+212, y, "", "median (worst)"+runsOf(all))
	p.text("faint", svgWidth-svgMargin, y, `text-anchor="end"`, "less is better; the axis is logarithmic")
}

// runsOf says how many runs each system had.
func runsOf(all results) string {
	if len(all) == 0 {
		return ""
	}
	runs := func(a, b *series) int { return len(a.runs) - len(b.runs) }
	least, most := len(slices.MinFunc(all, runs).runs), len(slices.MaxFunc(all, runs).runs)
	if least < most {
		return fmt.Sprintf(" of %d to %d runs", least, most)
	}
	return " of " + plural(most, "run")
}

// axis draws the axis, which is logarithmic, and its lines from top to bottom.
func (p *picture) axis(top, bottom float64) {
	for decade := range int(p.decades) + 1 {
		at := time.Duration(math.Pow10(decade)) * time.Millisecond
		p.rect("grid", p.x(at)-0.5, top, 1, bottom-top, 0)
		label := fmt.Sprintf("%d ms", at.Milliseconds())
		if at >= time.Second {
			label = fmt.Sprintf("%.0f s", at.Seconds())
		}
		for _, y := range []float64{top - 8, bottom + 17} {
			p.text("faint", p.x(at), y, `text-anchor="middle"`, label)
		}
	}
}

// x is where a time is on the axis.
func (p *picture) x(d time.Duration) float64 {
	return svgLeft + max(0, math.Log10(float64(d)/float64(time.Millisecond)))/p.decades*svgAxis
}

// groupHeight is how high a case is: as its rows, or as what is said of it.
func groupHeight(group results) float64 {
	lines := 1 + len(wrap(group[0].testCase.says, svgWrap))
	return 2*svgPad + float64(max(len(group)*svgRow, lines*svgLine))
}

// group draws a case with its systems.
func (p *picture) group(y float64, group results) {
	c := group[0].testCase
	y += svgPad
	p.text("ink", svgMargin, y+12, `font-size="13" font-weight="600"`, c.name)
	for i, line := range wrap(c.says, svgWrap) {
		p.text("faint", svgMargin, y+12+float64((i+1)*svgLine), "", line)
	}
	for i, s := range group {
		p.row(y+float64(i*svgRow), s)
	}
}

// row draws a system.
func (p *picture) row(y float64, s *series) {
	colour := "ours"
	if s.system.peer {
		colour = "peer"
	}
	gaps := s.gaps()
	typical, worst := median(gaps), slices.Max(gaps)
	p.text("ink", svgLeft-8, y+12, `text-anchor="end"`, s.system.name)
	p.bar(colour, svgLeft, y+3, max(svgLeft+2, p.x(typical)), p.x(worst))
	label := figure(typical)
	if figure(worst) != label {
		label += fmt.Sprintf(" (%s)", figure(worst))
	}
	if s.sum(func(r result) int { return r.Lost }) == 0 {
		label += ", none lost"
	}
	if s.failed > 0 {
		label += fmt.Sprintf(", %d failed", s.failed)
	}
	p.text("ink", max(svgLeft+2, p.x(worst))+8, y+12, "", label)
}

// bar draws a bar to the median, and a line from there to the worst.
func (p *picture) bar(colour string, from, y, typical, worst float64) {
	p.rect(colour, from, y, typical-from, svgBar, 1)
	if worst-typical >= 1 {
		p.rect(colour+"-worst", typical, y+svgBar/2.0-0.75, worst-typical, 1.5, 0)
		p.rect(colour+"-worst", worst-1, y+2, 2, svgBar-4, 0)
	}
}

// figure is a time with its unit, in as many digits as one looks at.
func figure(d time.Duration) string {
	switch {
	case d >= time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d >= 100*time.Millisecond:
		return fmt.Sprintf("%.0f ms", milliseconds(d))
	}
	return fmt.Sprintf("%.1f ms", milliseconds(d))
}

// wrap breaks a text into lines of so many characters, if its words allow it.
func wrap(text string, width int) []string {
	var lines []string
	for _, word := range strings.Fields(text) {
		if n := len(lines); n > 0 && len(lines[n-1])+1+len(word) <= width {
			lines[n-1] += " " + word
		} else {
			lines = append(lines, word)
		}
	}
	return lines
}

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
)

// The measures of the drawing, in pixels.
const (
	svgWidth  = 1080
	svgLeft   = 150 // where a millisecond is
	svgRight  = 130
	svgTop    = 78
	svgRow    = 20 // of a system
	svgHead   = 34 // of a case
	svgBottom = 24
)

// The axis is logarithmic, in milliseconds.
const axisFrom, axisTo = 1.0, 10000.0

// oursColour is the bar of l2vip, peerColour that of another.
const oursColour, peerColour = "#2f9e83", "#9aa3ad"

// writePicture draws the gaps to a file; see drawPicture.
func writePicture(path string, all results) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(drawPicture(file, all), file.Close())
}

// drawPicture writes the gaps of all cases as an SVG: a bar to the median for each
// system, and a dot for each run.
func drawPicture(w io.Writer, all results) error {
	all = slices.DeleteFunc(slices.Clone(all), func(s *series) bool { return !s.testCase.figures.gap() || len(s.runs) == 0 })
	heads := 0
	for i, s := range all {
		if i == 0 || s.testCase.name != all[i-1].testCase.name {
			heads++
		}
	}
	height := svgTop + heads*svgHead + len(all)*svgRow + svgBottom
	var d strings.Builder
	text := func(x, y float64, attributes, text string) {
		fmt.Fprintf(&d, `<text x="%.1f" y="%.1f" %s>%s</text>`+"\n", x, y, attributes, html.EscapeString(text))
	}
	fmt.Fprintf(&d, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %[1]d %[2]d" font-family="system-ui, sans-serif" font-size="12" fill="#333">`+"\n", svgWidth, height)
	fmt.Fprintf(&d, `<rect width="%d" height="%d" fill="#fff"/>`+"\n", svgWidth, height)
	text(24, 30, `font-size="18" font-weight="600"`, "For how long clients miss the address")
	text(24, 48, `font-size="11" fill="#777"`, "Longest gap between answered datagrams, one sent each millisecond. Bar: median; dots: each run. Logarithmic.")
	for ms := axisFrom; ms <= axisTo; ms *= 10 {
		x := axis(ms)
		fmt.Fprintf(&d, `<line x1="%.1f" y1="%d" x2="%.1[1]f" y2="%[3]d" stroke="#e3e6ea"/>`+"\n", x, svgTop-4, height-svgBottom)
		label := fmt.Sprintf("%.0f ms", ms)
		if ms >= 1000 {
			label = fmt.Sprintf("%.0f s", ms/1000)
		}
		text(x, svgTop-10, `text-anchor="middle" font-size="10" fill="#777"`, label)
	}
	y := float64(svgTop)
	for i, s := range all {
		if i == 0 || s.testCase.name != all[i-1].testCase.name {
			text(24, y+22, `font-weight="600"`, s.testCase.name+": "+s.testCase.says)
			y += svgHead
		}
		drawGaps(&d, text, y, s)
		y += svgRow
	}
	d.WriteString("</svg>\n")
	_, err := io.WriteString(w, d.String())
	return err
}

// drawGaps draws the row of a system.
func drawGaps(w io.Writer, text func(x, y float64, attributes, text string), y float64, s *series) {
	colour := oursColour
	if s.system.peer {
		colour = peerColour
	}
	middle := y + svgRow/2
	text(svgLeft-8, middle+4, `text-anchor="end" font-size="11"`, s.system.name)
	end := axis(milliseconds(median(s.gaps())))
	fmt.Fprintf(w, `<rect x="%d" y="%.1f" width="%.1f" height="%d" rx="2" fill="%s"/>`+"\n", svgLeft, y+4, max(2, end-svgLeft), svgRow-8, colour)
	worst := end
	for _, gap := range s.gaps() {
		x := axis(milliseconds(gap))
		worst = max(worst, x)
		fmt.Fprintf(w, `<circle cx="%.1f" cy="%.1f" r="2.5" fill="#333" fill-opacity="0.55"/>`+"\n", x, middle)
	}
	label := fmt.Sprintf("%v ms", milliseconds(median(s.gaps())))
	if lost := s.sum(func(r result) int { return r.Lost }); lost == 0 {
		label += ", none lost"
	}
	text(worst+8, middle+4, `font-size="11" fill="#555"`, label)
}

// axis is where a number of milliseconds is.
func axis(ms float64) float64 {
	part := math.Log10(min(max(ms, axisFrom), axisTo)/axisFrom) / math.Log10(axisTo/axisFrom)
	return svgLeft + part*(svgWidth-svgLeft-svgRight)
}

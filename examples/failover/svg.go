package main

import (
	"errors"
	"fmt"
	"html"
	"io"
	"os"
	"strings"
	"time"
)

// The measures of the drawing, in pixels.
const (
	svgWidth  = 1280
	svgLeft   = 96 // where the time begins
	svgRight  = 24
	svgTop    = 64 // the title
	laneStep  = 30
	laneBar   = 22
	laneTop   = 44 // of a run: the names of its phases
	laneFails = 58 // the failed requests, their gaps, and the axis
	svgBottom = 34 // the legend
)

// frontColours are the bands of the fronts; svgFail is a failed request.
var frontColours = []string{"#3b6fb6", "#2f9e83", "#8a63b8"}

const svgFail = "#d1342f"

// drawing is an SVG under construction.
type drawing struct {
	strings.Builder
	scale float64 // pixels for a second
	zero  time.Duration
	top   float64
}

// writeTimeline draws the outcomes to a file; see drawTimeline.
func writeTimeline(path, title string, requests []request, outcomes []outcome) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(drawTimeline(file, title, requests, outcomes), file.Close())
}

// drawTimeline writes the runs of the outcomes as an SVG, one below the other:
// the phases, who served, the failed requests and the longest gaps.
func drawTimeline(w io.Writer, title string, requests []request, outcomes []outcome) error {
	runs := byRun(outcomes)
	longest := time.Second
	for _, run := range runs {
		from, to := times(run, requests)
		longest = max(longest, to-from)
	}
	d := &drawing{scale: (svgWidth - svgLeft - svgRight) / longest.Seconds()}
	height := svgTop + len(runs)*runHeight() + svgBottom
	fmt.Fprintf(d, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %[1]d %[2]d" font-family="system-ui, sans-serif" font-size="12" fill="#333">`+"\n", svgWidth, height)
	fmt.Fprintf(d, `<rect width="%d" height="%d" fill="#fff"/>`+"\n", svgWidth, height)
	d.text(svgLeft, 34, `font-size="18" font-weight="600"`, title)
	for i, run := range runs {
		d.top = float64(svgTop + i*runHeight())
		d.zero, _ = times(run, requests)
		d.drawRun(run, requests)
	}
	d.legend(float64(height - 14))
	d.WriteString("</svg>\n")
	_, err := io.WriteString(w, d.String())
	return err
}

// times returns when the first request of a run was sent, and the one after it.
func times(run []outcome, requests []request) (from, to time.Duration) {
	return sentAt(requests, run[0].first), sentAt(requests, run[len(run)-1].end)
}

// sentAt returns when the request number was sent, or the last one there is.
func sentAt(requests []request, number int) time.Duration {
	if len(requests) == 0 {
		return 0
	}
	return requests[min(number, len(requests)-1)].Sent
}

func runHeight() int { return laneTop + len(fronts)*laneStep + laneFails }

// x is where a time is.
func (d *drawing) x(at time.Duration) float64 {
	return svgLeft + (at-d.zero).Seconds()*d.scale
}

func (d *drawing) text(x, y float64, attributes, text string) {
	fmt.Fprintf(d, `<text x="%.1f" y="%.1f" %s>%s</text>`+"\n", x, y, attributes, html.EscapeString(text))
}

func (d *drawing) rect(x, y, width, height float64, attributes string) {
	fmt.Fprintf(d, `<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" %s/>`+"\n", x, y, width, height, attributes)
}

// drawRun draws one run below d.top.
func (d *drawing) drawRun(run []outcome, requests []request) {
	lanes := d.top + laneTop
	bottom := lanes + float64(len(fronts)*laneStep)
	for i, o := range run {
		from, to := d.x(sentAt(requests, o.first)), d.x(sentAt(requests, o.end))
		if i%2 == 0 {
			d.rect(from, lanes-6, to-from, bottom-lanes+38, `fill="#f4f5f7"`)
		}
		d.text((from+to)/2, lanes-14, `text-anchor="middle" font-weight="600"`, o.phase.name)
		gap, colour := fmt.Sprintf("%.1f ms", milliseconds(o.longest)), "#777"
		if o.failed > 0 {
			gap, colour = fmt.Sprintf("%s, %d failed", gap, o.failed), svgFail
		}
		d.text((from+to)/2, bottom+28, fmt.Sprintf(`text-anchor="middle" fill="%s"`, colour), gap)
	}
	for i, at := range fronts {
		y := lanes + float64(i*laneStep)
		d.text(svgLeft-12, y+laneBar/2+4, `text-anchor="end"`, at.name)
		fmt.Fprintf(d, `<line x1="%d" y1="%.1f" x2="%d" y2="%[2]f" stroke="#d5d8dd"/>`+"\n", svgLeft, y+laneBar/2, svgWidth-svgRight)
	}
	d.text(svgLeft-12, bottom+12, `text-anchor="end"`, "failed")
	for _, s := range spans(requests[run[0].first:run[len(run)-1].end]) {
		from, to := d.x(s.from), d.x(s.to)
		if s.by == "" {
			d.rect(from, bottom, max(1, to-from), laneBar-8, fmt.Sprintf(`fill="%s"`, svgFail))
			continue
		}
		for i, at := range fronts {
			if at.name == s.by {
				d.rect(from, lanes+float64(i*laneStep), max(1, to-from), laneBar, fmt.Sprintf(`rx="2" fill="%s"`, frontColours[i]))
			}
		}
	}
	d.axis(bottom+34, run, requests)
}

// axis draws the seconds of a run.
func (d *drawing) axis(y float64, run []outcome, requests []request) {
	from, to := times(run, requests)
	for at := time.Duration(0); at <= to-from; at += 5 * time.Second {
		d.text(d.x(from+at), y+14, `text-anchor="middle" font-size="10" fill="#777"`, fmt.Sprintf("%d s", int(at.Seconds())))
	}
}

// legend says what the colours mean.
func (d *drawing) legend(y float64) {
	d.text(svgLeft, y, `font-size="11" fill="#777"`,
		"Bands: which front served the requests, one every 5 ms. Red: failed requests. Below them: the longest gap between served ones.")
}

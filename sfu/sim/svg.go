package sim

import (
	"bytes"
	"fmt"
	"time"

	"sotto/sfu/unit"
)

// Size of a drawing.
const (
	plotWidth, plotHeight     = 900, 260
	plotLeft, plotTop         = 60, 30
	plotRight, plotBottom     = 20, 40
	plotLayers                = 40 // height of the strip that shows the layer
	queueFull                 = 400 * time.Millisecond
	linkColour, sentColour    = "#bbbbbb", "#1f77b4"
	keepColour, queueColour   = "#d62728", "#2ca02c"
	freezeColour, layerColour = "#ffcccc", "#7f3fbf"
)

// SVG draws a viewer: capacity, sent rate, estimate and queue over time, freezes as bars, and the layer below.
func (r *Result) SVG(viewer int) []byte {
	v := &r.Viewers[viewer]
	top := 3500 * unit.Kbps
	for _, l := range v.Lines {
		top = max(top, min(l.Sent, 20*unit.Mbps))
	}
	x := func(t time.Duration) float64 {
		return plotLeft + float64(plotWidth-plotLeft-plotRight)*t.Seconds()/r.Plan.Length.Seconds()
	}
	y := func(part float64) float64 {
		return plotTop + float64(plotHeight-plotTop-plotBottom)*(1-min(max(part, 0), 1))
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="11">`+"\n", plotWidth, plotHeight+plotLayers)
	fmt.Fprintf(&b, `<rect width="100%%" height="100%%" fill="white"/><text x="%d" y="16">%s, seed %d, viewer %d</text>`+"\n", plotLeft, r.Plan.Name, r.Seed, viewer+1)
	for i, name := range []string{"capacity", "sent", "estimate", "queue (top: 400 ms)", "layer", "frozen"} {
		colour := []string{linkColour, sentColour, keepColour, queueColour, layerColour, freezeColour}[i]
		fmt.Fprintf(&b, `<rect x="%d" y="8" width="10" height="10" fill="%s"/><text x="%d" y="17">%s</text>`+"\n", 270+105*i, colour, 284+105*i, name)
	}
	for _, f := range v.Freezes {
		fmt.Fprintf(&b, `<rect x="%.1f" y="%d" width="%.1f" height="%d" fill="%s"/>`+"\n", x(f.From), plotTop, max(x(f.From+f.Length)-x(f.From), 1), plotHeight-plotTop-plotBottom, freezeColour)
	}
	for rate := unit.Bitrate(0); rate <= top; rate += unit.Mbps {
		at := y(float64(rate) / float64(top))
		fmt.Fprintf(&b, `<path d="M%d %.1fH%d" stroke="#eeeeee"/><text x="%d" y="%.1f" text-anchor="end">%d Mbit/s</text>`+"\n", plotLeft, at, plotWidth-plotRight, plotLeft-4, at+4, rate/unit.Mbps)
	}
	for t := time.Duration(0); t <= r.Plan.Length; t += 10 * time.Second {
		fmt.Fprintf(&b, `<text x="%.1f" y="%d" text-anchor="middle">%d s</text>`+"\n", x(t), plotHeight-plotBottom+14, int(t.Seconds()))
	}
	curve := func(colour string, part func(Line) float64) {
		fmt.Fprintf(&b, `<path fill="none" stroke="%s" d="`, colour)
		for i, l := range v.Lines {
			fmt.Fprintf(&b, "%c%.1f %.1f", "ML"[min(i, 1)], x(l.At), y(part(l)))
		}
		b.WriteString("\"/>\n")
	}
	curve(linkColour, func(l Line) float64 { return float64(l.Link) / float64(top) })
	curve(queueColour, func(l Line) float64 { return float64(l.Queue) / float64(queueFull) })
	curve(sentColour, func(l Line) float64 { return float64(l.Sent) / float64(top) })
	curve(keepColour, func(l Line) float64 { return float64(l.Keep) / float64(top) })
	fmt.Fprintf(&b, `<path fill="none" stroke="%s" stroke-width="2" d="`, layerColour)
	for i, l := range v.Lines {
		fmt.Fprintf(&b, "%c%.1f %d", "ML"[min(i, 1)], x(l.At), plotHeight+plotLayers-15-10*l.Layer)
	}
	b.WriteString("\"/>\n</svg>\n")
	return b.Bytes()
}

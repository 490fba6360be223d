package sim

import (
	"bytes"
	"fmt"
	"math"
	"time"

	"sotto/sfu/unit"
)

// Sizes of a drawing, in pixels: three panels above each other with one axis of time.
const (
	plotWidth            = 960
	plotLeft, plotRight  = 70, 20
	plotTop, plotGap     = 56, 26
	rateTall, queueTall  = 220, 90
	layerTall, plotFoot  = 60, 42
	queueGoal            = 60 * time.Millisecond // drawn as a line: what a standing queue should stay below
	layersShown          = 4                     // three, and no picture
	ratesAtLeast         = 500 * unit.Kbps
	ratesAtMost          = 20 * unit.Mbps
	queueAtLeast         = 100 * time.Millisecond
	plotFont             = `font-family="sans-serif" font-size="11" fill="#333333"`
	colourLink           = "#d9d9d9"
	colourSent           = "#1f77b4"
	colourRepairs        = "#9467bd"
	colourKeep           = "#d62728"
	colourQueue          = "#2ca02c"
	colourLayer          = "#333333"
	colourFreeze         = "#ff9f9f"
	colourGrid           = "#eeeeee"
	colourGoal           = "#999999"
	secondsBetweenLabels = 10
)

// panel is one of the diagrams of a drawing: values from 0 to most.
type panel struct {
	top, tall int
	most      float64
}

func (p panel) y(value float64) int {
	return p.top + p.tall - int(math.Round(float64(p.tall)*min(max(value/p.most, 0), 1)))
}

// drawing is an SVG that is being written.
type drawing struct {
	bytes.Buffer
	length time.Duration
}

func (d *drawing) x(t time.Duration) int {
	return plotLeft + int(math.Round(float64(plotWidth-plotLeft-plotRight)*t.Seconds()/d.length.Seconds()))
}

func (d *drawing) text(x, y int, anchor, text string) {
	fmt.Fprintf(d, `<text x="%d" y="%d" text-anchor="%s">%s</text>`+"\n", x, y, anchor, text)
}

// frame draws a panel's border, its name and a line for each step of its values.
func (d *drawing) frame(p panel, name string, step float64, label func(float64) string) {
	for v := 0.0; v <= p.most*1.001; v += step {
		fmt.Fprintf(d, `<path d="M%d %dH%d" stroke="%s"/>`+"\n", plotLeft, p.y(v), plotWidth-plotRight, colourGrid)
		d.text(plotLeft-6, p.y(v)+4, "end", label(v))
	}
	d.text(plotLeft, p.top-6, "start", name)
}

// curve draws a line through values, one for each line of a result. A point that is not above or below the last one is left out.
func (d *drawing) curve(p panel, lines []Line, style string, value func(Line) float64) {
	fmt.Fprintf(d, `<path fill="none" %s d="`, style)
	lastX, lastY := 0, 0
	for i, l := range lines {
		x, y := d.x(l.At), p.y(value(l))
		switch {
		case i == 0:
			fmt.Fprintf(d, "M%d %d", x, y)
		case y == lastY && i+1 < len(lines) && p.y(value(lines[i+1])) == y:
			continue
		case y == lastY:
			fmt.Fprintf(d, "h%d", x-lastX)
		default:
			fmt.Fprintf(d, "l%d %d", x-lastX, y-lastY)
		}
		lastX, lastY = x, y
	}
	d.WriteString("\"/>\n")
}

// area fills what is below a stepwise curve.
func (d *drawing) area(p panel, lines []Line, colour string, value func(Line) float64) {
	fmt.Fprintf(d, `<path fill="%s" d="M%d %d`, colour, d.x(0), p.y(0))
	last := -1
	for _, l := range lines {
		if y := p.y(value(l)); y != last {
			fmt.Fprintf(d, "H%dV%d", d.x(l.At-line), y)
			last = y
		}
	}
	fmt.Fprintf(d, "H%dV%dZ\"/>\n", d.x(d.length), p.y(0))
}

// between returns a round distance between lines, so that there are four to eight.
func between(most float64) float64 {
	base := math.Pow(10, math.Floor(math.Log10(most/4)))
	for _, f := range []float64{1, 2, 5} {
		if most/(base*f) <= 8 {
			return base * f
		}
	}
	return base * 10
}

// SVG draws a viewer in three panels: rates (the link's capacity, what is sent, of it repairs and probes, the estimate), the queue in
// front of the link, and the layer that is shown. Freezes are red bars over all of them.
func (r *Result) SVG(viewer int) []byte {
	v := &r.Viewers[viewer]
	mbit := func(b unit.Bitrate) float64 { return float64(b) / float64(unit.Mbps) }
	ms := func(t time.Duration) float64 { return float64(t) / float64(time.Millisecond) }
	top, longest := ratesAtLeast, queueAtLeast
	for _, l := range v.Lines {
		top, longest = max(top, min(max(l.Sent, l.Link, l.Keep), ratesAtMost)), max(longest, l.Queue)
	}
	rates := panel{plotTop, rateTall, mbit(top)}
	queue := panel{rates.top + rates.tall + plotGap, queueTall, ms(longest)}
	layers := panel{queue.top + queue.tall + plotGap, layerTall, layersShown - 1}
	height := layers.top + layers.tall + plotFoot

	d := &drawing{length: r.Plan.Length}
	fmt.Fprintf(d, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" %s>`+"\n", plotWidth, height, plotWidth, height, plotFont)
	d.WriteString(`<rect width="100%" height="100%" fill="white"/>` + "\n")
	fmt.Fprintf(d, `<text x="%d" y="20" font-size="14" font-weight="bold">%s, viewer %d of %d, seed %d</text>`+"\n", plotLeft, r.Plan.Name, viewer+1, len(r.Viewers), r.Seed)
	r.legend(d)
	if len(v.Lines) > 0 && v.Lines[0].Link == 0 {
		d.text(plotWidth-plotRight, plotTop-6, "end", "capacity: no limit")
	}
	d.area(rates, v.Lines, colourLink, func(l Line) float64 { return mbit(l.Link) })
	for _, f := range v.Freezes {
		fmt.Fprintf(d, `<path fill="%s" fill-opacity="0.7" d="M%d %dV%dH%dV%dZ"/>`+"\n", colourFreeze, d.x(f.From), plotTop, layers.top+layers.tall, max(d.x(f.From+f.Length), d.x(f.From)+1), plotTop)
	}
	d.frame(rates, "rate, Mbit/s", between(rates.most), func(v float64) string { return fmt.Sprintf("%.4g", v) })
	d.curve(rates, v.Lines, `stroke="`+colourRepairs+`"`, func(l Line) float64 { return mbit(l.Repairs) })
	d.curve(rates, v.Lines, `stroke="`+colourSent+`"`, func(l Line) float64 { return mbit(l.Sent) })
	d.curve(rates, v.Lines, `stroke="`+colourKeep+`" stroke-width="1.5"`, func(l Line) float64 { return mbit(l.Keep) })

	d.frame(queue, "queue in front of the link, ms", between(queue.most), func(v float64) string { return fmt.Sprintf("%.4g", v) })
	fmt.Fprintf(d, `<path d="M%d %dH%d" stroke="%s" stroke-dasharray="4 4"/>`+"\n", plotLeft, queue.y(ms(queueGoal)), plotWidth-plotRight, colourGoal)
	d.curve(queue, v.Lines, `stroke="`+colourQueue+`"`, func(l Line) float64 { return ms(l.Queue) })

	d.frame(layers, "layer shown", 1, func(v float64) string { return [...]string{"none", "0", "1", "2"}[int(v)] })
	d.curve(layers, v.Lines, `stroke="`+colourLayer+`" stroke-width="2"`, func(l Line) float64 { return float64(l.Layer + 1) })

	for t := time.Duration(0); t <= r.Plan.Length; t += secondsBetweenLabels * time.Second {
		fmt.Fprintf(d, `<path d="M%d %dv5" stroke="%s"/>`+"\n", d.x(t), layers.top+layers.tall, colourGoal)
		d.text(d.x(t), layers.top+layers.tall+18, "middle", fmt.Sprint(int(t.Seconds())))
	}
	d.text((plotLeft+plotWidth-plotRight)/2, layers.top+layers.tall+34, "middle", "time, s")
	d.WriteString("</svg>\n")
	return d.Bytes()
}

// legend names the colours of the curves.
func (r *Result) legend(d *drawing) {
	at := plotLeft + 320
	for _, entry := range []struct{ name, colour string }{
		{"capacity", colourLink}, {"sent", colourSent}, {"repairs, probes", colourRepairs}, {"estimate", colourKeep}, {"queue", colourQueue}, {"frozen", colourFreeze},
	} {
		fmt.Fprintf(d, `<rect x="%d" y="11" width="12" height="10" fill="%s"/>`+"\n", at, entry.colour)
		d.text(at+17, 20, "start", entry.name)
		at += 40 + 7*len(entry.name)
	}
}

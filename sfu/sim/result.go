package sim

import (
	"bytes"
	"fmt"
	"time"

	"sotto/sfu/room"
	"sotto/sfu/unit"
)

// Line is what happened to a viewer in 100 ms.
type Line struct {
	At       time.Duration
	Link     unit.Bitrate  // capacity
	Sent     unit.Bitrate  // handed to the link, with all headers
	Repairs  unit.Bitrate  // of it retransmissions and probes
	Keep     unit.Bitrate  // estimate
	Change   unit.Bitrate  // proven
	Queue    time.Duration // that a packet waits now
	Layer    int           // shown; -1 is none
	LinkUsed unit.Bitrate  // carried by the link, other flows included
}

// Freeze is a gap in the picture that counts as a freeze.
type Freeze struct{ From, Length time.Duration }

// Switch is a change of the forwarded layer; -1 is none.
type Switch struct {
	At time.Duration
	To int
}

// ViewerResult is what a viewer got.
type ViewerResult struct {
	Lines         []Line
	Freezes       []Freeze
	Switches      []Switch
	First         time.Duration // first picture after joining; 0 is none
	Frames        int
	NACKs, PLIs   int
	AudioSent     int
	AudioReceived int
}

// Result is a finished run.
type Result struct {
	Plan    Plan
	Seed    uint64
	Viewers []ViewerResult
	Stats   room.Stats
	TCP     []*tcp
}

// TCPRate returns what the nth competitor got until the end of the run, in the time of length.
func (r *Result) TCPRate(n int, length time.Duration) unit.Bitrate {
	return unit.RateOf(r.TCP[n].acked, length)
}

func (w *World) record() {
	for i, v := range w.Viewers {
		est, _ := w.room.Estimate(v.id)
		l := v.Link
		queue := time.Duration(0)
		if l.Rate > 0 {
			queue = time.Duration(float64(l.bytes*8) / float64(l.Rate) * float64(time.Second))
		}
		res := &w.result.Viewers[i]
		res.Lines = append(res.Lines, Line{
			At: w.now, Link: l.Rate, Sent: lineRate(v.out), Repairs: lineRate(v.repairs), Keep: est.Keep, Change: est.Change,
			Queue: queue, Layer: v.layer(), LinkUsed: lineRate(l.delivered),
		})
		v.out, v.repairs = 0, 0
	}
	for _, v := range w.Viewers {
		v.Link.delivered = 0
	}
}

func (w *World) finish() {
	w.result.Stats = w.room.Stats()
	for i, v := range w.Viewers {
		res := &w.result.Viewers[i]
		res.AudioSent, res.AudioReceived = v.audio.sent, v.audio.received
		for _, s := range v.switches {
			res.Switches = append(res.Switches, Switch{s.at, int(s.to)})
		}
		for _, d := range v.video {
			if len(d.shown) > 0 {
				res.First = max(res.First, d.shown[0].at-v.plan.Joins)
			}
			res.Frames += len(d.shown)
			res.NACKs += d.nacks
			res.PLIs += d.plis
			for _, f := range d.freeze {
				res.Freezes = append(res.Freezes, Freeze{f.from, f.length})
			}
			if gap := w.now - d.shownAt; v.joined && d.started && v.plan.Height > 0 && gap > time.Second {
				res.Freezes = append(res.Freezes, Freeze{d.shownAt, gap}) // still frozen at the end
			}
		}
	}
}

// Frozen returns how long a viewer's pictures froze between two times.
func (v *ViewerResult) Frozen(from, to time.Duration) (sum time.Duration) {
	for _, f := range v.Freezes {
		if f.From >= from && f.From < to {
			sum += f.Length
		}
	}
	return sum
}

// OnLayer returns the share of the time between two times in which a layer was shown.
func (v *ViewerResult) OnLayer(layer int, from, to time.Duration) float64 {
	n, on := 0, 0
	for _, l := range v.Lines {
		if l.At > from && l.At <= to {
			n++
			if l.Layer == layer {
				on++
			}
		}
	}
	return float64(on) / float64(max(n, 1))
}

// Until returns how long after from a layer was first shown; -1 is never.
func (v *ViewerResult) Until(layer int, from time.Duration) time.Duration {
	for _, l := range v.Lines {
		if l.At > from && l.Layer == layer {
			return l.At - from
		}
	}
	return -1
}

// Under returns how long after from the sent rate fell under rate and stayed there on the average of half a second; -1 is
// never.
func (v *ViewerResult) Under(rate unit.Bitrate, from time.Duration) time.Duration {
	const half = 5
	for i, l := range v.Lines {
		if l.At <= from || i+half > len(v.Lines) {
			continue
		}
		var sum unit.Bitrate
		for _, m := range v.Lines[i : i+half] {
			sum += m.Sent
		}
		if sum/half <= rate && l.Sent <= rate {
			return l.At - line - from
		}
	}
	return -1
}

// CSV returns the lines of a viewer: milliseconds and kbit/s.
func (v *ViewerResult) CSV() []byte {
	var b bytes.Buffer
	b.WriteString("ms,link,sent,repairs,keep,change,queue_ms,layer\n")
	for _, l := range v.Lines {
		fmt.Fprintf(&b, "%d,%d,%d,%d,%d,%d,%d,%d\n", l.At.Milliseconds(), l.Link/unit.Kbps, l.Sent/unit.Kbps, l.Repairs/unit.Kbps,
			l.Keep/unit.Kbps, l.Change/unit.Kbps, l.Queue.Milliseconds(), l.Layer)
	}
	return b.Bytes()
}

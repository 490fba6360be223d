// Package sim runs calls in virtual time: a real room between modelled publishers, links and viewers. A [Plan] says what
// happens when, [Run] carries it out and returns a [Result] with one line for each 100 ms, which can be written as CSV or
// drawn as SVG. Everything is drawn from the plan's seed, so that a run can be repeated to the bit.
//
//	plan := sim.Plan{Name: "dip", Length: 60 * time.Second, Viewers: []sim.ViewerPlan{{Down: sim.LinkConfig{Rate: 3 * unit.Mbps}}}}
//	plan.At(20*time.Second, sim.SetRate(0, 500*unit.Kbps))
//	result := sim.Run(plan, 1)
package sim

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"

	"sotto/sfu/packet"
	"sotto/sfu/room"
	"sotto/sfu/unit"
)

// wireOverhead is what IPv4, UDP and the SRTP tag add to an RTP packet.
const wireOverhead = 20 + 8 + 16

// line is the interval of a result.
const line = 100 * time.Millisecond

// event is something that happens at a time. Events of one time happen in the order in which they were made.
type event struct {
	at time.Duration
	n  int
	do func()
}

type events []event

func (e events) Len() int { return len(e) }
func (e events) Less(i, j int) bool {
	return e[i].at < e[j].at || e[i].at == e[j].at && e[i].n < e[j].n
}
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)   { *e = append(*e, x.(event)) }
func (e *events) Pop() any {
	old := *e
	last := old[len(old)-1]
	*e = old[:len(old)-1]
	return last
}

// World is a running plan. Steps of a plan get it to change something.
type World struct {
	Cameras []*Camera
	Viewers []*Viewer
	Links   []*Link // the shared ones of the plan

	epoch  time.Time
	now    time.Duration
	rng    *rand.Rand
	room   *room.Room
	batch  room.Batch
	queue  events
	count  int
	header rtp.Header
	result *Result
}

// wall returns the virtual time of day.
func (w *World) wall() time.Time { return w.epoch.Add(w.now) }

// Now returns the time since the beginning.
func (w *World) Now() time.Duration { return w.now }

// at plans an event.
func (w *World) at(t time.Duration, do func()) {
	w.count++
	heap.Push(&w.queue, event{max(t, w.now), w.count, do})
}

// every repeats an event.
func (w *World) every(first, interval time.Duration, do func()) {
	w.at(first, func() {
		do()
		w.every(w.now+interval, interval, do)
	})
}

// Run carries out a plan.
func Run(plan Plan, seed uint64) *Result {
	w := &World{
		epoch: time.Unix(1_700_000_000, 0), rng: newRand(seed), room: newRoom(seed),
	}
	w.result = &Result{Plan: plan, Seed: seed}
	for _, c := range plan.Shared {
		w.Links = append(w.Links, newLink(w, c))
	}
	cameras := plan.Cameras
	if len(cameras) == 0 {
		cameras = []CameraPlan{{}}
	}
	for i, c := range cameras {
		w.Cameras = append(w.Cameras, newCamera(w, room.PeerID(1+i), c))
	}
	for i, v := range plan.Viewers {
		w.Viewers = append(w.Viewers, newViewer(w, room.PeerID(100+i), v))
		w.result.Viewers = append(w.result.Viewers, ViewerResult{})
	}
	for _, s := range plan.steps {
		w.at(s.at, func() { s.do(w) })
	}
	w.every(line, line, w.record)
	w.run(plan.Length)
	w.finish()
	return w.result
}

func newRand(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 7)) }

func newRoom(seed uint64) *room.Room { return room.New(room.Config{Rand: rand.NewPCG(seed, 8)}) }

func (w *World) run(length time.Duration) {
	for {
		next := length
		if len(w.queue) > 0 {
			next = min(next, w.queue[0].at)
		}
		tick := false
		if t := w.room.Next(); !t.IsZero() {
			if d := max(t.Sub(w.epoch), w.now); d < next {
				next, tick = d, true
			}
		}
		w.now = next
		switch {
		case tick:
			w.room.Tick(w.wall(), &w.batch)
			w.flush()
		case next >= length:
			return
		default:
			heap.Pop(&w.queue).(event).do()
		}
	}
}

func (w *World) apply(c room.Command) {
	if err := w.room.Apply(w.wall(), c, &w.batch); err != nil {
		panic(fmt.Sprintf("sim: %T: %v", c, err)) // the plan is wrong
	}
	w.flush()
}

// flush does what a shard does with a batch.
func (w *World) flush() {
	for i := range w.batch.Sends {
		s := &w.batch.Sends[i]
		v := w.viewer(s.To)
		if v == nil {
			continue
		}
		raw := make([]byte, s.Size(&viewerExtensions), packet.MaxPacket)
		n, _, err := s.Marshal(raw, &viewerExtensions, &w.header)
		if err != nil {
			panic("sim: " + err.Error())
		}
		v.sent(s, raw[:n])
	}
	for _, f := range w.batch.RTCP {
		for _, c := range w.Cameras {
			if c.id == f.To {
				w.at(w.now+c.plan.Delay, func() { c.feedback(f.Packet) })
			}
		}
		if v := w.viewer(f.To); v != nil {
			if sr, ok := f.Packet.(*rtcp.SenderReport); ok {
				w.at(w.now+v.plan.Down.Delay, func() { v.senderReport(sr) })
			}
		}
	}
	for _, e := range w.batch.Events {
		if e, ok := e.(room.LayerSwitched); ok {
			if v := w.viewer(e.Peer); v != nil {
				v.switches = append(v.switches, layerSwitch{w.now, e.To})
			}
		}
	}
	w.batch.Reset()
}

func (w *World) viewer(id room.PeerID) *Viewer {
	if i := int(id) - 100; i >= 0 && i < len(w.Viewers) {
		return w.Viewers[i]
	}
	return nil
}

// rtcp hands a viewer's feedback to the room after the way back, by way of its wire form.
func (w *World) rtcp(from room.PeerID, delay time.Duration, p rtcp.Packet) {
	v := w.viewer(from)
	if v != nil && v.plan.UpLoss > 0 && w.rng.Float64() < v.plan.UpLoss {
		return
	}
	raw, err := p.Marshal()
	if err != nil {
		panic("sim: " + err.Error())
	}
	arrive := func() {
		packets, err := rtcp.Unmarshal(raw)
		if err != nil {
			panic("sim: " + err.Error())
		}
		w.room.HandleRTCP(w.wall(), from, packets, &w.batch)
		w.flush()
	}
	if v != nil && v.back != nil {
		v.back.send(len(raw)+wireOverhead, arrive, nil)
		return
	}
	w.at(w.now+delay, arrive)
}

// rate is a shorthand for what arrived in an interval of the result.
func lineRate(bytes int) unit.Bitrate { return unit.RateOf(bytes, line) }

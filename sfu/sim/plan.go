package sim

import (
	"time"

	"sotto/sfu/unit"
)

// Plan is a scenario.
type Plan struct {
	Name    string
	Length  time.Duration
	Cameras []CameraPlan // none is one camera of three layers
	Viewers []ViewerPlan
	Shared  []LinkConfig // links that several viewers may share
	steps   []step
}

type step struct {
	at time.Duration
	do func(*World)
}

// At adds a step.
func (p *Plan) At(t time.Duration, do func(*World)) *Plan {
	p.steps = append(p.steps, step{t, do})
	return p
}

// SetRate changes the rate of a viewer's link.
func SetRate(viewer int, rate unit.Bitrate) func(*World) {
	return func(w *World) { w.Viewers[viewer].Link.Rate = rate }
}

// SetLoss changes the random loss of a viewer's link.
func SetLoss(viewer int, loss float64) func(*World) {
	return func(w *World) { w.Viewers[viewer].Link.Loss = loss }
}

// SetDown makes a viewer's link lose everything, or work again.
func SetDown(viewer int, down bool) func(*World) {
	return func(w *World) { w.Viewers[viewer].Link.Down = down }
}

// Want changes the height at which a viewer wants all cameras; 0 pauses them.
func Want(viewer int, height uint16) func(*World) {
	return func(w *World) { w.Viewers[viewer].Want(height) }
}

// Constant adds a stream to a viewer's link that does not yield.
func Constant(viewer int, rate unit.Bitrate, length time.Duration) func(*World) {
	return func(w *World) { w.Viewers[viewer].Link.constant(rate, w.now+length) }
}

// TCP adds a greedy TCP-like flow to a viewer's link.
func TCP(viewer int, length time.Duration) func(*World) {
	return func(w *World) {
		w.result.TCP = append(w.result.TCP, w.Viewers[viewer].Link.compete(w.now+length, 0, nil))
	}
}

// Browse adds users to a viewer's link who fetch small files over TCP.
func Browse(viewer, users int, length time.Duration) func(*World) {
	return func(w *World) {
		for range users {
			w.Viewers[viewer].Link.browse(w.now + length)
		}
	}
}

// SetUp changes the rate of a viewer's way back.
func SetUp(viewer int, rate unit.Bitrate) func(*World) {
	return func(w *World) { w.Viewers[viewer].back.Rate = rate }
}

// Upload sends on a viewer's way back, as its own camera does.
func Upload(viewer int, rate unit.Bitrate, length time.Duration) func(*World) {
	return func(w *World) { w.Viewers[viewer].back.constant(rate, w.now+length) }
}

// Stall holds a viewer's packets back for a while.
func Stall(viewer int, length time.Duration) func(*World) {
	return func(w *World) { w.Viewers[viewer].Link.stall(length) }
}

// Busy lets a camera encode one picture of keep only, as on a machine that has too much to do.
func Busy(camera, keep int) func(*World) {
	return func(w *World) { w.Cameras[camera].Keep = keep }
}

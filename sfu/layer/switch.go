package layer

import (
	"time"

	"sotto/sfu/packet"
)

// Paused is the rung of a source that is not forwarded.
const Paused = int8(-1)

// Out is what changes in a packet on its way to one subscriber.
type Out struct {
	Seq              uint16
	TS               uint32
	Frame, PictureID uint16
	TL0              uint8
	Switched         bool
}

// Switch selects packets for one subscriber.
type Switch struct {
	target int8
}

// NewSwitch returns a paused switch.
func NewSwitch(firstSeq uint16, firstTS uint32) Switch { return Switch{target: Paused} }

// SetTarget sets the wanted rung.
func (s *Switch) SetTarget(rung int8) {}

// SetMaxTID drops temporal layers above.
func (s *Switch) SetMaxTID(tid uint8) {}

// SetClock takes over a sender report.
func (s *Switch) SetClock(rung int8, ntp time.Time, rtp uint32, clockRate uint32) {}

// Next decides on one packet.
func (s *Switch) Next(p *packet.Packet) (Out, bool) { return Out{}, false }

// WantsKey tells on which rung a key frame is needed.
func (s *Switch) WantsKey() (rung int8, ok bool) { return 0, false }

// Current returns the rung forwarded now, Paused if none.
func (s *Switch) Current() int8 { return Paused }

// Target returns the wanted rung.
func (s *Switch) Target() int8 { return s.target }

// Reset forgets a rung's stream.
func (s *Switch) Reset(rung int8) {}

// Repair returns what went out as out.
func (s *Switch) Repair(out uint16) (rung int8, ext uint64, o Out, ok bool) { return 0, 0, Out{}, false }

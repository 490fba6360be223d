package packet

// Descriptor is the per-stream reader state.
type Descriptor struct{}

// Read fills the frame fields of p.
func (d *Descriptor) Read(p *Packet) error { return ErrShort }

// Resolution returns the size of a spatial layer in pixels.
func (d *Descriptor) Resolution(layer int8) (w, h uint16, ok bool) { return 0, 0, false }

package packet

// Descriptor reads what each packet of one received stream says about its frame and layers. It keeps the stream's dependency
// structure between packets; the zero value is ready. Owned by the stream's owner; about 8 KB.
type Descriptor struct {
	dd      dependencyReader
	lastTS  uint32 // of the newest packet, for codecs that do not mark the start of a frame
	started bool
}

// Read fills TID, SwitchTID, SID, Frame, Start, End, Key and the picture id fields of p from the dependency descriptor if the packet
// has one, else from the payload descriptor of p.Codec. p.Codec and p.ExtSeq must be set. It does not allocate and does not look
// at the payload behind the descriptor, except for the one clear byte of a VP8 frame without dependency descriptor.
// ErrDescriptor: truncated or nonsense, drop the packet. A packet of padding only is part of no frame and no error.
func (d *Descriptor) Read(p *Packet) error {
	if p.PaddingOnly() {
		return nil
	}
	var err error
	switch p.Codec {
	case Opus:
		p.Start, p.End, p.Key = true, true, true
		return nil
	case VP8:
		err = p.readVP8()
	case VP9:
		err = p.readVP9()
	case AV1:
		p.readAV1(!d.started || p.TS != d.lastTS)
	default:
		err = ErrDescriptor
	}
	if err != nil {
		return err
	}
	d.lastTS, d.started = p.TS, true
	if p.DD.Len == 0 {
		return nil
	}
	f, ok := d.dd.read(p.Bytes(p.DD), p.ExtSeq)
	if !ok {
		return ErrDescriptor
	}
	p.Frame, p.Start, p.End, p.Key = f.frame, f.start, f.end, f.structure
	if f.known {
		p.TID, p.SID, p.SwitchTID = f.tid, f.sid, f.switchTID
	}
	return nil
}

// Resolution returns the size in pixels of a spatial layer of the stream, from its dependency structure. ok is false when there is
// none or it does not say.
func (d *Descriptor) Resolution(sid uint8) (w, h uint16, ok bool) {
	s := d.dd.structure()
	if !d.dd.known || !s.resolutions || sid >= s.spatialCount {
		return 0, 0, false
	}
	return s.width[sid], s.height[sid], true
}

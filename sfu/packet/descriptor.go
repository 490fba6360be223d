package packet

// Descriptor reads what each packet of one received stream says about its frame and layers. It keeps the stream's dependency
// structure between packets; the zero value is ready. Owned by the stream's owner; about 8 KB.
type Descriptor struct {
	dd      dependencyReader
	vp9     vp9Structure
	codec   Codec  // of the newest packet; a stream may change it
	since   uint64 // extended sequence number of the first packet in it
	lastTS  uint32 // of the newest packet, for codecs that do not mark the start of a frame
	started bool
}

// Read fills TID, SwitchTID, SID, Skips, Frame, Start, End, Key and the picture id fields of p from the dependency descriptor if the packet
// has one, else from the payload descriptor of p.Codec. p.Codec and p.ExtSeq must be set. It does not allocate and does not look
// at the payload behind the descriptor, except for the one clear byte of a VP8 frame without dependency descriptor.
// ErrDescriptor: truncated, nonsense, or late and in a codec that the stream has left: drop the packet. A packet of padding only is part of no frame and no error.
func (d *Descriptor) Read(p *Packet) error {
	if p.PaddingOnly() {
		return nil
	}
	if p.Codec != d.codec {
		if p.ExtSeq < d.since {
			return ErrDescriptor
		}
		*d = Descriptor{codec: p.Codec, since: p.ExtSeq}
	}
	var err error
	switch p.Codec {
	case Opus:
		p.Start, p.End, p.Key = true, true, true
		return nil
	case VP8:
		err = p.readVP8()
	case VP9:
		err = p.readVP9(&d.vp9)
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
	p.Frame, p.Start, p.End, p.Key, p.mask = f.frame, f.start, f.end, f.structure, f.mask
	if f.known {
		p.TID, p.SID, p.SwitchTID, p.Skips = f.tid, f.sid, f.switchTID, f.skips
	}
	return nil
}

// SpatialLayers returns how many spatial layers the stream carries now (SVC), as its dependency structure or its VP9 scalability
// structure says; 1 if neither came.
func (d *Descriptor) SpatialLayers() int {
	switch {
	case d.dd.known:
		return int(d.dd.top) + 1
	case d.vp9.known:
		return int(d.vp9.count)
	}
	return 1
}

// NeedsDependencies reports that only the dependency descriptor tells the spatial layers of the stream apart, as in AV1: a receiver that
// does not take the extension sees one frame where a picture has several.
func (d *Descriptor) NeedsDependencies() bool { return d.codec == AV1 && d.dd.known }

// Targets returns what Outgoing.Targets is to say to a receiver that gets the frames of p's stream up to a spatial and a temporal layer
// (AV1 RTP specification A.4): the decode targets of which it gets every frame that the sender makes. 0 if p has no descriptor that can
// say so, or one of a structure that is no longer in use: what the receiver was told last goes on to hold.
func (d *Descriptor) Targets(p *Packet, sid, tid uint8) uint32 {
	s := d.dd.structure()
	if p.mask.count == 0 || p.mask.count != s.targetCount || p.ExtSeq < d.dd.since {
		return 0
	}
	return d.dd.active & s.decodable[min(sid, d.dd.top)][min(tid, ddMaxTemporal-1)]
}

// Resolution returns the size in pixels of a spatial layer of the stream, from its dependency structure or its VP9 scalability
// structure. ok is false when there is none or it does not say.
func (d *Descriptor) Resolution(sid uint8) (w, h uint16, ok bool) {
	s, v := d.dd.structure(), &d.vp9
	switch {
	case d.dd.known && s.resolutions && sid < s.spatialCount:
		return s.width[sid], s.height[sid], true
	case !d.dd.known && v.known && v.resolutions && sid < v.count:
		return v.width[sid], v.height[sid], true
	}
	return 0, 0, false
}

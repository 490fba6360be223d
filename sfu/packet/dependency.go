package packet

import "encoding/binary"

// The Dependency Descriptor is the header extension of the AV1 RTP specification (appendix A) that tells a forwarder frame
// boundaries, layers and dependencies for any codec. A key frame's first packet brings the structure: templates that the later
// packets refer to by id.

const (
	ddMandatoryBytes = 3  // start, end, template id, frame number
	ddMaxTemplates   = 64 // a template id has 6 bits
	ddMaxTargets     = 32 // a decode target count has 5 bits
	ddMaxFrameDiffs  = 8  // the format has no bound; encoders reference at most 7 frames (AV1 REFS_PER_FRAME)
	ddMaxSpatial     = 4
	ddMaxTemporal    = 8
)

// Decode target indications (A.8.3.4), two bits each.
const (
	dtiNotPresent = iota
	dtiDiscardable
	dtiSwitch
	dtiRequired
)

// ddTemplate is what the frames of one template have in common.
type ddTemplate struct {
	sid, tid   uint8
	switchTID  uint8  // see Packet.SwitchTID
	present    uint8  // spatial layers, a bit for each, of the decode targets that its frames are part of
	frameDiffs uint8  // used part of frameDiff
	dtis       uint64 // two bits per decode target, target 0 lowest
	targets    uint32 // the decode targets that its frames are part of
	frameDiff  [ddMaxFrameDiffs]uint8
	chainDiff  [ddMaxTargets]uint8
}

// ddStructure is the template dependency structure (A.8.3.2).
type ddStructure struct {
	idOffset, targetCount, templateCount uint8
	chainCount, spatialCount             uint8
	resolutions                          bool
	targetSID, targetTID                 [ddMaxTargets]uint8
	protectedBy                          [ddMaxTargets]uint8 // chain of each decode target
	width, height                        [ddMaxSpatial]uint16
	templates                            [ddMaxTemplates]ddTemplate
	decodable                            [ddMaxSpatial][ddMaxTemporal]uint32 // see readDecodable
}

// ddFrame is what one packet's descriptor says.
type ddFrame struct {
	start, end, structure bool
	known                 bool // the structure that the packet refers to is known: the fields below are valid
	frame                 uint16
	sid, tid, switchTID   uint8
	present               uint8 // see ddTemplate
	skips                 uint8 // see Packet.Skips
	mask                  targetMask
}

// dependencyReader reads the descriptors of one stream.
type dependencyReader struct {
	structures [2]ddStructure // the valid one and room to read the next: a malformed structure leaves the valid one alone
	current    uint8
	known      bool
	since      uint64 // extended sequence number of the packet that brought it
	active     uint32 // decode targets that the sender still produces
	top        uint8  // highest spatial layer of those
}

func (d *dependencyReader) structure() *ddStructure { return &d.structures[d.current&1] }

// read parses one descriptor. ok is false when it is malformed. A packet whose structure is missing (its key frame's first packet
// was lost or comes late) is not malformed: only its mandatory fields are known.
func (d *dependencyReader) read(b []byte, ext uint64) (f ddFrame, ok bool) {
	if len(b) < ddMandatoryBytes {
		return f, false
	}
	f.start, f.end = b[0]&0x80 != 0, b[0]&0x40 != 0
	f.frame = binary.BigEndian.Uint16(b[1:])
	id := b[0] & 0x3f
	if len(b) == ddMandatoryBytes {
		if d.known && d.structure().apply(&f, id) {
			f.skips = skips(f.present, f.sid, d.top)
			f.mask = targetMask{at: ddMaskAt, end: ddMaskAt, count: d.structure().targetCount}
		}
		return f, true
	}

	r := bitReader{data: b, at: 8 * ddMandatoryBytes}
	f.structure = r.flag()
	activePresent := r.flag()
	customDTIs, customDiffs, customChains := r.flag(), r.flag(), r.flag()
	s := d.structure()
	adopt := false
	if f.structure {
		if !f.start {
			return f, false
		}
		s = &d.structures[(d.current+1)&1]
		if !s.read(&r) {
			return f, false
		}
		adopt = !d.known || ext >= d.since
	} else if !d.known {
		return f, true // the rest cannot be read without the structure
	}
	active := uint32(1)<<s.targetCount - 1
	mask := targetMask{at: uint16(r.at), count: s.targetCount, present: activePresent}
	if activePresent {
		active = r.bits(int(s.targetCount))
	}
	if !s.apply(&f, id) {
		// A template of another structure. The packet that brings a structure must fit it; another may follow a lost key frame.
		return f, !f.structure
	}
	if !s.readCustom(&r, &f, customDTIs, customDiffs, customChains) {
		return f, false
	}
	mask.end = uint16(r.at)
	if (adopt || !f.structure) && mask.bytes() <= ddMaxBytes {
		f.mask = mask
	}
	if adopt {
		d.current = (d.current + 1) & 1
		d.known, d.since = true, ext
	}
	if adopt || activePresent && !f.structure && ext >= d.since && active != d.active {
		d.active, d.top = active, s.top(active)
		s.readDecodable(d.top)
	}
	f.skips = skips(f.present, f.sid, d.top)
	return f, true
}

// top returns the highest spatial layer of a set of decode targets.
func (s *ddStructure) top(targets uint32) (top uint8) {
	for k := range s.targetCount {
		if targets>>k&1 != 0 {
			top = max(top, s.targetSID[k])
		}
	}
	return top
}

// skips returns the layers above sid that are not in present, see Packet.Skips. Whoever wants more than the highest layer that is sent
// gets that one.
func skips(present, sid, top uint8) uint8 {
	if sid >= top {
		return 0
	}
	below := uint8(2)<<top - 1
	s := ^present & below & ^(uint8(2)<<sid - 1)
	if s>>top&1 != 0 {
		s |= ^below
	}
	return s
}

// apply fills f from the template id (A.8.3.3).
func (s *ddStructure) apply(f *ddFrame, id uint8) bool {
	i := (id - s.idOffset) & 0x3f
	if i >= s.templateCount {
		return false
	}
	t := &s.templates[i]
	f.known, f.sid, f.tid, f.switchTID, f.present = true, t.sid, t.tid, t.switchTID, t.present
	return true
}

// readCustom reads what a frame says instead of its template. Only the indications matter to a forwarder; the others are read to
// see that the descriptor is whole.
func (s *ddStructure) readCustom(r *bitReader, f *ddFrame, dtis, diffs, chains bool) bool {
	if dtis {
		var v uint64
		for k := range s.targetCount {
			v |= uint64(r.bits(2)) << (2 * k)
		}
		f.switchTID, f.present = s.switchUp(v, f.sid, f.tid), s.present(v)
	}
	if diffs {
		for n := 0; ; n++ {
			size := r.bits(2)
			if size == 0 || r.bad {
				break
			}
			if n == ddMaxFrameDiffs {
				return false
			}
			r.bits(int(4 * size))
		}
	}
	if chains {
		for range s.chainCount {
			r.bits(8)
		}
	}
	return !r.bad
}

// read parses template_dependency_structure() (A.8.3.2) into s, overwriting all of it that counts.
func (s *ddStructure) read(r *bitReader) bool {
	s.idOffset = uint8(r.bits(6))
	s.targetCount = uint8(r.bits(5)) + 1
	if !s.readLayers(r) {
		return false
	}
	for i := range s.templateCount {
		t := &s.templates[i]
		t.dtis = 0
		for k := range s.targetCount {
			t.dtis |= uint64(r.bits(2)) << (2 * k)
		}
	}
	for i := range s.templateCount {
		t := &s.templates[i]
		t.frameDiffs = 0
		for r.flag() {
			if t.frameDiffs == ddMaxFrameDiffs {
				return false
			}
			t.frameDiff[t.frameDiffs] = uint8(r.bits(4)) + 1
			t.frameDiffs++
		}
	}
	s.chainCount = uint8(r.nonSymmetric(uint32(s.targetCount) + 1))
	if s.chainCount > 0 {
		for k := range s.targetCount {
			s.protectedBy[k] = uint8(r.nonSymmetric(uint32(s.chainCount)))
		}
		for i := range s.templateCount {
			for c := range s.chainCount {
				s.templates[i].chainDiff[c] = uint8(r.bits(4))
			}
		}
	}
	s.readTargets()
	s.resolutions = r.flag()
	if s.resolutions {
		for i := range s.spatialCount {
			w, h := r.bits(16)+1, r.bits(16)+1
			s.width[i], s.height[i] = uint16(min(w, 1<<16-1)), uint16(min(h, 1<<16-1))
		}
	}
	return !r.bad
}

// readLayers parses template_layers().
func (s *ddStructure) readLayers(r *bitReader) bool {
	var sid, tid uint8
	s.templateCount = 0
	for {
		if s.templateCount == ddMaxTemplates || sid >= ddMaxSpatial || tid >= ddMaxTemporal {
			return false
		}
		t := &s.templates[s.templateCount]
		t.sid, t.tid = sid, tid
		s.templateCount++
		switch r.bits(2) {
		case 1:
			tid++
		case 2:
			tid = 0
			sid++
		case 3:
			s.spatialCount = sid + 1
			return !r.bad
		}
		if r.bad {
			return false
		}
	}
}

// readTargets derives the layer of each decode target, decode_target_layers(), and from it which layers each template's frames serve.
func (s *ddStructure) readTargets() {
	for k := range s.targetCount {
		s.targetSID[k], s.targetTID[k] = 0, 0
		for i := range s.templateCount {
			t := &s.templates[i]
			if t.dtis>>(2*k)&3 != dtiNotPresent {
				s.targetSID[k] = max(s.targetSID[k], t.sid)
				s.targetTID[k] = max(s.targetTID[k], t.tid)
			}
		}
	}
	for i := range s.templateCount {
		t := &s.templates[i]
		t.switchTID, t.present = s.switchUp(t.dtis, t.sid, t.tid), s.present(t.dtis)
		t.targets = 0
		for k := range s.targetCount {
			if t.dtis>>(2*k)&3 != dtiNotPresent {
				t.targets |= 1 << k
			}
		}
	}
}

// readDecodable derives which decode targets a receiver of each spatial and temporal layer gets every frame of, when top is the highest
// spatial layer that is sent. In L3T3_KEY those of the layers below its own are not among them.
func (s *ddStructure) readDecodable(top uint8) {
	for sid := range int(s.spatialCount) {
		for tid := range s.decodable[sid] {
			var lost uint32
			for i := range s.templateCount {
				if t := &s.templates[i]; int(t.sid) > sid || int(t.tid) > tid || skips(t.present, t.sid, top)>>sid&1 != 0 {
					lost |= t.targets
				}
			}
			s.decodable[sid][tid] = ^lost
		}
	}
}

// present returns the spatial layers of the decode targets that a frame with these indications is part of.
func (s *ddStructure) present(dtis uint64) (sids uint8) {
	for k := range s.targetCount {
		if dtis>>(2*k)&3 != dtiNotPresent {
			sids |= 1 << s.targetSID[k]
		}
	}
	return sids
}

// switchUp returns the highest temporal layer that a receiver of a frame with these indications may add after it. The indication
// "switch" promises that later frames of the target are decodable if this frame is.
func (s *ddStructure) switchUp(dtis uint64, sid, tid uint8) (up uint8) {
	for k := range s.targetCount {
		if dtis>>(2*k)&3 == dtiSwitch && s.targetSID[k] == sid && s.targetTID[k] > tid {
			up = max(up, s.targetTID[k])
		}
	}
	return up
}

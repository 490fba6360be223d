package client

// av1Packetizer cuts frames into RTP payloads (AV1 RTP specification 4): one OBU a frame, the one that the encryption wrapped it in,
// without its size, which the packets give. Not safe for concurrent use.
type av1Packetizer struct{ buf []byte }

// Bits of the aggregation header: the first OBU continues one of the packet before, the last is continued in the next, one OBU in the
// packet, first packet of a coded video sequence.
const (
	av1Continues = 0x80
	av1Continued = 0x40
	av1OneOBU    = 0x10
	av1NewVideo  = 0x08
)

// packetize returns the payloads of one encrypted frame. They are valid until the next call.
func (a *av1Packetizer) packetize(frame []byte, key bool, dst [][]byte) [][]byte {
	const hasSize = 0x02
	at := 1
	for at < len(frame) && frame[at]&0x80 != 0 { // leb128
		at++
	}
	obu := frame[at:]
	obu[0] = frame[0] &^ hasSize // over the last byte of the size
	count := (len(obu) + maxPayload - 2) / (maxPayload - 1)
	a.buf = a.buf[:0]
	if need := len(obu) + count; cap(a.buf) < need {
		a.buf = make([]byte, 0, need) // one allocation: the payloads alias it
	}
	for i := range count {
		from := len(a.buf)
		head := byte(av1OneOBU)
		if i > 0 {
			head |= av1Continues
		}
		if i < count-1 {
			head |= av1Continued
		}
		if key && i == 0 {
			head |= av1NewVideo
		}
		a.buf = append(a.buf, head)
		a.buf = append(a.buf, obu[len(obu)*i/count:len(obu)*(i+1)/count]...)
		dst = append(dst, a.buf[from:len(a.buf):len(a.buf)])
	}
	return dst
}

// parseAV1 reads the aggregation header of a packet with one OBU or a part of it; a frame is one OBU.
func parseAV1(b []byte) (start, end bool, err error) {
	if len(b) < 2 || b[0]>>4&3 != 1 {
		return false, false, errDescriptor
	}
	return b[0]&av1Continues == 0, b[0]&av1Continued == 0, nil
}

// Decode target indications of the dependency descriptor (AV1 RTP specification A.8.3.4).
const (
	dtiNotPresent = iota
	dtiDiscardable
	dtiSwitch
	dtiRequired
)

// Temporal layers of a stream with a dependency descriptor, and their pattern.
const temporalLayers = 3

// templatesPerLayer: T0 of a key picture, T0, T1, T2.
const templatesPerLayer = 4

// appendDescriptor appends the dependency descriptor of a packet; the first one of a key picture brings the structure. between says
// that spatial layers refer to each other in every picture, not in key pictures alone.
func appendDescriptor(dst []byte, f *layered, start, end, between bool) []byte {
	w := bitWriter{data: dst, at: 8 * len(dst)}
	w.flag(start)
	w.flag(end)
	w.put(uint32(f.template), 6)
	w.put(uint32(uint16(f.number)), 16)
	if start && f.key {
		w.put(0b10000, 5) // structure, no other field
		w.structure(f, between)
	}
	return w.data
}

// structure writes template_dependency_structure() (A.8.3.2). Decode targets and templates are ordered by spatial layer, then temporal.
func (w *bitWriter) structure(f *layered, between bool) {
	layers := f.layers
	const same, nextTemporal, nextSpatial, last = 0, 1, 2, 3
	w.put(0, 6) // of template ids
	w.put(uint32(layers)*temporalLayers-1, 5)
	for sid := range layers {
		w.put(same, 2)
		w.put(nextTemporal, 2)
		w.put(nextTemporal, 2)
		if sid < layers-1 {
			w.put(nextSpatial, 2)
		} else {
			w.put(last, 2)
		}
	}
	for sid := range layers {
		for template := range uint8(templatesPerLayer) {
			tid := templateTID(template)
			for target := range layers * temporalLayers {
				w.put(indication(sid, tid, target/temporalLayers, target%temporalLayers, template == 0, between), 2)
			}
		}
	}
	for sid := range layers {
		for template := range uint8(templatesPerLayer) {
			if back := [...]uint32{0, 4, 2, 1}[template]; back > 0 { // pictures
				w.put(1, 1)
				w.put(back*uint32(layers)-1, 4)
			}
			if sid > 0 && (template == 0 || between) {
				w.put(1, 1)
				w.put(0, 4) // the frame before
			}
			w.put(0, 1)
		}
	}
	chains := uint32(layers)*temporalLayers + 1 // ns(chains), value 0
	bits := 0
	for n := chains; n != 0; n >>= 1 {
		bits++
	}
	w.put(0, bits-1)
	w.put(1, 1) // resolutions
	for sid := range layers {
		scale := uint32(1) << (layers - 1 - sid + f.shrink)
		w.put(1280/scale-1, 16)
		w.put(720/scale-1, 16)
	}
}

func templateTID(template uint8) uint8 { return []uint8{0, 0, 1, 2}[template] }

// indication returns what a frame of a layer is to a decode target.
func indication(sid, tid, targetSID, targetTID uint8, keyPicture, between bool) uint32 {
	switch {
	case targetTID < tid || targetSID < sid || targetSID > sid && !keyPicture && !between:
		return dtiNotPresent
	case keyPicture:
		return dtiSwitch
	case targetSID > sid:
		return dtiRequired
	case targetTID > tid || tid == 0:
		return dtiSwitch
	}
	return dtiDiscardable
}

// bitWriter appends bit fields, the highest bit first.
type bitWriter struct {
	data []byte
	at   int // bits
}

func (w *bitWriter) put(v uint32, bits int) {
	for i := bits - 1; i >= 0; i-- {
		if w.at%8 == 0 {
			w.data = append(w.data, 0)
		}
		w.data[w.at/8] |= byte(v>>i&1) << (7 - w.at%8)
		w.at++
	}
}

func (w *bitWriter) flag(v bool) {
	if v {
		w.put(1, 1)
	} else {
		w.put(0, 1)
	}
}

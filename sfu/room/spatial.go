package room

import (
	"time"

	"sotto/sfu/layer"
	"sotto/sfu/packet"
	"sotto/sfu/unit"
)

// The rungs of a track are its streams (simulcast), or the spatial layers of its only stream (SVC).

// spatial is what a stream with spatial layers says of them.
type spatial struct {
	layers int // that are sent, as many as there are rungs at most; 1: nothing to choose
	rates  [layer.MaxRungs]meter
}

// note takes a packet of the stream and reports whether the number of layers changed.
func (s *spatial) note(now time.Time, d *packet.Descriptor, p *packet.Packet) (changed bool) {
	if p.Start {
		n := min(d.SpatialLayers(), layer.MaxRungs)
		changed = n != max(s.layers, 1)
		s.layers = n
	}
	if s.layers > 1 {
		for rung := p.SID; int(rung) < s.layers; rung++ {
			if p.Skips>>rung&1 == 0 {
				s.rates[rung].add(now, p.Start && p.SID == rung, len(p.Raw))
			}
		}
	}
	return changed
}

// svc returns the only stream of a track with spatial layers, nil if its rungs are streams.
func (t *track) svc() (only *stream) {
	for _, st := range t.streams {
		if st != nil && st.live {
			if only != nil {
				return nil
			}
			only = st
		}
	}
	if only == nil || only.spatial.layers < 2 {
		return nil
	}
	return only
}

// aim sets the wanted rung.
func (s *slot) aim(rung int8) {
	sid := uint8(layer.AllLayers)
	if st := s.track.svc(); st != nil && rung != layer.Paused {
		rung, sid = st.layer, uint8(rung)
	}
	s.sw.SetMaxSID(sid)
	s.sw.SetTarget(rung)
}

// aimed returns the wanted rung.
func (s *slot) aimed() int8 {
	rung := s.sw.Target()
	if sid := s.sw.MaxSID(); rung != layer.Paused && sid != layer.AllLayers {
		return int8(sid)
	}
	return rung
}

// shown returns the rung that is forwarded.
func (s *slot) shown() int8 {
	rung := s.sw.Current()
	if sid := s.sw.SID(); rung != layer.Paused && sid != layer.AllLayers {
		return int8(sid)
	}
	return rung
}

// rungs describes the spatial layers of the stream. A rung costs what its subscribers get.
func (s *stream) rungs() (list [layer.MaxRungs]rung) {
	var last uint16
	for i := range s.spatial.layers {
		r := &list[i]
		r.rate = max(s.spatial.rates[i].rate(guessedRate[i]), unit.Kbps)
		r.full = max(s.spatial.rates[i].full(guessedRate[i]), unit.Kbps)
		if _, h, ok := s.desc.Resolution(uint8(i)); ok && h > last {
			r.height = h
		} else {
			r.height = max(guessedHeight[i], last+1)
		}
		r.temporal, last = &s.temporal, r.height
	}
	return list
}

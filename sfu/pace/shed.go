package pace

// Shed says what was dropped from a queue.
type Shed struct {
	Packets int
	// Slot lost a frame that others may need (its temporal layer is the lowest): its receiver needs a key frame.
	Slot  uint16
	Broke bool
}

// Overfull reports whether the last packet would wait longer than MaxDelay, or the queue has no place left.
func (p *Pacer) Overfull() bool { return p.length >= MaxQueue || p.Delay() > MaxDelay }

// skip makes Push drop the rest of a stream until a frame begins that can be shown.
type skip struct {
	slot     uint16
	untilKey bool // a frame that others depend on is gone
}

// skipped reports whether it must go with what was shed.
func (p *Pacer) skipped(it *Item) bool {
	for i, s := range p.skips {
		if s.slot != it.Slot {
			continue
		}
		if it.Start && (it.Key || !s.untilKey) {
			p.skips = append(p.skips[:i], p.skips[i+1:]...)
			return false
		}
		return true
	}
	return false
}

func (p *Pacer) skip(slot uint16, untilKey bool) {
	for i := range p.skips {
		if p.skips[i].slot == slot {
			p.skips[i].untilKey = p.skips[i].untilKey || untilKey
			return
		}
	}
	p.skips = append(p.skips, skip{slot, untilKey})
}

// Shed drops whole frames of one stream: the one with the highest temporal layer, and among equals the highest rung.
// A frame of which packets have left stays, so that a receiver sees a frame whole or not at all. Call it until the queue
// is no longer Overfull or nothing was dropped.
func (p *Pacer) Shed() (s Shed) {
	victim := p.victim()
	if victim == nil {
		return s
	}
	s.Slot = victim.Slot
	rung, tid := victim.Rung, victim.TID
	s.Broke = tid == 0
	kept, dropping := 0, false
	for i := range p.length {
		it := p.at(i)
		if it.Slot == s.Slot {
			// Packets before the first Start belong to a frame that has begun to leave. What follows a frame of the
			// lowest temporal layer depends on it, so it goes too.
			if it.Start {
				dropping = s.Broke || it.Rung == rung && it.TID == tid
			}
			if dropping {
				s.Packets++
				p.bytes -= it.Size
				continue
			}
		}
		*p.at(kept) = *it
		kept++
	}
	for i := kept; i < p.length; i++ {
		*p.at(i) = Item{}
	}
	p.length = kept
	if dropping {
		p.skip(s.Slot, s.Broke)
	}
	return s
}

// victim returns an item that begins a frame of the highest layer.
func (p *Pacer) victim() (v *Item) {
	for i := range p.length {
		it := p.at(i)
		if it.Start && (v == nil || it.TID > v.TID || it.TID == v.TID && it.Rung > v.Rung) {
			v = it
		}
	}
	return v
}

// Drop removes the frames of a stream that have not begun to leave, because what follows does not need them. It returns how
// many packets they were.
func (p *Pacer) Drop(slot uint16) (packets int) {
	kept, dropping := 0, false
	for i := range p.length {
		it := p.at(i)
		if it.Slot == slot {
			if dropping = dropping || it.Start; dropping {
				packets++
				p.bytes -= it.Size
				continue
			}
		}
		*p.at(kept) = *it
		kept++
	}
	for i := kept; i < p.length; i++ {
		*p.at(i) = Item{}
	}
	p.length = kept
	return packets
}

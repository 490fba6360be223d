package room

// Thin keeps the frames of temporal layers above tid from everybody, whatever the estimates allow: the machine cannot send as
// much as it should. These are whole frames that no other one needs, and they are left out before a number is spent on them, so
// that no receiver misses them. layer.AllLayers ends it; a subscriber then gets more from the next frame on that allows it.
func (r *Room) Thin(tid uint8) {
	if tid == r.thin {
		return
	}
	r.thin = tid
	for _, p := range r.peers {
		for _, s := range p.slots {
			s.sw.SetMaxTID(min(s.tid, tid))
		}
	}
}

package transport

const (
	// slabSize is the outgoing memory that a session keeps. It holds a burst of
	// 48 full packets; what a flush has beyond that goes out earlier.
	slabSize = 64 << 10
	// slabStart is what a session begins with.
	slabStart = 4 << 10
	// maxRunSegments bounds a run: the kernel takes 64 segments (128 since
	// 6.9), but a long run is a long burst on the wire too.
	maxRunSegments = 16
	// maxRunBytes is the largest UDP payload.
	maxRunBytes = 65507
)

// outbox gathers the sealed packets of one session until Flush: one slab, cut
// at the given lengths. So runs to one destination form by themselves, however
// the shard's fan-out interleaves the destinations.
type outbox struct {
	slab    []byte
	lengths []int
	queued  bool // in Endpoint.dirty, also while the session changes hands
}

func (o *outbox) reset() { o.slab, o.lengths = o.slab[:0], o.lengths[:0] }

// tail returns the slab's unused end, at least size bytes long.
func (o *outbox) tail(size int) []byte {
	if need := len(o.slab) + size; need > cap(o.slab) {
		grown := make([]byte, len(o.slab), min(max(need, 2*cap(o.slab), slabStart), max(need, slabSize)))
		copy(grown, o.slab)
		o.slab = grown
	}
	return o.slab[len(o.slab):cap(o.slab)]
}

// append adds one packet. What was written into the slab's tail stays where it
// is, other memory is copied.
func (o *outbox) append(data []byte) {
	tail := o.tail(len(data))
	if len(data) > 0 && &tail[0] != &data[0] {
		copy(tail, data)
	}
	o.slab = o.slab[:len(o.slab)+len(data)]
	o.lengths = append(o.lengths, len(data))
}

// Slab returns an empty slice with room for size bytes at the end of the
// session's outgoing memory. A packet that is written and sealed there goes
// through Send without a copy. It is valid until the next Slab, Send or Flush.
// For a session that is gone: a new slice.
func (e *Endpoint) Slab(id SessionID, size int) []byte {
	s := e.session(id)
	if s == nil {
		return make([]byte, 0, size)
	}
	if len(s.out.slab) > 0 && len(s.out.slab)+size > slabSize {
		e.flushSession(s)
	}
	return s.out.tail(size)[:0]
}

// Send queues sealed packets for the session's current path: one, or several
// of segment bytes each of which the last may be shorter. data is the caller's
// again afterwards. Flush writes them.
func (e *Endpoint) Send(id SessionID, data []byte, segment int) {
	s := e.session(id)
	switch {
	case s == nil:
		e.drop(DropStaleSession)
		return
	case len(data) == 0:
		return
	case s.current() == nil:
		e.drop(DropNoPath)
		return
	}
	if len(s.out.slab) > 0 && len(s.out.slab)+len(data) > slabSize {
		e.flushSession(s)
	}
	if !s.out.queued {
		s.out.queued = true
		e.dirty = append(e.dirty, uint16(id.Index()))
	}
	if segment <= 0 {
		segment = len(data)
	}
	for len(data) > 0 {
		n := min(segment, len(data))
		s.out.append(data[:n])
		data = data[n:]
	}
}

// Flush writes everything queued and returns how many datagrams the socket, or
// the queues of ICE-TCP connections, accepted.
func (e *Endpoint) Flush() int {
	before := e.stats.DatagramsOut
	for _, index := range e.dirty {
		e.gather(&e.sessions[index])
	}
	e.write()
	for _, index := range e.dirty {
		o := &e.sessions[index].out
		o.reset()
		o.queued = false
	}
	e.dirty = e.dirty[:0]
	return int(e.stats.DatagramsOut - before)
}

// flushSession makes room in a full slab; the session stays in dirty.
func (e *Endpoint) flushSession(s *session) {
	e.gather(s)
	e.write()
	s.out.reset()
}

// gather cuts a session's slab into runs: packets of equal length, the last
// may be shorter, as UDP_SEGMENT wants them.
func (e *Endpoint) gather(s *session) {
	if len(s.out.lengths) == 0 {
		return
	}
	to := s.current()
	if to == nil {
		e.stats.Drops[DropNoPath] += uint64(len(s.out.lengths))
		return
	}
	if to.stream != nil {
		e.gatherStream(s, to.stream)
		return
	}
	start, end, segment, segments := 0, 0, 0, 0
	for _, n := range s.out.lengths {
		full := segments > 0 && (n > segment || segments == maxRunSegments || end-start+n > maxRunBytes ||
			end-start != segments*segment) // a shorter one has closed the run
		if full {
			e.runs = append(e.runs, Run{Data: s.out.slab[start:end], Segment: segment, To: to.addr})
			start, segments = end, 0
		}
		if segments == 0 {
			segment = n
		}
		segments++
		end += n
	}
	e.runs = append(e.runs, Run{Data: s.out.slab[start:end], Segment: segment, To: to.addr})
}

func (e *Endpoint) gatherStream(s *session, c *StreamConn) {
	offset := 0
	for _, n := range s.out.lengths {
		if c.send(s.out.slab[offset : offset+n]) {
			e.stats.DatagramsOut++
			e.stats.BytesOut += uint64(n)
		} else {
			e.drop(DropStreamQueue)
		}
		offset += n
	}
}

// write hands the gathered runs to the socket.
func (e *Endpoint) write() {
	if len(e.runs) == 0 {
		return
	}
	want := 0
	for _, r := range e.runs {
		want += r.datagrams()
		e.stats.BytesOut += uint64(len(r.Data))
	}
	sent, _ := e.bind.WriteBatch(e.runs) // a closed bind shows in Read
	e.stats.DatagramsOut += uint64(sent)
	e.stats.Drops[DropSocket] += uint64(want - sent)
	clear(e.runs) // do not hold slabs of sessions that end
	e.runs = e.runs[:0]
}

// writeNow answers a datagram at once, past the batch.
func (e *Endpoint) writeNow(d Datagram, data []byte) {
	sent := false
	if d.Stream != nil {
		sent = d.Stream.send(data)
	} else {
		e.reply1[0] = Run{Data: data, To: d.From}
		n, _ := e.bind.WriteBatch(e.reply1[:])
		sent = n == 1
	}
	if !sent {
		e.drop(DropSocket)
		return
	}
	e.stats.DatagramsOut++
	e.stats.BytesOut += uint64(len(data))
}

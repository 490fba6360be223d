package transport

import (
	"errors"
	"net/netip"

	"github.com/pion/rtp"
)

const (
	// slabSize is the memory of an Outbox: what is written at once. It stays in
	// the cache of the core, from sealing to the kernel's copy, and holds 32
	// frames of six full packets.
	slabSize = 256 << 10
	// maxQueuedRuns is how many messages should wait: what one system call
	// takes. More saves nothing and makes the first ones wait.
	maxQueuedRuns = 32
	// maxRunSegments bounds a run: the kernel takes 64 segments (128 since
	// 6.9), but a long run is a long burst on the wire too.
	maxRunSegments = 16
	// maxRunBytes is the largest UDP payload.
	maxRunBytes = 65507
)

// Outbox seals packets and gathers them in one slab until they are written.
// Packets of one session that follow each other and are equally long, the last
// may be shorter, become one run, as UDP_SEGMENT wants them: so send what is
// for one session in a row.
//
// An Outbox is of one goroutine. Several may be at work at a time while nothing
// else is done with the Endpoint, and no two for the same session: what they
// share is only read.
type Outbox struct {
	endpoint *Endpoint
	writer   Writer
	sealed   rtp.Header // scratch of SealRTP

	slab     []byte
	runs     []Run
	to       SessionID // of the last run
	segments int       // of the last run; 0 = it takes no more
	want     int       // datagrams in runs
	accepted int       // datagrams since the last Flush

	datagrams, bytes uint64 // that were accepted
	refusals         uint64 // writes that found the socket full
	drops            [NumDropReasons]uint64
}

func (o *Outbox) init(e *Endpoint) {
	o.endpoint = e
	o.writer = writerOf(e.bind)
	o.slab = make([]byte, 0, slabSize)
	o.runs = make([]Run, 0, maxQueuedRuns)
	e.outboxes = append(e.outboxes, o)
}

// NewOutbox makes an Outbox for another goroutine than the Endpoint's, which
// has one of its own. It stays for the life of the Endpoint.
func (e *Endpoint) NewOutbox() *Outbox {
	o := new(Outbox)
	o.init(e)
	return o
}

// append adds one packet. What was written into the slab's unused end stays
// where it is, other memory is copied.
func (o *Outbox) append(id SessionID, to netip.AddrPort, data []byte) {
	start := len(o.slab)
	o.slab = o.slab[:start+len(data)]
	if tail := o.slab[start:]; &tail[0] != &data[0] {
		copy(tail, data)
	}
	o.want++
	if o.segments > 0 && o.to == id {
		r := &o.runs[len(o.runs)-1]
		if len(data) <= r.Segment && o.segments < maxRunSegments && len(r.Data)+len(data) <= maxRunBytes && r.To == to {
			r.Data = r.Data[:len(r.Data)+len(data)]
			if o.segments++; len(data) < r.Segment {
				o.segments = 0 // a shorter one closes the run
			}
			return
		}
	}
	o.runs = append(o.runs, Run{Data: o.slab[start:], Segment: len(data), To: to})
	o.to, o.segments = id, 1
}

// Slab returns an empty slice with room for size bytes, no more than a
// datagram's, at the end of the outgoing memory. A packet that is written and
// sealed there goes through Send without a copy. It is valid until the next
// Slab, Send or Flush. Where the memory is used up, what waits is written.
func (o *Outbox) Slab(size int) []byte {
	if len(o.slab)+size > cap(o.slab) {
		o.write()
	}
	return o.slab[len(o.slab):]
}

// Send queues sealed packets for the session's current path: one, or several
// of segment bytes each of which the last may be shorter. data is the caller's
// again afterwards. They are written by Flush at the latest.
func (o *Outbox) Send(id SessionID, data []byte, segment int) {
	s := o.endpoint.session(id)
	if s == nil {
		o.drops[DropStaleSession]++
		return
	}
	to := s.current()
	if to == nil {
		o.drops[DropNoPath]++
		return
	}
	if segment <= 0 {
		segment = len(data)
	}
	for len(data) > 0 {
		n := min(segment, len(data))
		if to.stream != nil {
			o.sendStream(to.stream, data[:n])
		} else {
			// A packet from Slab fits: it is there already.
			if len(o.slab)+n > cap(o.slab) {
				o.write()
			}
			o.append(id, to.addr, data[:n])
		}
		data = data[n:]
	}
}

// Accepts reports whether the session's current path takes so many packets of
// video, of so many bytes sealed in all, and counts them as dropped where it
// does not: an ICE-TCP connection that is slower than its traffic. So a frame
// is left out as a whole, before it costs anything.
func (o *Outbox) Accepts(id SessionID, packets, bytes int) bool {
	s := o.endpoint.session(id)
	if s == nil {
		return true // Send counts it
	}
	to := s.current()
	if to == nil || to.stream == nil || to.stream.fits(packets, bytes) {
		return true
	}
	o.drops[DropStreamQueue] += uint64(packets)
	return false
}

func (o *Outbox) sendStream(c *StreamConn, data []byte) {
	if !c.send(data) {
		o.drops[DropStreamQueue]++
		return
	}
	o.accepted++
	o.datagrams++
	o.bytes += uint64(len(data))
}

// Full reports that as many messages wait as are written at once. To go on
// after that is allowed, but makes the first ones wait for no gain.
func (o *Outbox) Full() bool { return len(o.runs) >= maxQueuedRuns }

// Flush writes everything queued and returns how many datagrams the socket, or
// the queues of ICE-TCP connections, accepted since the last Flush.
func (o *Outbox) Flush() int {
	o.write()
	n := o.accepted
	o.accepted = 0
	return n
}

// Refusals returns how many writes found no room for all of it since the
// start.
func (o *Outbox) Refusals() uint64 { return o.refusals }

// write hands the gathered runs to the socket.
func (o *Outbox) write() {
	if len(o.runs) == 0 {
		return
	}
	sent, err := o.writer.WriteBatch(o.runs) // a closed bind shows in Read
	if errors.Is(err, ErrBindFull) {
		o.refusals++
	}
	o.accepted += sent
	o.datagrams += uint64(sent)
	o.bytes += uint64(len(o.slab))
	o.drops[DropSocket] += uint64(o.want - sent)
	o.slab, o.runs, o.segments, o.want = o.slab[:0], o.runs[:0], 0, 0
}

// addTo adds what went out to the endpoint's counters.
func (o *Outbox) addTo(s *Stats) {
	s.DatagramsOut += o.datagrams
	s.BytesOut += o.bytes
	for i, n := range o.drops {
		s.Drops[i] += n
	}
}

// writeNow answers a datagram at once, past the batch.
func (e *Endpoint) writeNow(d Datagram, data []byte) {
	sent := false
	if d.Stream != nil {
		sent = d.Stream.send(data)
	} else {
		e.reply1[0] = Run{Data: data, To: d.From}
		n, _ := e.writer.WriteBatch(e.reply1[:])
		sent = n == 1
	}
	if !sent {
		e.drop(DropSocket)
		return
	}
	e.stats.DatagramsOut++
	e.stats.BytesOut += uint64(len(data))
}

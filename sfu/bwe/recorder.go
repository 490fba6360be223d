package bwe

import (
	"time"

	"github.com/pion/rtcp"

	"sotto/sfu/seq"
)

const (
	// FeedbackEvery is how often a publisher gets feedback: at least once in a typical round trip, so that its own
	// estimator reacts fast; at 20 a second of about 40 bytes it costs 6 kbit/s.
	FeedbackEvery = 50 * time.Millisecond
	// recorded is how many arrivals are remembered, a power of two: two seconds of 1,000 packets/s.
	recorded = 2048
	// maxStatuses bounds one feedback packet, and early asks for feedback before the window is half full.
	maxStatuses = 512
	early       = 512
	// maxLate is how far behind a packet may come and still be reported.
	maxLate = 512
	// maxFeedbacks bounds what one call builds, whatever the publisher sends.
	maxFeedbacks = 8

	tick      = 250 * time.Microsecond // unit of a receive delta
	refTicks  = 256                    // of the reference time: 64 ms
	maxVector = 14                     // symbols of one bit in a status vector chunk
)

type arrival struct {
	ext  uint64 // 0: none
	tick int64  // since epoch
}

// Recorder notes when a publisher's packets arrived and builds transport-wide feedback of it. The zero value is ready.
type Recorder struct {
	unwrap   seq.Unwrapper
	epoch    time.Time
	arrivals []arrival
	from     uint64 // first number that no feedback covered; 0: nothing received yet
	top      uint64
	pending  int
	due      time.Time
	count    uint8    // fb pkt count
	symbols  []uint16 // of the feedback being built
}

// Received notes the arrival of the packet with transport-wide number n.
func (r *Recorder) Received(at time.Time, n uint16) {
	ext := r.unwrap.Unwrap(n)
	if r.arrivals == nil {
		r.arrivals = make([]arrival, recorded)
		r.symbols = make([]uint16, 0, maxStatuses)
		r.epoch, r.from, r.top = at, ext, ext
	}
	switch {
	case ext > r.top:
		if ext-r.top >= recorded {
			r.from = ext // a restart or an attack: report nothing of the gap
		}
		r.top = ext
		if r.top-r.from >= recorded {
			r.from = r.top - recorded + 1
		}
	case ext < r.from:
		if r.from-ext > maxLate || r.top-ext >= recorded {
			return
		}
		r.from = ext // report again from here: the sender ignores what it knows
	}
	a := &r.arrivals[ext%recorded]
	if a.ext == ext {
		return
	}
	*a = arrival{ext, max(int64(at.Sub(r.epoch)/tick), 0)}
	r.pending++
	if r.pending == 1 {
		r.due = at.Add(FeedbackEvery)
	} else if r.pending == early {
		r.due = at
	}
}

// Next returns when feedback is due; zero is never.
func (r *Recorder) Next() time.Time { return r.due }

// Feedback appends the feedback of everything that arrived since the last call to dst, if it is due. Only packets that
// arrived end a report; losses after the last one are told with the next.
func (r *Recorder) Feedback(now time.Time, sender, media uint32, dst []*rtcp.TransportLayerCC) []*rtcp.TransportLayerCC {
	if r.due.IsZero() || now.Before(r.due) {
		return dst
	}
	r.due, r.pending = time.Time{}, 0
	for i := 0; i < maxFeedbacks && r.from <= r.top; i++ {
		if fb := r.build(sender, media); fb != nil {
			dst = append(dst, fb)
		}
	}
	r.from = r.top + 1
	return dst
}

// build makes one feedback packet from r.from on and moves r.from behind it. It returns nil where nothing arrived.
func (r *Recorder) build(sender, media uint32) *rtcp.TransportLayerCC {
	base, n := r.from, r.from
	last, ref := int64(-1), int64(0)
	symbols := r.symbols[:0]
	received := 0 // len(symbols) at the last received one, plus one
	var deltas []*rtcp.RecvDelta
	for ; n <= r.top && len(symbols) < maxStatuses; n++ {
		a := &r.arrivals[n%recorded]
		if a.ext != n {
			symbols = append(symbols, rtcp.TypeTCCPacketNotReceived)
			continue
		}
		if last < 0 {
			ref = a.tick / refTicks
			last = ref * refTicks
		}
		delta := a.tick - last
		if delta < -1<<15 || delta >= 1<<15 {
			break // more than 8 s apart: the next packet begins with its own reference time
		}
		symbol := uint16(rtcp.TypeTCCPacketReceivedSmallDelta)
		if delta < 0 || delta > 255 {
			symbol = rtcp.TypeTCCPacketReceivedLargeDelta
		}
		symbols = append(symbols, symbol)
		deltas = append(deltas, &rtcp.RecvDelta{Type: symbol, Delta: delta * int64(tick/time.Microsecond)})
		last = a.tick
		received = len(symbols)
	}
	r.from = n
	if received == 0 {
		return nil
	}
	fb := &rtcp.TransportLayerCC{
		SenderSSRC:         sender,
		MediaSSRC:          media,
		BaseSequenceNumber: uint16(base),
		PacketStatusCount:  uint16(received),
		ReferenceTime:      uint32(ref) & 0xFF_FFFF,
		FbPktCount:         r.count,
		PacketChunks:       chunks(symbols[:received]),
		RecvDeltas:         deltas,
	}
	r.count++
	r.from = base + uint64(received)
	size := fb.MarshalSize()
	unpadded := 20 + 2*len(fb.PacketChunks)
	for _, d := range deltas {
		unpadded += int(d.Type) // small deltas take 1 byte, large ones 2, as their symbols
	}
	fb.Header = rtcp.Header{
		Padding: size != unpadded,
		Count:   rtcp.FormatTCC,
		Type:    rtcp.TypeTransportSpecificFeedback,
		Length:  uint16(size/4 - 1),
	}
	return fb
}

// chunks encodes statuses: long runs as run length chunks, else 14 one-bit or 7 two-bit symbols a chunk.
func chunks(symbols []uint16) (out []rtcp.PacketStatusChunk) {
	for len(symbols) > 0 {
		run := 1
		for run < len(symbols) && symbols[run] == symbols[0] {
			run++
		}
		if run >= maxVector || run == len(symbols) {
			out = append(out, &rtcp.RunLengthChunk{
				Type: rtcp.TypeTCCRunLengthChunk, PacketStatusSymbol: symbols[0], RunLength: uint16(run),
			})
			symbols = symbols[run:]
			continue
		}
		n, size := min(maxVector, len(symbols)), uint16(rtcp.TypeTCCSymbolSizeOneBit)
		for _, s := range symbols[:n] {
			if s == rtcp.TypeTCCPacketReceivedLargeDelta {
				n, size = min(maxVector/2, len(symbols)), rtcp.TypeTCCSymbolSizeTwoBit
				break
			}
		}
		list := make([]uint16, n)
		copy(list, symbols)
		out = append(out, &rtcp.StatusVectorChunk{Type: rtcp.TypeTCCStatusVectorChunk, SymbolSize: size, SymbolList: list})
		symbols = symbols[n:]
	}
	return out
}

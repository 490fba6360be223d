package layer

import "sotto/sfu/packet"

// record is what was sent under one number: 20 bytes, so that a retransmission is exactly what was sent without asking how the
// numbers stood then.
type record struct {
	ext   uint32 // lower half of ExtSeq
	ts    uint32
	frame uint16
	pic   uint16
	seq   uint16
	tl0   uint8
	kind  uint8

	limited  bool // see Out
	sid, tid uint8
}

func (r *record) out() Out {
	return Out{
		Seq: r.seq, TS: r.ts, Frame: r.frame, PictureID: r.pic, TL0: r.tl0, Marker: r.kind&recordMarker != 0,
		Limited: r.limited, SID: r.sid, TID: r.tid,
	}
}

// Kinds of a record; from recordRung0 on the rung is counted. The marker bit is kept beside it.
const (
	recordNone = iota
	recordFill // a hole closed by padding
	recordRung0

	recordMarker = 1 << 7
)

// Packets that can be retransmitted: 512 are 3 s at 1.5 Mbit/s, more than a receiver waits. Audio is repaired by its codec; its records
// only keep duplicates out.
const (
	videoRecords = 512
	audioRecords = 64
)

// records is a ring by outgoing number; its length is a power of two.
type records []record

func newRecords(c packet.Codec) records {
	if c == packet.Opus {
		return make(records, audioRecords)
	}
	return make(records, videoRecords)
}

// used reports that a recent number has been sent: it must not be sealed again.
func (r records) used(seq uint16) bool {
	e := &r[int(seq)&(len(r)-1)]
	return e.kind != recordNone && e.seq == seq
}

// get returns the record of a packet that can be sent again, or nil.
func (r records) get(seq uint16) *record {
	if len(r) == 0 {
		return nil
	}
	if e := &r[int(seq)&(len(r)-1)]; e.kind >= recordRung0 && e.seq == seq {
		return e
	}
	return nil
}

// forget makes the packets of a rung unavailable; their numbers stay used.
func (r records) forget(rung int8) {
	for i := range r {
		if r[i].kind&^recordMarker == uint8(rung)+recordRung0 {
			r[i].kind = recordFill
		}
	}
}

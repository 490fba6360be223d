package shard

import (
	"net/netip"
	"runtime"
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"

	"sotto/sfu/transport"
)

// A flood is RTCP of an authenticated subscriber, sealed as it must be, as much as fits: what it asks for or claims is made anew for
// each compound.
const (
	floodFor   = 3 * time.Second
	floodRound = 8 * time.Millisecond
	floodEach  = 40 // compounds a round: 5,000 a second
	floodSize  = 1100
)

// flood is what is known while one runs.
type flood struct {
	r         *rig
	publisher *far
	attacker  *far
	others    []*far // viewers
	media     Media  // of the attacker

	sent      int    // compounds
	least     int    // bytes of the shortest
	number    uint16 // newest of the attacker's media
	transport uint16 // and its transport-wide one
	packets   map[netip.AddrPort]int
	volume    map[netip.AddrPort]int
	requests  int // for key frames, as they reach the publisher
	asked     int // numbers that the publisher is asked for
}

// take is the network behind the shard: it counts what each client gets, and opens what publisher and attacker get.
func (f *flood) take(runs []transport.Run) (int, error) {
	for _, run := range runs {
		size := len(run.Data)
		if run.Segment > 0 {
			size = run.Segment
		}
		for data := run.Data; len(data) > 0; data = data[min(size, len(data)):] {
			f.datagram(run.To, data[:min(size, len(data))])
		}
	}
	return len(runs), nil
}

func (f *flood) datagram(to netip.AddrPort, data []byte) {
	if data[0]>>6 != 2 {
		return // DTLS, from a goroutine of its own
	}
	f.volume[to] += len(data)
	if control := data[1] >= 192 && data[1] <= 223; control && to == f.publisher.addr {
		plain, err := f.publisher.in.DecryptRTCP(nil, data, nil)
		if err != nil {
			f.r.Fatal(err)
		}
		list, err := rtcp.Unmarshal(plain)
		if err != nil {
			f.r.Fatal(err)
		}
		for _, p := range list {
			switch p := p.(type) {
			case *rtcp.PictureLossIndication:
				f.requests++
			case *rtcp.TransportLayerNack:
				f.asked += len(p.Nacks)
			}
		}
		return
	} else if control {
		return
	}
	f.packets[to]++
	if to != f.attacker.addr {
		return
	}
	plain, err := f.attacker.in.DecryptRTP(nil, data, nil)
	var p rtp.Packet
	if err == nil {
		err = p.Unmarshal(plain)
	}
	if err != nil {
		f.r.Fatal(err)
	}
	if p.SSRC == f.media.Slots[1].SSRC {
		f.number = p.SequenceNumber
	}
	var ext rtp.TransportCCExtension
	if ext.Unmarshal(p.GetExtension(f.media.Outgoing.TransportCC)) == nil {
		f.transport = ext.TransportSequence
	}
}

// feedback claims one thing of n packets up to one in each eight, by runs of at most 8,191, and of that one that it arrived.
func (f *flood) feedback(symbol uint16, n int) rtcp.Packet {
	fb := &rtcp.TransportLayerCC{
		MediaSSRC: f.media.Slots[1].SSRC, BaseSequenceNumber: f.transport&^7 - uint16(n-1), PacketStatusCount: uint16(n),
		ReferenceTime: uint32(f.r.now.UnixMilli()/64) & 0xff_ffff, FbPktCount: uint8(f.sent),
	}
	run := func(symbol uint16, n int) {
		fb.PacketChunks = append(fb.PacketChunks, &rtcp.RunLengthChunk{PacketStatusSymbol: symbol, RunLength: uint16(n)})
		for ; symbol == rtcp.TypeTCCPacketReceivedSmallDelta && n > 0; n-- {
			fb.RecvDeltas = append(fb.RecvDeltas, &rtcp.RecvDelta{Type: symbol}) // no time passes
		}
	}
	for left := n - 1; left > 0; left -= min(left, 8191) {
		run(symbol, min(left, 8191))
	}
	run(rtcp.TypeTCCPacketReceivedSmallDelta, 1)
	fb.Header = rtcp.Header{Count: rtcp.FormatTCC, Type: rtcp.TypeTransportSpecificFeedback, Padding: (len(fb.RecvDeltas)+2*len(fb.PacketChunks))%4 != 0}
	fb.Header.Length = uint16(fb.MarshalSize()/4 - 1)
	return fb
}

func (f *flood) remb(rate float32) rtcp.Packet {
	return &rtcp.ReceiverEstimatedMaximumBitrate{Bitrate: rate, SSRCs: []uint32{f.media.Slots[1].SSRC, 1011, 1021, cameraSSRC}}
}

// nack asks for the newest 256 packets.
func (f *flood) nack() rtcp.Packet {
	n := &rtcp.TransportLayerNack{MediaSSRC: f.media.Slots[1].SSRC}
	for i := range uint16(16) {
		n.Nacks = append(n.Nacks, rtcp.NackPair{PacketID: f.number - 17*i - 16, LostPackets: 0xffff})
	}
	return n
}

func (f *flood) keyRequest() rtcp.Packet {
	ssrc := f.media.Slots[1].SSRC
	if f.sent%2 == 0 {
		return &rtcp.PictureLossIndication{MediaSSRC: ssrc}
	}
	fir := &rtcp.FullIntraRequest{MediaSSRC: ssrc}
	for i := range uint8(20) {
		fir.FIR = append(fir.FIR, rtcp.FIREntry{SSRC: ssrc, SequenceNumber: uint8(f.sent) + i})
	}
	return fir
}

// Whatever a participant asks for or claims in floods, the others get each packet once, the publisher is asked for no more than two key
// frames a second and for nothing else, the sender of the flood gets little more than the media, and memory stays what it was. What
// is beyond a bound on its RTCP is not even decoded.
func TestShard_floodsOfRTCP(t *testing.T) {
	const lost, received, untimed = rtcp.TypeTCCPacketNotReceived, rtcp.TypeTCCPacketReceivedSmallDelta, rtcp.TypeTCCPacketReceivedWithoutDelta
	for _, test := range []struct {
		name  string
		make  func(*flood) rtcp.Packet
		exact bool // the sender of the flood, too, gets each packet once
	}{
		{"REMB of 1 kbit/s", func(f *flood) rtcp.Packet { return f.remb(1000) }, true},
		{"REMB of 10 Gbit/s", func(f *flood) rtcp.Packet { return f.remb(1e10) }, true},
		{"all has arrived", func(f *flood) rtcp.Packet { return f.feedback(received, 100) }, false},
		{"all is lost", func(f *flood) rtcp.Packet { return f.feedback(lost, 100) }, false},
		{"65,535 statuses", func(f *flood) rtcp.Packet { return f.feedback(uint16(f.sent%2)*untimed, 65_535) }, false},
		{"NACK", (*flood).nack, false},
		{"PLI and FIR", (*flood).keyRequest, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := newRig(t)
			publisher, viewers := audience(r, 3)
			f := &flood{
				r: r, publisher: publisher, attacker: viewers[0], others: viewers[1:], media: subscriberMedia(viewers[0].key), least: maxRTCP,
				packets: map[netip.AddrPort]int{}, volume: map[netip.AddrPort]int{},
			}
			r.wire.onward = f.take
			r.wire.counting.Store(true)
			defer r.wire.counting.Store(false)
			f.run(test.make)
			f.check(test.exact)
		})
	}
}

// frames is how many packets of media a flood lasts.
const frames = int(floodFor / floodRound)

// run sends media and the flood.
func (f *flood) run(makes func(*flood) rtcp.Packet) {
	r := f.r
	list := sealedStream(r, f.publisher, cameraSSRC, vp8PT, frames+1, vp8Payload(floodSize))
	r.round(r.now, r.put(0, transport.Datagram{Data: list[0], From: f.publisher.addr}))
	clear(f.packets)
	clear(f.volume)
	f.requests = 0
	before := heap()
	for i, media := range list[1:] {
		r.now = r.now.Add(floodRound)
		n := r.put(0, transport.Datagram{Data: media, From: f.publisher.addr})
		for range floodEach {
			plain, err := makes(f).Marshal()
			if err != nil {
				r.Fatal(err)
			}
			sealed, err := f.attacker.out.EncryptRTCP(nil, plain, nil)
			if err != nil {
				r.Fatal(err)
			}
			f.sent, f.least = f.sent+1, min(f.least, len(plain))
			n = r.put(n, transport.Datagram{Data: sealed, From: f.attacker.addr})
		}
		r.round(r.now, n)
		if i == frames/3 {
			before = heap() // rings and scratch memory have their size
		}
	}
	if after := heap(); after > before+512<<10 {
		r.Errorf("the heap grew from %d to %d", before, after)
	}
}

func (f *flood) check(exact bool) {
	r := f.r
	stats := r.active[0].room.Stats()
	for _, v := range f.others {
		if got := f.packets[v.addr]; got != frames {
			r.Errorf("another viewer got %d packets of %d", got, frames)
		}
	}
	switch got, most := f.volume[f.attacker.addr], frames*(floodSize+100); {
	case exact && f.packets[f.attacker.addr] != frames:
		r.Errorf("the sender of the flood got %d packets of %d", f.packets[f.attacker.addr], frames)
	case got > most*3/2:
		r.Errorf("the sender of the flood got %d bytes of %d", got, most)
	}
	if most := 2*int(floodFor/time.Second) + 1; f.requests > most || f.asked > 0 {
		r.Errorf("the publisher was asked for %d key frames in %v, and for %d packets", f.requests, floodFor, f.asked)
	}
	handled := f.sent - int(r.counters.drops[DropRTCPRate])
	if most := int(feedbackBurst+feedbackRate*floodFor.Seconds()) / f.least; handled > most || handled > f.sent*3/4 {
		r.Errorf("%d of %d compounds were decoded, want %d", handled, f.sent, most)
	}
	if asked := int(stats.NACKsIn); asked > handled*256 {
		r.Errorf("%d numbers looked for", asked)
	}
	if r.counters.faults != 0 || r.counters.drops[DropRTCP] != 0 {
		r.Errorf("%d faults, %d compounds refused", r.counters.faults, r.counters.drops[DropRTCP])
	}
	r.Logf("%d of %d compounds decoded, %d bytes to their sender, %d key frames, %d retransmissions", handled, f.sent,
		f.volume[f.attacker.addr], f.requests, stats.RTXOut)
}

func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

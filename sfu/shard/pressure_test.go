package shard

import (
	"testing"
	"time"

	"github.com/pion/rtp"

	"sotto/sfu/room"
	"sotto/sfu/transport"
)

// valve is a way out of the machine with a buffer that drains at a rate. It takes a run whole or not at all, as a kernel does.
type valve struct {
	buffer, drain        int // datagrams in all and for each frame; 0 = no limit
	queued               int
	sound, video         int // packets that passed
	soundLost, videoLost int
}

func (v *valve) write(runs []transport.Run) (sent int, err error) {
	for _, r := range runs {
		sound, n := 0, 0
		for at := 0; at < len(r.Data); at += max(r.Segment, 1) {
			n++
			if r.Data[at+1]&0x7f == opusPT {
				sound++
			}
			if r.Segment == 0 {
				break // DTLS
			}
		}
		if v.buffer > 0 && v.queued+n > v.buffer {
			err = transport.ErrBindFull
			v.soundLost += sound
			v.videoLost += n - sound
			continue
		}
		v.queued += n
		sent += n
		v.sound += sound
		v.video += n - sound
	}
	return sent, err
}

// A way out that takes two thirds of the traffic costs frames that no other needs, whole ones and of everybody; the sound goes
// first, and next to nothing of it is lost. Without limits everything comes again.
func TestPressure_leavesOutTheHighestLayer(t *testing.T) {
	const viewers, packets, interval = 3, 3, 33 * time.Millisecond // fewer sends than make a round look at the clock again
	r := newRig(t)
	publisher, _ := audience(r, viewers)
	out := &valve{}
	r.wire.onward = out.write
	defer func() { r.wire.onward = nil }()
	frame, video, audio := 0, uint16(0), uint16(0)
	run := func(d time.Duration) (before, after valve) {
		before = *out
		for end := r.now.Add(d); r.now.Before(end); r.now = r.now.Add(interval) {
			if out.queued = max(out.queued-out.drain, 0); out.buffer == 0 {
				out.queued = 0
			}
			n, tid := 0, []byte{0, 2, 1, 2}[frame%4] // every second frame is of the highest layer, every fourth of the lowest
			for i := range packets {
				video++
				p := &rtp.Packet{
					Header:  rtp.Header{Version: 2, SSRC: cameraSSRC, PayloadType: vp8PT, SequenceNumber: video, Timestamp: uint32(frame) * 3000, Marker: i == packets-1},
					Payload: vp8Payload(500)(frame),
				}
				p.Payload[4], p.Payload[5] = byte((frame+3)/4), tid<<6|0x20 // TL0PICIDX, TID, Y
				if i > 0 {
					p.Payload[0] &^= 0x10
				}
				n = r.put(n, transport.Datagram{Data: publisher.seal(t, p), From: publisher.addr})
			}
			frame++
			audio++
			sound := &rtp.Packet{Header: rtp.Header{Version: 2, SSRC: micSSRC, PayloadType: opusPT, SequenceNumber: audio, Timestamp: uint32(audio) * 1584}, Payload: opusPayload(1)}
			n = r.put(n, transport.Datagram{Data: publisher.seal(t, sound), From: publisher.addr})
			r.round(r.now, n)
		}
		return before, *out
	}
	rounds := func(d time.Duration) int { return int((d + interval - 1) / interval) }

	before, after := run(time.Second)
	if all := viewers * rounds(time.Second); after.sound-before.sound != all || after.video-before.video < packets*all*9/10 {
		t.Fatalf("without limits %d of sound and %d of video of %d and %d", after.sound-before.sound, after.video-before.video, all, packets*all)
	}

	const full = viewers * (packets + 1) // datagrams for each frame
	out.buffer, out.drain = 2*full, full*2/3
	run(time.Second) // it fills, and is noticed
	if r.pressure.level == 0 {
		t.Fatal("not noticed")
	}
	thin := r.active[0].room.Stats().Drops[room.DropThin]
	const long = 4 * time.Second // a session without a sign of life ends after 15
	before, after = run(long)
	all := viewers * rounds(long)
	if lost := after.soundLost - before.soundLost; lost > 2 { // when more is tried again
		t.Errorf("%d packets of sound of %d were lost", lost, all)
	}
	if lost := after.videoLost - before.videoLost; lost > packets*all/20 {
		t.Errorf("%d packets of video of %d were refused", lost, packets*all)
	}
	if n := after.video - before.video; n < packets*all/2*9/10 {
		t.Errorf("%d packets of video of %d came", n, packets*all)
	}
	if n := r.active[0].room.Stats().Drops[room.DropThin] - thin; n == 0 {
		t.Error("nothing is counted as left out")
	}

	out.buffer = 0
	run(6 * time.Second)
	if before, after = run(time.Second); r.pressure.level != 0 || after.video-before.video < packets*viewers*rounds(time.Second) {
		t.Errorf("level %d, %d packets of video of %d", r.pressure.level, after.video-before.video, packets*viewers*rounds(time.Second))
	}
	if r.counters.faults != 0 {
		t.Errorf("%d faults", r.counters.faults)
	}
}

// What a destination refuses, and not the machine, costs the others nothing.
func TestPressure_isNotOfOneDestination(t *testing.T) {
	r := newRig(t)
	publisher, _ := audience(r, 3)
	r.wire.onward = func(runs []transport.Run) (int, error) { return len(runs) - 1, nil }
	defer func() { r.wire.onward = nil }()
	for _, sealed := range sealedStream(t, publisher, micSSRC, opusPT, 20, opusPayload) {
		r.feed(transport.Datagram{Data: sealed, From: publisher.addr, At: r.now})
		r.now = r.now.Add(20 * time.Millisecond)
	}
	if r.pressure.level != 0 || r.endpoint.Stats().Drops[transport.DropSocket] == 0 {
		t.Errorf("level %d", r.pressure.level)
	}
}

// A way out that takes half of a stream without layers costs whole frames: what comes is key frames and what follows them at once, not
// pieces of everything. When it takes all again, so does everybody.
func TestPressure_leavesOutWholeFramesOfTheOnlyLayer(t *testing.T) {
	const viewers, packets, interval = 3, 3, 33 * time.Millisecond
	r := newRig(t)
	publisher, _ := audience(r, viewers)
	out := &valve{}
	r.wire.onward = out.write
	defer func() { r.wire.onward = nil }()
	frame, video, asked := 0, uint16(0), r.active[0].room.Stats().KeyRequestsOut
	run := func(d time.Duration) (before, after valve) {
		before = *out
		for end := r.now.Add(d); r.now.Before(end); r.now = r.now.Add(interval) {
			if out.queued = max(out.queued-out.drain, 0); out.buffer == 0 {
				out.queued = 0
			}
			key := frame == 0
			if n := r.active[0].room.Stats().KeyRequestsOut; n != asked {
				asked, key = n, true
			}
			n, size := 0, packets
			if key {
				size = 2 * packets
			}
			for i := range size {
				video++
				payload := []byte{0x10, 1, byte(frame), byte(video)}
				if key {
					payload[1] = 0
				}
				if i > 0 {
					payload[0] = 0
				}
				p := &rtp.Packet{
					Header:  rtp.Header{Version: 2, SSRC: cameraSSRC, PayloadType: vp8PT, SequenceNumber: video, Timestamp: uint32(frame) * 3000, Marker: i == size-1},
					Payload: append(payload, make([]byte, 400)...),
				}
				n = r.put(n, transport.Datagram{Data: publisher.seal(t, p), From: publisher.addr})
			}
			frame++
			r.round(r.now, n)
		}
		return before, *out
	}
	run(time.Second)
	out.buffer, out.drain = 3*viewers*packets, viewers*packets/2
	run(2 * time.Second) // it fills, and is noticed
	if r.pressure.level != room.MaxThin {
		t.Fatalf("level %d", r.pressure.level)
	}
	requests := r.active[0].room.Stats().KeyRequestsOut
	before, after := run(4 * time.Second)
	passed, lost := after.video-before.video, after.videoLost-before.videoLost
	if lost > passed/8 || passed < viewers*packets*15 {
		t.Errorf("%d packets came, %d were refused", passed, lost)
	}
	if n := r.active[0].room.Stats().KeyRequestsOut - requests; n == 0 || n > 9 {
		t.Errorf("%d key frame requests in 4 s", n)
	}
	out.buffer = 0
	run(6 * time.Second)
	if before, after = run(time.Second); r.pressure.level != 0 || after.video-before.video < viewers*packets*30 {
		t.Errorf("level %d, %d packets came in a second", r.pressure.level, after.video-before.video)
	}
}

// Each time that more is too much again it is waited twice as long before the next try; what lasts makes the wait short again.
func TestPressure_triesLessOften(t *testing.T) {
	var p pressure
	now := time.Unix(1000, 0)
	refusals, tries := uint64(0), 0
	for end := now.Add(time.Minute); now.Before(end); now = now.Add(20 * time.Millisecond) {
		if p.level < 2 { // takes two levels
			refusals++
		}
		if before := p.level; p.update(now, refusals) && p.level < before {
			tries++
		}
	}
	if tries < 4 || tries > 8 || p.level != 2 {
		t.Errorf("%d tries in a minute, level %d", tries, p.level)
	}
	for end := now.Add(pressureHoldMax + 2*pressureHold); now.Before(end); now = now.Add(20 * time.Millisecond) {
		p.update(now, refusals)
	}
	if p.level != 0 || p.hold != 0 {
		t.Errorf("level %d after the pressure, waits %v", p.level, p.hold)
	}
}

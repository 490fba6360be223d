package room

import (
	"testing"
	"time"
)

// audioFlood is a second of sound from a peer with a subscribed microphone, n packets of a size.
func audioFlood(w *world, p *publisher, n, size int) {
	for i := range n {
		if i*1000/n != (i-1)*1000/n {
			w.run(step)
		}
		p.audioSeq++
		w.raw(p.id, append(p.header(111, p.audioSeq, uint32(i), uint32(p.id)*1000+500, "0", "", false), make([]byte, size)...))
	}
}

// A microphone that sends megabits is cut to what sound can take: its listeners' pictures stay, and their links.
func TestRoom_audioFloodIsCut(t *testing.T) {
	w := newWorld(t, 91)
	w.publish(1, 3)
	flooder := w.publish(3, 1)
	s := w.subscribe(2, 1, 2)
	s.want(1, 720)
	w.run(2 * time.Second)
	before := w.room.Stats()
	audioFlood(w, flooder, 5000, 1000)
	after := w.room.Stats()
	if sent := after.Out[Audio].Bytes - before.Out[Audio].Bytes; sent > 400_000 {
		t.Errorf("%d bytes of audio in a second reached a listener", sent)
	}
	if dropped := after.Drops[DropRate] - before.Drops[DropRate]; dropped < 4000 {
		t.Errorf("%d of 5000 packets dropped", dropped)
	}
	// The flood is over, and so is what it takes of the listener's bandwidth.
	w.run(2 * time.Second)
	s.recv[0].maxGap = 0
	undisturbed(t, w, s)
	if layer := w.room.find(2).slots[0].sw.Current(); layer != 2 {
		t.Errorf("layer %d after the flood, want 2", layer)
	}
}

// What stopped sounding takes nothing of the video's budget.
func TestRoom_silentAudioTakesNoBandwidth(t *testing.T) {
	w := newWorld(t, 92)
	w.publish(1, 3)
	loud := w.publish(3, 1)
	s := w.subscribe(2, 1, 2)
	s.want(1, 720)
	audioFlood(w, loud, 1000, 120)
	w.run(3 * time.Second)
	w.room.find(3).tracks[SourceMic].streams[0].rate.now.rate = 1e9 // as measured at last
	w.room.find(3).tracks[SourceMic].streams[0].rate.then.rate = 1e9
	w.run(2 * time.Second)
	if layer := w.room.find(2).slots[0].sw.Current(); layer != 2 {
		t.Errorf("layer %d, want 2", layer)
	}
}

// Tiny packets cost as much work as full ones, so their number is bounded as well.
func TestRoom_tinyPacketsAreBounded(t *testing.T) {
	w := newWorld(t, 93)
	p := w.publish(1, 3)
	w.run(time.Second)
	p.off = true
	before := w.room.Stats()
	for i := range uint16(40_000) {
		w.raw(1, append(p.header(96, p.layers[2].seq+1+i, uint32(i), p.layers[2].ssrc, "1", "f", false), 0, 1))
		if i%40 == 0 {
			w.run(step)
		}
	}
	if dropped := w.room.Stats().Drops[DropRate] - before.Drops[DropRate]; dropped < 15_000 {
		t.Errorf("%d dropped of 40,000 in a second", dropped)
	}
}

package shard

import (
	"errors"
	"testing"

	"github.com/pion/rtp"

	"sotto/sfu/packet"
	"sotto/sfu/room"
)

// Firefox offers transport-wide numbers on video only: a peer that joins to listen gets them when it adds a video slot.
func TestShard_numbersAfterAFurtherNegotiation(t *testing.T) {
	r := newRig(t)
	publisher := r.connect(1, 1, publisherMedia())
	media := subscriberMedia(2)
	late := media
	media.Outgoing, media.Slots = packet.Extensions{MID: 5}, media.Slots[:1]
	viewer := r.connect(2, 1, media)
	wishes := []Wish{{Publisher: "peer 1", Wish: room.Wish{Source: room.SourceCamera, Height: 720}}}
	if err := r.do(Change{Key: 2, Media: &late, Wishes: &wishes}); err != nil {
		t.Fatal(err)
	}
	r.round(r.now, 0)
	mail := r.mail(viewer)
	for len(mail) > 0 {
		<-mail
	}
	send := &source{r: r, from: publisher, list: sealedStream(t, publisher, cameraSSRC, vp8PT, 3, vp8Payload(500))}
	var numbers []uint16
	for range 3 {
		send.next()
		for len(mail) > 0 {
			sealed := <-mail
			var h rtp.Header
			plain, err := viewer.in.DecryptRTP(nil, sealed, &h)
			if err != nil {
				continue // RTCP
			}
			var p packet.Packet
			if err := packet.Parse(plain, &late.Outgoing, r.now, &p); err != nil || !p.HasTransportSeq {
				t.Fatalf("no transport-wide number: %v", err)
			}
			numbers = append(numbers, p.TransportSeq)
		}
	}
	if len(numbers) != 3 || numbers[1] != numbers[0]+1 || numbers[2] != numbers[1]+1 {
		t.Fatalf("transport-wide numbers %v, want three in a row", numbers)
	}
}

// A change that the room refuses changes nothing, neither what the peer sends nor how its packets are read.
func TestShard_refusedChangeChangesNothing(t *testing.T) {
	r := newRig(t)
	publisher := r.connect(1, 1, publisherMedia())
	viewer := r.connect(2, 1, subscriberMedia(2))
	wishes := []Wish{{Publisher: "peer 1", Wish: room.Wish{Source: room.SourceCamera, Height: 720}}}
	if err := r.do(Change{Key: 2, Wishes: &wishes}); err != nil {
		t.Fatal(err)
	}
	bad := Media{Tracks: []room.PublishedTrack{{Source: room.SourceCamera, MID: "1", Codecs: vp8Codecs()}}}
	bad.Slots = []room.Slot{{SSRC: 1}, {SSRC: 1}}
	if err := r.do(Change{Key: 1, Media: &bad, Mutes: []Mute{{Source: room.SourceCamera, Muted: true}}}); !errors.Is(err, room.ErrInvalid) {
		t.Fatalf("%v, want ErrInvalid", err)
	}
	tooMany := make([]Wish, room.MaxWishes+1)
	for i := range tooMany {
		tooMany[i].Publisher = "peer 1"
	}
	if err := r.do(Change{Key: 2, Wishes: &tooMany}); !errors.Is(err, room.ErrLimit) {
		t.Fatalf("%v, want ErrLimit", err)
	}
	p := r.byKey[1]
	if p.muted[room.SourceCamera] || len(p.tracks) != 2 || p.incoming.TransportCC != 3 || len(r.byKey[2].wishes) != 1 {
		t.Fatalf("the peers changed: %+v", p)
	}
	send := &source{r: r, from: publisher, list: sealedStream(t, publisher, cameraSSRC, vp8PT, 3, vp8Payload(500))}
	for range 3 {
		send.next()
	}
	if got := len(r.mail(viewer)); got < 3 {
		t.Errorf("%d packets reached the viewer after refused changes", got)
	}
}

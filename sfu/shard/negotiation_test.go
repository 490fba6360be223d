package shard

import (
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

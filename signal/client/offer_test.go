package client

import (
	"context"
	"slices"
	"testing"

	"sotto/e2ee/sframe"
	"sotto/sfu/transport"
)

// TestOffer_isUnderstoodByTheServer gives a native participant's offer to the server's parser.
func TestOffer_isUnderstoodByTheServer(t *testing.T) {
	p := &Participant{cfg: Config{Audio: true, Video: true, VideoSlots: 1, Clip: loadClip(t), Codecs: []sframe.Codec{sframe.VP8}}}
	p.ctx, p.cancel = context.WithCancelCause(t.Context())
	p.addPublications()
	m, err := p.newMedia()
	if err != nil {
		t.Fatal(err)
	}
	defer m.close()
	description, err := m.pc.CreateOffer(nil)
	if err != nil {
		t.Fatal(err)
	}
	o, err := transport.ParseOffer([]byte(description.SDP))
	if err != nil {
		t.Fatalf("%v\n%s", err, description.SDP)
	}
	if len(o.Media) != 3 {
		t.Fatalf("%d media sections", len(o.Media))
	}
	mic, camera, slot := o.Media[0], o.Media[1], o.Media[2]
	if len(mic.Streams) != 1 || len(mic.RIDs) != 0 {
		t.Errorf("microphone: %d streams, rids %v", len(mic.Streams), mic.RIDs)
	}
	if !slices.Equal(camera.RIDs, []string{"q", "h", "f"}) || len(camera.Streams) != 3 {
		t.Errorf("camera: rids %v, %d streams", camera.RIDs, len(camera.Streams))
	}
	for _, s := range camera.Streams {
		if s.SSRC == 0 || s.RTX == 0 {
			t.Errorf("camera stream %+v has no retransmission", s)
		}
	}
	if len(slot.Streams) != 0 || slot.Rejected {
		t.Errorf("slot: %+v", slot.Streams)
	}
	if e := o.Extensions; e.MID == 0 || e.RID == 0 || e.RepairedRID == 0 || e.TransportCC == 0 {
		t.Errorf("extensions %+v", e)
	}
}

package transport

import (
	"strings"
	"testing"

	"sotto/sfu/packet"
)

// A room takes three layers of a track: further SSRCs, as of FEC or of somebody absurd, do not make the offer unusable.
func TestParseOffer_takesThreeDeclaredStreams(t *testing.T) {
	text := string(corpus(t)["firefox-publish-slots"])
	at := strings.Index(text, "m=video")
	many := text[:at] + strings.Replace(text[at:], "a=sendonly", strings.Repeat("a=ssrc:71 cname:x\r\na=ssrc:72 cname:x\r\n", 2)+"a=sendonly", 1)
	if many == text {
		t.Fatal("the offer is as before")
	}
	o, err := ParseOffer([]byte(many))
	if err != nil {
		t.Fatal(err)
	}
	for i := range o.Media {
		if a := o.Media[i].agree(RoleReceive, []packet.Codec{packet.VP8}); len(a.Streams) > maxRIDs {
			t.Errorf("m-line %d has %d streams", i, len(a.Streams))
		}
	}
}

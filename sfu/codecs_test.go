package sfu

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"

	"github.com/pion/webrtc/v4"
)

// offerOf returns an offer of a camera and a slot of a peer that knows these codecs.
func offerOf(t *testing.T, codecs ...string) string {
	t.Helper()
	media := new(webrtc.MediaEngine)
	for i, name := range codecs {
		c := webrtc.RTPCodecParameters{
			PayloadType:        webrtc.PayloadType(96 + i),
			RTPCodecCapability: webrtc.RTPCodecCapability{MimeType: "video/" + name, ClockRate: 90_000},
		}
		if err := media.RegisterCodec(c, webrtc.RTPCodecTypeVideo); err != nil {
			t.Fatal(err)
		}
	}
	pc, err := webrtc.NewAPI(webrtc.WithMediaEngine(media)).NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		t.Fatal(err)
	}
	defer pc.Close()
	for _, d := range []webrtc.RTPTransceiverDirection{webrtc.RTPTransceiverDirectionSendonly, webrtc.RTPTransceiverDirectionRecvonly} {
		if _, err := pc.AddTransceiverFromKind(webrtc.RTPCodecTypeVideo, webrtc.RTPTransceiverInit{Direction: d}); err != nil {
			t.Fatal(err)
		}
	}
	offer, err := pc.CreateOffer(nil)
	if err != nil {
		t.Fatal(err)
	}
	return offer.SDP
}

// sent returns the codec that an answer puts first on its first m-line.
func sent(t *testing.T, answer string) string {
	t.Helper()
	_, answer, _ = strings.Cut(answer, "\r\nm=video ")
	line, rest, _ := strings.Cut(answer, "\r\n")
	pt := strings.Fields(line)[2]
	_, codec, found := strings.Cut(rest, "\r\na=rtpmap:"+pt+" ")
	if !found {
		t.Fatalf("no codec in %q", line)
	}
	codec, _, _ = strings.Cut(codec, "/")
	return strings.ToLower(codec)
}

func TestNode_roomUsesWhatEverybodyDecodes(t *testing.T) {
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, Config{Shards: []ShardConfig{{Conn: conn}}, Codecs: []string{CodecAV1, CodecVP9}}, nil, func() {})
	defer w.stop()
	ctx := context.Background()
	camera := []Track{{MID: "0", Source: SourceCamera}}
	offers := map[string]string{
		"all": offerOf(t, "VP8", "VP9", "AV1"), "new": offerOf(t, "AV1", "VP8"), "old": offerOf(t, "VP8"),
	}
	join := func(peer, can, want string) {
		t.Helper()
		reply, err := w.node.Join(ctx, JoinRequest{Room: "r", Peer: peer, Offer: offers[can], Tracks: camera})
		if err != nil {
			t.Fatal(err)
		}
		if got := sent(t, reply.Answer); got != want {
			t.Errorf("%s is answered %s, want %s", peer, got, want)
		}
	}
	told := func(peer, codec string) {
		t.Helper()
		w.log.wait(peer+" is told "+codec, func(e Event) bool {
			return e.Kind == EventWanted && e.Peer == peer && len(e.Wanted) == 1 && e.Wanted[0].Source == SourceCamera && e.Wanted[0].Codec == codec
		})
	}
	join("a", "all", CodecAV1)
	join("b", "new", CodecAV1)
	join("c", "old", CodecVP8)
	told("a", CodecVP8)
	told("b", CodecVP8)
	reply, err := w.node.Update(ctx, Update{Room: "r", Peer: "a", Offer: offers["all"], Tracks: camera})
	if err != nil {
		t.Fatal(err)
	}
	if got := sent(t, reply.Answer); got != CodecVP8 {
		t.Errorf("after the change a is answered %s", got)
	}
	for _, c := range []string{"AV1", "VP9"} { // what is under way is still taken
		if !strings.Contains(reply.Answer, c+"/90000") {
			t.Errorf("the answer has no %s", c)
		}
	}
	if err := w.node.Leave(ctx, "r", "c"); err != nil {
		t.Fatal(err)
	}
	told("a", CodecAV1)
	told("b", CodecAV1)
}

func TestNew_refusesUnknownCodecs(t *testing.T) {
	for _, codecs := range [][]string{{"h264"}, {"av1", "av1"}} {
		conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := New(Config{Shards: []ShardConfig{{Conn: conn}}, Codecs: codecs}); !errors.Is(err, ErrConfig) {
			t.Errorf("%q: %v", codecs, err)
		}
	}
}

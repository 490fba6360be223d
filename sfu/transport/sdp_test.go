package transport

import (
	"bytes"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pion/sdp/v3"

	"sotto/sfu/packet"
)

// corpus returns the stored offers of real browsers and of pion by name.
func corpus(t testing.TB) map[string][]byte {
	t.Helper()
	files, err := filepath.Glob("testdata/sdp/*.sdp")
	if err != nil || len(files) == 0 {
		t.Fatal("no stored offers", err)
	}
	all := map[string][]byte{}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		all[strings.TrimSuffix(filepath.Base(f), ".sdp")] = b
	}
	return all
}

// answerAll answers every m-line by its direction, as a node does when all of them are wanted.
func answerAll(o *Offer) AnswerConfig {
	cfg := AnswerConfig{
		SessionID: 1, Version: 1,
		Local:         Credentials{Ufrag: "0123456789abcdefABCDEFGH", Pwd: "0123456789abcdefghijklmn"},
		Fingerprint:   Fingerprint{Hash: SHA256, Sum: [64]byte{1, 2, 3}},
		Candidates:    []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:3478"), netip.MustParseAddrPort("[2001:db8::1]:3478")},
		TCPCandidates: []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:3478")},
	}
	for i, m := range o.Media {
		c := MediaConfig{Role: RoleInactive}
		switch m.Direction {
		case Send:
			c.Role = RoleReceive
		case Recv:
			c = MediaConfig{Role: RoleSend, SSRC: uint32(1000 + i), RTX: uint32(2000 + i)}
			if m.Kind == MediaAudio {
				c.RTX = 0
			}
		}
		cfg.Media = append(cfg.Media, c)
	}
	return cfg
}

func mustAnswer(t testing.TB, o *Offer) (*Answer, *sdp.SessionDescription) {
	t.Helper()
	a, err := o.Answer(answerAll(o))
	if err != nil {
		t.Fatal(err)
	}
	var s sdp.SessionDescription
	if err := s.Unmarshal(a.Description); err != nil {
		t.Fatalf("the answer does not parse: %v\n%s", err, a.Description)
	}
	return a, &s
}

func TestParseOffer_takesEveryStoredOffer(t *testing.T) {
	for name, b := range corpus(t) {
		t.Run(name, func(t *testing.T) {
			o, err := ParseOffer(b)
			if err != nil {
				t.Fatal(err)
			}
			a, s := mustAnswer(t, o)
			checkAnswer(t, b, a, s)
		})
	}
}

// checkAnswer holds an answer against the offer by the rules of RFC 3264, RFC 9143 and RFC 8285.
func checkAnswer(t *testing.T, offer []byte, a *Answer, s *sdp.SessionDescription) {
	t.Helper()
	var in sdp.SessionDescription
	if err := in.Unmarshal(offer); err != nil {
		t.Fatal(err)
	}
	if len(s.MediaDescriptions) != len(in.MediaDescriptions) {
		t.Fatalf("%d m-lines for %d", len(s.MediaDescriptions), len(in.MediaDescriptions))
	}
	text := string(a.Description)
	for _, never := range []string{"audio-level", "actpass", "setup:active", "red/", "H264", "ulpfec", "goog-remb", "2001:db8::2"} {
		if strings.Contains(text, never) {
			t.Errorf("the answer contains %q", never)
		}
	}
	for _, always := range []string{"a=ice-lite\r\n", "a=end-of-candidates\r\n", "typ host tcptype passive\r\n"} {
		if strings.Count(text, always) != 1 {
			t.Errorf("the answer has %q %d times", always, strings.Count(text, always))
		}
	}
	group, _ := s.Attribute("group")
	for i, m := range s.MediaDescriptions {
		from := in.MediaDescriptions[i]
		mid, _ := m.Attribute("mid")
		if want, _ := from.Attribute("mid"); mid != want || m.MediaName.Media != from.MediaName.Media {
			t.Errorf("m-line %d: %s %q for %s %q", i, m.MediaName.Media, mid, from.MediaName.Media, want)
		}
		for _, f := range m.MediaName.Formats {
			if !slices.Contains(from.MediaName.Formats, f) {
				t.Errorf("mid %s: payload type %s was not offered", mid, f)
			}
		}
		for _, attr := range m.Attributes {
			if attr.Key != "extmap" {
				continue
			}
			id, uri, _ := strings.Cut(attr.Value, " ")
			id, _, _ = strings.Cut(id, "/")
			offered := slices.ContainsFunc(from.Attributes, func(o sdp.Attribute) bool {
				number, u, _ := strings.Cut(o.Value, " ")
				number, _, _ = strings.Cut(number, "/")
				return o.Key == "extmap" && number == id && u == uri
			})
			if !offered {
				t.Errorf("mid %s: extension %s was not offered as %s", mid, uri, id)
			}
		}
		rejected := m.MediaName.Port.Value == 0
		if rejected == slices.Contains(strings.Fields(group), mid) {
			t.Errorf("mid %s: rejected %v, in group %q", mid, rejected, group)
		}
		if _, mux := m.Attribute("rtcp-mux"); !rejected && !mux {
			t.Errorf("mid %s: no rtcp-mux", mid)
		}
		if setup, _ := m.Attribute("setup"); !rejected && setup != "passive" {
			t.Errorf("mid %s: setup %q", mid, setup)
		}
	}
}

func TestAnswer_mapsWhatEachClientOffers(t *testing.T) {
	tests := []struct {
		name    string
		pt, rtx uint8
		rids    []string
		streams int
		in, out packet.Extensions
	}{
		{name: "chromium-publish-slots", pt: 96, rtx: 97, rids: []string{"q", "h", "f"},
			in:  packet.Extensions{MID: 4, RID: 10, RepairedRID: 11, TransportCC: 3, DependencyDescriptor: 12},
			out: packet.Extensions{MID: 4, TransportCC: 3, DependencyDescriptor: 12}},
		{name: "firefox-publish-slots", pt: 120, rtx: 124, rids: []string{"q", "h", "f"}, streams: 3,
			in:  packet.Extensions{MID: 3, RID: 9, RepairedRID: 10, TransportCC: 7, DependencyDescriptor: 8},
			out: packet.Extensions{MID: 3, TransportCC: 7}},
		{name: "pion-publish-slots", pt: 96, rtx: 97, rids: []string{"q", "h", "f"}, streams: 3,
			in:  packet.Extensions{MID: 1, RID: 2, RepairedRID: 3, TransportCC: 4},
			out: packet.Extensions{MID: 1, TransportCC: 4}},
	}
	offers := corpus(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o, err := ParseOffer(offers[tt.name])
			if err != nil {
				t.Fatal(err)
			}
			a, _ := mustAnswer(t, o)
			if a.Incoming != tt.in || a.Outgoing != tt.out {
				t.Errorf("extensions in %+v, out %+v", a.Incoming, a.Outgoing)
			}
			mic, camera := a.Media[0], a.Media[1]
			if mic.Role != RoleReceive || mic.Codecs[0].Codec != packet.Opus {
				t.Errorf("microphone: %+v", mic)
			}
			if camera.Role != RoleReceive || len(camera.Codecs) != 1 || camera.Codecs[0].PT != tt.pt || camera.Codecs[0].RTX != tt.rtx ||
				!slices.Equal(camera.RIDs, tt.rids) || len(camera.Streams) != tt.streams {
				t.Errorf("camera: %+v", camera)
			}
			for _, m := range a.Media[2:] {
				if m.Role != RoleSend {
					t.Errorf("slot %s: role %v", m.MID, m.Role)
				}
			}
			text := string(a.Description)
			for _, line := range []string{"a=rid:h recv\r\n", "a=simulcast:recv q;h;f\r\n", "a=ssrc-group:FID 1002 2002\r\n", "a=sendonly\r\n", "a=msid:- slot2\r\n"} {
				if !strings.Contains(text, line) {
					t.Errorf("no %q", line)
				}
			}
			if firefox := strings.HasPrefix(tt.name, "firefox"); firefox != strings.Contains(text, "a=extmap:8/recvonly ") {
				t.Error("a restricted direction must be mirrored")
			}
		})
	}
}

// A page that only receives has the descriptor when it asked for it.
func TestAnswer_sendsDescriptorsWhereTheyAreRead(t *testing.T) {
	offers := corpus(t)
	for name, want := range map[string]bool{"chromium-slots": false, "chromium-slots-dd": true, "firefox-slots": false} {
		o, err := ParseOffer(offers[name])
		if err != nil {
			t.Fatal(err)
		}
		if a, _ := mustAnswer(t, o); (a.Outgoing.DependencyDescriptor != 0) != want || a.Outgoing.MID == 0 || a.Outgoing.TransportCC == 0 {
			t.Errorf("%s: %+v", name, a.Outgoing)
		}
	}
	// One video slot that cannot read it is enough to keep it off all: they share the header.
	mixed := bytes.Replace(offers["chromium-slots-dd"], []byte("https://aomediacodec.github.io/"), []byte("https://example.org/"), 1)
	o, err := ParseOffer(mixed)
	if err != nil {
		t.Fatal(err)
	}
	if a, _ := mustAnswer(t, o); a.Outgoing.DependencyDescriptor != 0 {
		t.Error("one slot cannot read the descriptor")
	}
}

func TestAnswer_rejectsDataChannels(t *testing.T) {
	for _, name := range []string{"chromium-datachannel", "firefox-datachannel"} {
		o, err := ParseOffer(corpus(t)[name])
		if err != nil {
			t.Fatal(err)
		}
		a, s := mustAnswer(t, o)
		i := slices.IndexFunc(s.MediaDescriptions, func(m *sdp.MediaDescription) bool { return m.MediaName.Media == "application" })
		if i < 0 || s.MediaDescriptions[i].MediaName.Port.Value != 0 || a.Media[i].Role != RoleReject {
			t.Errorf("%s: m=application is not rejected", name)
		}
	}
}

// What is answered without is not offered again: extensions of a slot and layers of a paused camera must stay.
func TestAnswer_keepsWhatAPausedMediaLineHas(t *testing.T) {
	offers := corpus(t)
	for name, want := range map[string][]string{
		"chromium-slots":   {"sdes:rtp-stream-id", "sdes:repaired-rtp-stream-id"},
		"chromium-publish": {"sdes:rtp-stream-id", "dependency-descriptor", "a=rid:f recv", "a=simulcast:recv q;h;f"},
	} {
		o, err := ParseOffer(edit(t, offers[name], "a=rtcp-mux\r\n", "a=rtcp-mux\r\na=inactive\r\n"))
		if err != nil {
			t.Fatal(err)
		}
		a, _ := mustAnswer(t, o)
		for _, line := range want {
			if !bytes.Contains(a.Description, []byte(line)) {
				t.Errorf("%s: no %s when inactive", name, line)
			}
		}
		for _, m := range a.Media {
			if m.Role != RoleInactive {
				t.Errorf("%s: mid %s has role %v", name, m.MID, m.Role)
			}
		}
	}
}

func TestAnswer_usesPreferredCodecs(t *testing.T) {
	o, err := ParseOffer(corpus(t)["chromium-publish-slots"])
	if err != nil {
		t.Fatal(err)
	}
	cfg := answerAll(o)
	cfg.Video = []packet.Codec{packet.AV1, packet.VP8}
	a, err := o.Answer(cfg)
	if err != nil {
		t.Fatal(err)
	}
	codecs := a.Media[1].Codecs
	if len(codecs) != 2 || codecs[0].Codec != packet.AV1 || codecs[0].PT != 45 || codecs[1].Codec != packet.VP8 {
		t.Errorf("%+v", codecs)
	}
	if !bytes.Contains(a.Description, []byte("m=video 9 UDP/TLS/RTP/SAVPF 45 46 96 97\r\n")) {
		t.Error("m-line order")
	}
}

// edit replaces text of an offer and fails when it is not there.
func edit(t testing.TB, b []byte, old, with string) []byte {
	t.Helper()
	if !bytes.Contains(b, []byte(old)) {
		t.Fatalf("no %q in the offer", old)
	}
	return bytes.ReplaceAll(b, []byte(old), []byte(with))
}

func TestParseOffer_refuses(t *testing.T) {
	good := corpus(t)["chromium-publish-slots"]
	tests := []struct {
		name string
		in   []byte
		want error
	}{
		{"nothing", nil, ErrOfferSyntax},
		{"text", []byte("hello"), ErrOfferSyntax},
		{"a megabyte", bytes.Repeat([]byte("a=x\r\n"), 1<<20/5), ErrOfferSize},
		{"many lines", slices.Concat(good, bytes.Repeat([]byte("\n"), 1e5)), ErrOfferSize},
		{"many m-lines", slices.Concat(good, bytes.Repeat([]byte("m=audio 9 X 0\r\n"), 5000)), ErrOfferSize},
		{"no bundle", edit(t, good, "a=group:BUNDLE 0 1", "a=group:LS 0 1"), ErrOfferBundle},
		{"one m-line outside the bundle", edit(t, good, "BUNDLE 0 1 2", "BUNDLE 0 1"), ErrOfferBundle},
		{"mid twice", edit(t, good, "a=mid:1\r", "a=mid:0\r"), ErrOfferMID},
		{"no mid", edit(t, good, "a=mid:1\r\n", ""), ErrOfferMID},
		{"long mid", edit(t, good, "a=mid:1\r", "a=mid:12345678901234567\r"), ErrOfferMID},
		{"no fingerprint", edit(t, good, "a=fingerprint:", "a=nofingerprint:"), ErrOfferTransport},
		{"weak fingerprint", edit(t, good, "a=fingerprint:sha-256", "a=fingerprint:md5"), ErrOfferTransport},
		{"short password", edit(t, good, "a=ice-pwd:", "a=ice-pwd:x\r\na=other:"), ErrOfferTransport},
		{"passive client", edit(t, good, "a=setup:actpass", "a=setup:passive"), ErrOfferTransport},
		{"no rtcp-mux", edit(t, good, "a=rtcp-mux\r\n", ""), ErrOfferTransport},
		{"plain RTP", edit(t, good, "UDP/TLS/RTP/SAVPF", "RTP/AVP"), ErrOfferTransport},
		{"payload type 300", edit(t, good, "SAVPF 111 ", "SAVPF 300 "), ErrOfferPayloadType},
		{"extension 15", edit(t, good, "a=extmap:4 urn", "a=extmap:15 urn"), ErrOfferExtension},
		{"extension 0", edit(t, good, "a=extmap:4 urn", "a=extmap:0 urn"), ErrOfferExtension},
		{"one extension id for two", edit(t, good, "a=extmap:10 urn", "a=extmap:4 urn"), ErrOfferExtension},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := ParseOffer(tt.in)
			if !errors.Is(err, tt.want) || !errors.Is(err, ErrOffer) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}
}

func TestParseOffer_ignoresCandidates(t *testing.T) {
	good := corpus(t)["chromium-publish"]
	flood := strings.Repeat("a=candidate:1 1 udp 1 169.254.169.254 80 typ host\r\n", 4000)
	if _, err := ParseOffer(edit(t, good, "a=mid:0\r\n", "a=mid:0\r\n"+flood)); err != nil {
		t.Error(err)
	}
}

func TestParseOffer_readsSimulcastVariants(t *testing.T) {
	good := corpus(t)["chromium-publish"]
	for in, want := range map[string][]string{
		"send q;~h;f":       {"q", "h", "f"},
		"send q,x;h":        {"q", "h"},
		"recv a send b":     {"b"},
		"send a;b;c;d":      {"a", "b", "c"},
		"send a;a;b":        {"a", "b"},
		"send bad\x01rid;b": {"b"},
		"send":              nil,
		"recv q;h;f":        nil,
	} {
		o, err := ParseOffer(edit(t, good, "a=simulcast:send q;h;f", "a=simulcast:"+in))
		if err != nil {
			t.Fatal(in, err)
		}
		if !slices.Equal(o.Media[1].RIDs, want) {
			t.Errorf("%q: %q, want %q", in, o.Media[1].RIDs, want)
		}
	}
}

func TestOffer_continues(t *testing.T) {
	short, long := corpus(t)["chromium-publish"], corpus(t)["chromium-publish-slots"]
	first, err := ParseOffer(long)
	if err != nil {
		t.Fatal(err)
	}
	again := func(in []byte) *Offer {
		o, err := ParseOffer(in)
		if err != nil {
			t.Fatal(err)
		}
		return o
	}
	tests := []struct {
		name string
		next *Offer
		want error
	}{
		{"the same", again(long), nil},
		{"camera inactive", again(edit(t, long, "a=sendonly", "a=inactive")), nil},
		{"ice restart", again(edit(t, long, "a=ice-ufrag:", "a=ice-ufrag:new")), nil},
		{"another certificate", again(edit(t, long, "a=fingerprint:sha-256 ", "a=fingerprint:sha-256 00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF\r\na=other:")), ErrOfferChanged},
		{"fewer m-lines", again(short), ErrOfferChanged},
		{"a mid renamed", again(edit(t, edit(t, long, "a=mid:1\r", "a=mid:x\r"), "BUNDLE 0 1 2", "BUNDLE 0 x 2")), ErrOfferChanged},
		{"an extension renumbered", again(edit(t, long, "a=extmap:4 urn", "a=extmap:99 urn")), ErrOfferChanged},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := tt.next.Continues(first); !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}
	if !tests[2].next.Restarts(first) || tests[0].next.Restarts(first) {
		t.Error("ICE restart is not recognised")
	}
}

// TestOffer_growsBySlots is the usual second offer: the first with more m-lines.
func TestOffer_growsBySlots(t *testing.T) {
	long := corpus(t)["chromium-publish-slots"]
	i := bytes.Index(long, []byte("m=audio 9 ")) // the first audio slot
	if i < 0 {
		t.Fatal("no slot")
	}
	first, err := ParseOffer(edit(t, long[:i], "BUNDLE 0 1 2 3 4 5 6 7 8 9", "BUNDLE 0 1 2 3 4 5"))
	if err != nil {
		t.Fatal(err)
	}
	second, err := ParseOffer(long)
	if err != nil {
		t.Fatal(err)
	}
	if err := second.Continues(first); err != nil {
		t.Error(err)
	}
}

// TestOffer_continuesOverAStoppedTransceiver follows real browsers: a camera is stopped, its m-line reused for a slot.
func TestOffer_continuesOverAStoppedTransceiver(t *testing.T) {
	offers := corpus(t)
	for _, browser := range []string{"chromium", "firefox"} {
		stopped, err := ParseOffer(offers[browser+"-stopped"])
		if err != nil {
			t.Fatal(err)
		}
		recycled, err := ParseOffer(offers[browser+"-recycled"])
		if err != nil {
			t.Fatal(err)
		}
		if err := recycled.Continues(stopped); err != nil {
			t.Errorf("%s: %v", browser, err)
		}
		if !slices.ContainsFunc(stopped.Media, func(m Media) bool { return m.Rejected }) {
			t.Errorf("%s: no rejected m-line", browser)
		}
	}
}

func FuzzParseOffer(f *testing.F) {
	for _, b := range corpus(f) {
		f.Add(b)
	}
	f.Add([]byte("v=0\r\no=- 0 0 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\nm=audio 0 X\r\na=mid:0\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		o, err := ParseOffer(b)
		if err != nil {
			if !errors.Is(err, ErrOffer) {
				t.Fatalf("untyped error %v", err)
			}
			return
		}
		if err := o.Continues(o); err != nil {
			t.Fatalf("an offer must continue itself: %v", err)
		}
		a, s := mustAnswer(t, o)
		if len(s.MediaDescriptions) != len(o.Media) || len(a.Media) != len(o.Media) {
			t.Fatalf("%d m-lines answered, %d offered", len(s.MediaDescriptions), len(o.Media))
		}
		for i, m := range s.MediaDescriptions {
			if mid, _ := m.Attribute("mid"); mid != o.Media[i].MID {
				t.Fatalf("mid %q answered as %q", o.Media[i].MID, mid)
			}
		}
	})
}

func BenchmarkParseOffer(b *testing.B) {
	offer := corpus(b)["chromium-publish-slots"]
	b.ReportAllocs()
	for b.Loop() {
		o, err := ParseOffer(offer)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := o.Answer(answerAll(o)); err != nil {
			b.Fatal(err)
		}
	}
}

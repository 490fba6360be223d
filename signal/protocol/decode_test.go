package protocol

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"
)

func codeOf(t testing.TB, err error) Code {
	t.Helper()
	if err == nil {
		return ""
	}
	var d *DecodeError
	if !errors.As(err, &d) {
		t.Fatalf("error %T is no DecodeError: %v", err, err)
	}
	return d.Code
}

const (
	mute = `{"type":"mute","source":"mic","muted":true}`
	conn = "QEFCQ0RFRkdISUpLTE1OTw"
)

func TestDecode_bringsBackWhatEncodeWrote(t *testing.T) {
	for _, m := range clientMessages() {
		text, err := Encode(m)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := DecodeClient(text); err != nil || !reflect.DeepEqual(Message(got), m) {
			t.Errorf("%s: got %+v, %v", text, got, err)
		}
		if _, err := DecodeServer(text); m.Type() != "upload" && codeOf(t, err) != CodeUnknownType {
			t.Errorf("a client takes %s: %v", m.Type(), err)
		}
	}
	for _, m := range serverMessages() {
		text, err := Encode(m)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := DecodeServer(text); err != nil || !reflect.DeepEqual(Message(got), m) {
			t.Errorf("%s: got %+v, %v", text, got, err)
		}
		if _, err := DecodeClient(text); m.Type() != "upload" && codeOf(t, err) != CodeUnknownType {
			t.Errorf("the service takes %s: %v", m.Type(), err)
		}
	}
}

func TestEncode_writesEmptyListsNotNull(t *testing.T) {
	for _, m := range []Message{&Welcome{}, &PeerTracks{ConnID: ConnID{1}}, &Slots{}, &Wanted{}, &Want{}} {
		text, err := Encode(m)
		if err != nil || strings.Contains(string(text), "null") {
			t.Errorf("%s, %v", text, err)
		}
	}
}

func TestEncode_refusesWhatWouldBeRefused(t *testing.T) {
	for _, m := range []Message{
		&PeerJoined{}, &PeerJoined{ConnID: ConnID{1}, Leaf: 256}, &Hello{Version: 1}, &Answer{},
		&Slots{Slots: []Slot{{MID: "", ConnID: ConnID{1}, Source: SourceMic}}},
		&Slots{Slots: []Slot{{MID: "1", ConnID: ConnID{1}, Source: SourceCamera, Paused: strings.Repeat("p", 33)}}},
		&Wanted{Tracks: []WantedTrack{{Source: "window", Layers: 1}}},
		&Wanted{Tracks: []WantedTrack{{Source: SourceCamera, Layers: -1}}},
		&Wanted{Tracks: []WantedTrack{{Source: SourceCamera, Codec: strings.Repeat("c", 17)}}},
		&Wanted{Tracks: []WantedTrack{{Source: SourceCamera, Layers: MaxLayers + 1}}},
		&Wanted{Tracks: []WantedTrack{{Source: SourceCamera, Layers: 1}, {Source: SourceCamera, Layers: 2}}},
		&Error{Message: "x"}, &Error{Code: CodeInternal, Message: "line\nbreak"},
	} {
		if text, err := Encode(m); err == nil {
			t.Errorf("wrote %s", text)
		}
	}
}

func TestDecode_refusesBadText(t *testing.T) {
	bad := map[string]string{
		"empty":               ``,
		"white space":         " \n",
		"no JSON":             `hello`,
		"array":               `[]`,
		"string":              `"mute"`,
		"null":                `null`,
		"unfinished":          mute[:len(mute)-1],
		"after the message":   mute + `{}`,
		"NUL after":           mute + "\x00",
		"BOM":                 "\ufeff" + mute,
		"no type":             `{"source":"mic","muted":true}`,
		"type not a string":   `{"type":1}`,
		"type empty":          `{"type":""}`,
		"type twice":          `{"type":"leave","type":"mute"}`,
		"member twice":        `{"type":"mute","source":"mic","muted":true,"muted":false}`,
		"member twice, inner": `{"type":"leave","x":{"a":1,"a":2}}`,
		"upper-case member":   `{"type":"mute","Source":"mic","muted":true}`,
		"escaped member":      `{"type":"mute","\u0073ource":"mic","muted":true}`,
		"Kelvin sign":         `{"type":"leave","` + "\u212a" + `":1}`,
		"empty member":        `{"type":"leave","":1}`,
		"long member":         `{"type":"leave","` + strings.Repeat("a", 33) + `":1}`,
		"null value":          `{"type":"mute","source":"mic","muted":null}`,
		"null unknown":        `{"type":"leave","x":null}`,
		"trailing comma":      `{"type":"leave",}`,
		"trailing comma list": `{"type":"leave","x":[1,]}`,
		"leading comma":       `{,"type":"leave"}`,
		"two commas":          `{"type":"leave",,"x":1}`,
		"no colon":            `{"type" "leave"}`,
		"single quotes":       `{'type':'leave'}`,
		"comment":             `{"type":"leave"/**/}`,
		"infinite":            `{"type":"leave","x":1e999}`,
		"NaN":                 `{"type":"leave","x":NaN}`,
		"plus":                `{"type":"leave","x":+1}`,
		"leading zero":        `{"type":"leave","x":01}`,
		"hex":                 `{"type":"leave","x":0x1}`,
		"point":               `{"type":"leave","x":1.}`,
		"exponent":            `{"type":"leave","x":1e}`,
		"long number":         `{"type":"leave","x":` + strings.Repeat("1", 33) + `}`,
		"raw control":         "{\"type\":\"leave\",\"x\":\"\x01\"}",
		"raw NUL":             "{\"type\":\"leave\",\"x\":\"\x00\"}",
		"escaped NUL":         `{"type":"leave","x":"\u0000"}`,
		"lone high":           `{"type":"leave","x":"\ud800"}`,
		"lone high, text":     `{"type":"leave","x":"\ud800abcdef"}`,
		"high high":           `{"type":"leave","x":"\ud800\ud800"}`,
		"lone low":            `{"type":"leave","x":"\udc00"}`,
		"bad escape":          `{"type":"leave","x":"\x41"}`,
		"short escape":        `{"type":"leave","x":"\u12"}`,
		"bad UTF-8":           "{\"type\":\"leave\",\"x\":\"\xff\"}",
		"overlong UTF-8":      "{\"type\":\"leave\",\"x\":\"\xc0\x80\"}",
		"raw surrogate":       "{\"type\":\"leave\",\"x\":\"\xed\xa0\x80\"}",
		"depth 17":            `{"type":"leave","x":` + strings.Repeat("[", 16) + strings.Repeat("]", 16) + `}`,
		"depth 100,000":       `{"type":"leave","x":` + strings.Repeat("[", 100_000),
		"65 members":          `{"type":"leave"` + members(64) + `}`,
		"missing member":      `{"type":"mute","muted":true}`,
		"number for text":     `{"type":"mute","source":5,"muted":true}`,
		"text for bool":       `{"type":"mute","source":"mic","muted":"true"}`,
		"unknown source":      `{"type":"mute","source":"tv","muted":true}`,
		"negative id":         `{"type":"want","id":-1,"tracks":[]}`,
		"fractional id":       `{"type":"want","id":1.0,"tracks":[]}`,
		"big id":              `{"type":"want","id":4294967296,"tracks":[]}`,
		"height":              `{"type":"want","tracks":[{"conn_id":"` + conn + `","source":"mic","height":8193}]}`,
		"priority":            `{"type":"want","tracks":[{"conn_id":"` + conn + `","source":"mic","priority":-1}]}`,
		"wish twice":          `{"type":"want","tracks":[{"conn_id":"` + conn + `","source":"mic"},{"conn_id":"` + conn + `","source":"mic"}]}`,
		"wish without conn":   `{"type":"want","tracks":[{"source":"mic"}]}`,
		"zero conn":           `{"type":"want","tracks":[{"conn_id":"AAAAAAAAAAAAAAAAAAAAAA","source":"mic"}]}`,
		"conn trailing bits":  `{"type":"want","tracks":[{"conn_id":"QEFCQ0RFRkdISUpLTE1OTx","source":"mic"}]}`,
		"conn line break":     `{"type":"want","tracks":[{"conn_id":"QEFCQ0RFRkdISUpLTE1O\r\n","source":"mic"}]}`,
		"conn padding":        `{"type":"want","tracks":[{"conn_id":"QEFCQ0RFRkdISUpLTE1OTw==","source":"mic"}]}`,
		"mid":                 `{"type":"offer","id":1,"sdp":"v=0","tracks":[{"mid":"` + strings.Repeat("1", 17) + `","source":"mic"}]}`,
		"mid twice":           `{"type":"offer","id":1,"sdp":"v=0","tracks":[{"mid":"1","source":"mic"},{"mid":"1","source":"camera"}]}`,
		"source twice":        `{"type":"offer","id":1,"sdp":"v=0","tracks":[{"mid":"1","source":"mic"},{"mid":"2","source":"mic"}]}`,
		"no SDP":              `{"type":"offer","id":1,"sdp":"","tracks":[]}`,
		"room upper case":     connectWith("room", strings.Repeat("A", 26)),
		"room short":          connectWith("room", "aaaa"),
		"room trailing bits":  connectWith("room", strings.Repeat("a", 25)+"b"),
		"room traversal":      connectWith("room", "../../../../../../../etc/pa"),
		"room 10 kB":          connectWith("room", strings.Repeat("a", 10_000)),
		"room direction":      connectWith("room", strings.Repeat("a", 23)+"\u202e"),
		"key short":           connectWith("link_pub", "AAAA"),
		"client long":         connectWith("client", strings.Repeat("a", 65)),
		"client control":      connectWith("client", `a\u001b[31m`),
	}
	for name, text := range bad {
		m, err := DecodeClient([]byte(text))
		if codeOf(t, err) != CodeBadMessage {
			t.Errorf("%s: %v, %v", name, m, err)
		}
	}
}

func members(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(`,"m`)
		b.WriteString(strings.Repeat("x", i/10))
		b.WriteByte(byte('0' + i%10))
		b.WriteString(`":1`)
	}
	return b.String()
}

func connectWith(name, value string) string {
	fields := map[string]string{
		"room": strings.Repeat("a", 26), "conn_id": conn, "client": "web",
		"link_pub": strings.Repeat("A", 43), "link_sig": strings.Repeat("A", 86),
	}
	fields[name] = value
	text := `{"type":"connect","id":1`
	for n, v := range fields {
		text += `,"` + n + `":"` + v + `"`
	}
	return text + "}"
}

func TestDecode_takesWhatIsAllowed(t *testing.T) {
	for name, text := range map[string]string{
		"white space":      " {\t\"type\" : \"mute\",\r\n\"source\":\"mic\" , \"muted\":true } ",
		"type last":        `{"source":"mic","muted":true,"type":"mute"}`,
		"unknown members":  `{"type":"leave","x":1.5e3,"y":[1,"\ud83d\ude00",{"z":false}],"z":-0}`,
		"depth 16":         `{"type":"leave","x":` + strings.Repeat("[", 15) + strings.Repeat("]", 15) + `}`,
		"64 members":       `{"type":"leave"` + members(63) + `}`,
		"escapes":          `{"type":"leave","x":"\"\\\/\b\f\n\r\t\u00e9"}`,
		"connect":          connectWith("client", "wéb/1"),
		"leaf of defaults": `{"type":"want","tracks":[{"conn_id":"` + conn + `","source":"camera"}]}`,
	} {
		if _, err := DecodeClient([]byte(text)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestDecode_namesUnknownTypes(t *testing.T) {
	for _, text := range []string{`{"type":"publish"}`, `{"type":"hello","version":1}`, `{"type":"Mute"}`, `{"type":"le\u0061ve"}`} {
		if _, err := DecodeClient([]byte(text)); codeOf(t, err) != CodeUnknownType {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestDecode_boundsSizes(t *testing.T) {
	long := func(n int) string { return strings.Repeat("a", n) }
	for name, c := range map[string]struct {
		text string
		want Code
	}{
		"message at the limit": {`{"type":"leave","x":"` + long(MaxMessage-23) + `"}`, ""},
		"message over it":      {`{"type":"leave","x":"` + long(MaxMessage-22) + `"}`, CodeTooLarge},
		"SDP at the limit":     {`{"type":"offer","id":1,"tracks":[],"sdp":"` + long(MaxSDP) + `"}`, ""},
		"SDP over it":          {`{"type":"offer","id":1,"tracks":[],"sdp":"` + long(MaxSDP+1) + `"}`, CodeTooLarge},
		"offer over all":       {`{"type":"offer","id":1,"tracks":[],"sdp":"` + long(MaxNegotiation) + `"}`, CodeTooLarge},
		"five tracks":          {`{"type":"offer","id":1,"sdp":"v","tracks":[` + strings.Repeat(`{"mid":"1","source":"mic"},`, 4) + `{"mid":"1","source":"mic"}]}`, CodeBadMessage},
	} {
		if _, err := DecodeClient([]byte(c.text)); codeOf(t, err) != c.want {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// TestDecode_errorsHoldNoContent: what a client sent must not reach a log
// through an error.
func TestDecode_errorsHoldNoContent(t *testing.T) {
	const canary = "canary7f3a"
	for _, text := range []string{
		canary, `{"type":"` + canary + `"}`, `{"` + canary + `":1,"` + canary + `":2}`,
		`{"type":"mute","source":"` + canary + `","muted":true}`,
		`{"type":"mute","source":["` + canary + `"],"muted":true}`,
		`{"type":"offer","id":"` + canary + `","sdp":"x","tracks":[]}`,
		connectWith("room", canary), connectWith("link_pub", canary),
	} {
		if _, err := DecodeClient([]byte(text)); err == nil || strings.Contains(err.Error(), canary) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// TestDecode_costsByLength: what hostile messages cost grows with their length and no faster, so that the limit of the length is
// a limit of the cost. The best of some runs counts: other work on the machine may stretch any single one.
func TestDecode_costsByLength(t *testing.T) {
	const part = 8 // a cost by the square of the length would be 64 times as high
	cost := func(text string) time.Duration {
		best := time.Hour
		for range 5 {
			start := time.Now()
			_, _ = DecodeClient([]byte(text))
			best = min(best, time.Since(start))
		}
		return best
	}
	for name, text := range map[string]struct{ begin, repeated string }{
		"depth":       {`{"type":"offer","x":`, "["},
		"objects":     {`{"type":"offer","x":`, `{"a":`},
		"members":     {`{"type":"offer"`, `,"aaaaaaaa":1`},
		"values":      {`{"type":"offer","x":[`, "1,"},
		"empty lists": {`{"type":"offer","x":[`, "[],"},
		"escapes":     {`{"type":"offer","x":"`, `\ud83d\ude00`},
		"numbers":     {`{"type":"offer","x":[`, "1e-300,"},
		"digits":      {`{"type":"offer","x":`, "9"},
		"spaces":      {"", " "},
		"SDP":         {`{"type":"offer","id":1,"tracks":[],"sdp":"`, `\u0041`},
	} {
		hostile := func(size int) string {
			return text.begin + strings.Repeat(text.repeated, (size-100)/len(text.repeated)) + `"}`
		}
		short, long := cost(hostile(MaxNegotiation/part)), cost(hostile(MaxNegotiation))
		t.Logf("%s: %v, %v", name, short, long)
		if long > 3*part*short+2*time.Millisecond {
			t.Errorf("%s: %v for %d bytes, %v for %d", name, short, MaxNegotiation/part, long, MaxNegotiation)
		}
	}
}

func TestBeginsOffer(t *testing.T) {
	for text, want := range map[string]bool{
		`{"type":"offer","id":1`:     true,
		" {\n\"type\" : \"offer\" ":  true,
		`{"type":"offers"`:           false,
		`{"id":1,"type":"offer"`:     false,
		`{"type":"want","x":"offer"`: false,
		``:                           false,
		`{"type":"offe`:              false,
		`{"x":{"type":"offer"`:       false,
	} {
		if got := BeginsOffer([]byte(text)); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
}

func BenchmarkDecode_want(b *testing.B) {
	text, err := Encode(clientMessages()[2])
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := DecodeClient(text); err != nil {
			b.Fatal(err)
		}
	}
}

func ExampleDecodeClient() {
	m, err := DecodeClient([]byte(`{"type":"mute","source":"mic","muted":true}`))
	if err != nil {
		return
	}
	switch m := m.(type) {
	case *Mute:
		_ = m.Muted
	case *Leave:
	}
}

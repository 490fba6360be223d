package protocol

import (
	"encoding"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// schema is schema.json with the few keywords that it uses.
type schema struct{ root map[string]any }

func loadSchema(t testing.TB) *schema {
	t.Helper()
	b, err := os.ReadFile("schema.json")
	if err != nil {
		t.Fatal(err)
	}
	s := &schema{}
	if err := json.Unmarshal(b, &s.root); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *schema) def(name string) map[string]any {
	d, _ := s.root["$defs"].(map[string]any)[name].(map[string]any)
	return d
}

func (s *schema) resolve(node map[string]any) map[string]any {
	if ref, ok := node["$ref"].(string); ok {
		return s.def(strings.TrimPrefix(ref, "#/$defs/"))
	}
	return node
}

// check validates v, as encoding/json decodes it, and fails on a keyword that
// it does not know: a schema that says more than this test checks is not kept true.
func (s *schema) check(v any, node map[string]any) error {
	for key, arg := range node {
		if err := s.keyword(v, key, arg, node); err != nil {
			return err
		}
	}
	return nil
}

func (s *schema) keyword(v any, key string, arg any, node map[string]any) error {
	object, isObject := v.(map[string]any)
	text, isText := v.(string)
	number, isNumber := v.(float64)
	list, isList := v.([]any)
	fail := func() error { return fmt.Errorf("%s %v refuses %v", key, arg, v) }
	switch key {
	case "description", "default", "title", "$schema", "$id", "$defs":
	case "$ref":
		return s.check(v, s.resolve(node))
	case "oneOf", "anyOf":
		n := 0
		for _, alternative := range arg.([]any) {
			if s.check(v, alternative.(map[string]any)) == nil {
				n++
			}
		}
		if n == 0 || key == "oneOf" && n != 1 {
			return fmt.Errorf("%s: %d match", key, n)
		}
	case "type":
		kinds := map[string]bool{
			"object": isObject, "string": isText, "array": isList,
			"integer": isNumber && number == float64(int64(number)),
			"boolean": v == true || v == false,
		}
		if ok, known := kinds[arg.(string)]; !known || !ok {
			return fail()
		}
	case "const":
		if v != arg {
			return fail()
		}
	case "enum":
		if !slices.Contains(arg.([]any), v) {
			return fail()
		}
	case "pattern":
		if isText && !regexp.MustCompile(arg.(string)).MatchString(text) {
			return fail()
		}
	case "minLength":
		if isText && len([]rune(text)) < int(arg.(float64)) {
			return fail()
		}
	case "maxLength":
		if isText && len([]rune(text)) > int(arg.(float64)) {
			return fail()
		}
	case "minimum":
		if isNumber && number < arg.(float64) {
			return fail()
		}
	case "maximum":
		if isNumber && number > arg.(float64) {
			return fail()
		}
	case "maxItems":
		if isList && len(list) > int(arg.(float64)) {
			return fail()
		}
	case "maxProperties":
		if isObject && len(object) > int(arg.(float64)) {
			return fail()
		}
	case "items":
		for _, item := range list {
			if err := s.check(item, arg.(map[string]any)); err != nil {
				return err
			}
		}
	case "required":
		for _, name := range arg.([]any) {
			if _, there := object[name.(string)]; isObject && !there {
				return fmt.Errorf("%s is missing", name)
			}
		}
	case "properties":
		for name, sub := range arg.(map[string]any) {
			if value, there := object[name]; there {
				if err := s.check(value, sub.(map[string]any)); err != nil {
					return fmt.Errorf("%s: %w", name, err)
				}
			}
		}
	case "additionalProperties":
		for _, value := range object {
			if err := s.check(value, arg.(map[string]any)); err != nil {
				return err
			}
		}
	default:
		return fmt.Errorf("keyword %q is not checked by this test", key)
	}
	return nil
}

func (s *schema) text(t testing.TB, text []byte, def string) error {
	t.Helper()
	var v any
	if err := json.Unmarshal(text, &v); err != nil {
		return err
	}
	d := s.def(def)
	if d == nil {
		t.Fatalf("schema has no %s", def)
	}
	return s.check(v, d)
}

// clientMessages and serverMessages have one of each type, every member set.
func clientMessages() []Message {
	conn := ConnID{1}
	id := uint32(7)
	return []Message{
		&Connect{ID: 1, Room: RoomID{2}, ConnID: conn, LinkPub: make([]byte, 32), LinkSig: make([]byte, 64), Client: "web/1",
			Token: "a.b.c", Resume: &Resume{Token: "r", LastSeq: MaxSequence, Tracks: []Track{{Source: SourceMic, Muted: true}},
				Group: &GroupClaim{GI: GroupInstance{3}, Slot: 4, HostTag: make([]byte, 16), Ticket: make([]byte, 32)}}},
		&Offer{ID: 2, SDP: "v=0\r\n", Tracks: []OfferTrack{{MID: "0", Source: SourceMic}}, Rejoin: true},
		&Want{ID: &id, Tracks: []Wish{{ConnID: conn, Source: SourceCamera, Height: 360, Priority: 3, Paused: true}}},
		&Mute{Source: SourceScreenAudio, Muted: true},
		&Leave{},
		&Evict{ID: 3, ConnID: conn, Host: make([]byte, 32)},
		&Alias{ID: 4, Room: RoomID{5}, LinkPub: make([]byte, 32), LinkSig: make([]byte, 64), Host: make([]byte, 32)},
		&Upload{ID: 5, Size: MaxFile},
	}
}

func serverMessages() []Message {
	conn := ConnID{1}
	id := uint32(7)
	tracks := []Track{{Source: SourceMic, Muted: true}}
	gi, slot := GroupInstance{9}, uint64(MaxSequence)
	return []Message{
		&Hello{Version: 1, Nonce: make([]byte, 32), Limits: DefaultLimits()},
		&Welcome{ID: 1, Leaf: 3, Peers: []Peer{{ConnID: conn, Leaf: 2, Tracks: tracks}}, Resume: "r", Resumed: true, Lost: true,
			NoPublish: []Source{SourceScreen}, NoSubscribe: true, Group: &GroupPosition{GI: gi, Slot: slot}},
		&Peers{Peers: []Peer{{ConnID: conn, Leaf: 2, Tracks: tracks}}},
		&PeerJoined{ConnID: conn, Leaf: 4},
		&PeerLeft{ConnID: conn, Reason: LeftGone},
		&PeerTracks{ConnID: conn, Tracks: tracks},
		&Answer{ID: 2, SDP: "v=0\r\n"},
		&Slots{Slots: []Slot{{MID: "3", ConnID: conn, Source: SourceScreen, Paused: PausedBandwidth}}},
		&Wanted{Tracks: []WantedTrack{{Source: SourceCamera, Layers: 2, Codec: "av1"}}},
		&Error{ID: &id, Code: CodeBadOffer, Message: "why", Fatal: true},
		&Group{GI: &gi, Slot: &slot},
		&Stale{GI: &gi, Slot: &slot},
		&Ticket{GI: gi, Slot: slot, HostTag: make([]byte, 16), Ticket: make([]byte, 32)},
		&Done{ID: 6},
		&UploadPath{ID: 7, Path: "/blob/aaaaaaaaaaaaaaaaaaaaaaaaaa", Token: "t"},
	}
}

// TestSchema_agreesWithTypes walks the Go types: same members, same required
// ones, same kinds.
func TestSchema_agreesWithTypes(t *testing.T) {
	s := loadSchema(t)
	for side, messages := range map[string][]Message{"client_message": clientMessages(), "server_message": serverMessages()} {
		var names []string
		for _, alternative := range s.def(side)["oneOf"].([]any) {
			names = append(names, strings.TrimPrefix(alternative.(map[string]any)["$ref"].(string), "#/$defs/"))
		}
		var types []string
		for _, m := range messages {
			name := m.Type()
			if _, ok := m.(*UploadPath); ok {
				name = "upload_path" // request and answer are of one type
			}
			types = append(types, name)
			d := s.def(name)
			if d == nil {
				t.Errorf("%s is not in the schema", m.Type())
				continue
			}
			s.checkStruct(t, m.Type(), reflect.TypeOf(m).Elem(), d, []string{"type"})
			var want []string
			for _, name := range d["required"].([]any) {
				if name != "type" {
					want = append(want, name.(string))
				}
			}
			if got := required(m); !slices.Equal(got, want) {
				t.Errorf("%s: decoder requires %v, schema %v", m.Type(), got, want)
			}
			text, err := Encode(m)
			if err != nil {
				t.Errorf("%s: %v", m.Type(), err)
			} else if err := s.text(t, text, side); err != nil {
				t.Errorf("%s: %v\n%s", m.Type(), err, text)
			}
		}
		slices.Sort(names)
		slices.Sort(types)
		if !slices.Equal(names, types) {
			t.Errorf("%s: schema has %v, package %v", side, names, types)
		}
	}
}

func (s *schema) checkStruct(t *testing.T, path string, typ reflect.Type, node map[string]any, extra []string) {
	t.Helper()
	properties := node["properties"].(map[string]any)
	names := slices.Clone(extra)
	for field := range typ.Fields() {
		name, options, _ := strings.Cut(field.Tag.Get("json"), ",")
		names = append(names, name)
		sub, ok := properties[name].(map[string]any)
		if !ok {
			t.Errorf("%s.%s is not in the schema", path, name)
			continue
		}
		optional := options == "omitempty"
		needed := slices.Contains(node["required"].([]any), any(name))
		if optional == needed {
			t.Errorf("%s.%s: omitempty %v, required %v", path, name, optional, needed)
		}
		s.checkKind(t, path+"."+name, field.Type, s.resolve(sub))
	}
	for name := range maps.Keys(properties) {
		if !slices.Contains(names, name) {
			t.Errorf("%s.%s is in the schema only", path, name)
		}
	}
}

func (s *schema) checkKind(t *testing.T, path string, typ reflect.Type, node map[string]any) {
	t.Helper()
	if typ.Kind() == reflect.Pointer {
		typ = typ.Elem()
	}
	want := ""
	switch {
	case reflect.PointerTo(typ).Implements(reflect.TypeFor[encoding.TextUnmarshaler]()):
		want = "string"
	case typ == reflect.TypeFor[Source]():
		enum := node["enum"].([]any)
		for _, source := range Sources() {
			if !slices.Contains(enum, any(string(source))) {
				t.Errorf("%s: enum %v lacks %s", path, enum, source)
			}
		}
		if len(enum) != MaxTracks {
			t.Errorf("%s: enum %v", path, enum)
		}
		return
	case typ.Kind() == reflect.Struct:
		s.checkStruct(t, path, typ, node, nil)
		want = "object"
	case typ.Kind() == reflect.Slice:
		want = "array"
		s.checkKind(t, path+"[]", typ.Elem(), s.resolve(node["items"].(map[string]any)))
	case typ.Kind() == reflect.Bool:
		want = "boolean"
	case typ.Kind() == reflect.String:
		want = "string"
	case typ.Kind() == reflect.Int, typ.Kind() == reflect.Uint32, typ.Kind() == reflect.Uint64:
		want = "integer"
	}
	if node["type"] != want {
		t.Errorf("%s: type %v, want %s", path, node["type"], want)
	}
}

// TestSchema_refusesWhatTheDecoderRefuses: the shape errors that a schema can
// express are the same on both sides.
func TestSchema_refusesWhatTheDecoderRefuses(t *testing.T) {
	s := loadSchema(t)
	for _, text := range []string{
		`{"type":"mute","source":"camera"}`,
		`{"type":"mute","source":"tv","muted":true}`,
		`{"type":"mute","source":"camera","muted":"yes"}`,
		`{"type":"offer","id":-1,"sdp":"v=0","tracks":[]}`,
		`{"type":"offer","id":4294967296,"sdp":"v=0","tracks":[]}`,
		`{"type":"offer","id":1.5,"sdp":"v=0","tracks":[]}`,
		`{"type":"offer","id":1,"sdp":"","tracks":[]}`,
		`{"type":"offer","id":1,"sdp":"v=0","tracks":[{"mid":"a b","source":"mic"}]}`,
		`{"type":"offer","id":1,"sdp":"v=0","tracks":[{"source":"mic"}]}`,
		`{"type":"want","tracks":[{"conn_id":"short","source":"mic"}]}`,
		`{"type":"want","tracks":[{"conn_id":"QEFCQ0RFRkdISUpLTE1OTw","source":"mic","priority":256}]}`,
		`{"type":"want","tracks":{}}`,
		`{"type":"connect","id":1}`,
	} {
		if _, err := DecodeClient([]byte(text)); err == nil {
			t.Errorf("decoder takes %s", text)
		}
		if err := s.text(t, []byte(text), "client_message"); err == nil {
			t.Errorf("schema takes %s", text)
		}
	}
}

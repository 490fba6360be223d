package room

import (
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"sotto/e2ee/link"
	"sotto/e2ee/sframe"
)

// Types of application messages inside the seal.
const (
	messageSender    = 1
	messageHeartbeat = 2
	messageProfile   = 3
)

// padding: messages are filled with spaces, which JSON ignores, to a multiple
// of this, so that sizes tell little.
const padding = 256

var errMessage = errors.New("room: unacceptable message")

// announcement tells the others which randomness the sender's keys come from.
type announcement struct {
	Conn   string `json:"conn_id"`
	Leaf   int    `json:"leaf"`
	Random string `json:"random"`
}

// heartbeat tells the next CTR of each context in use.
type heartbeat struct {
	CTR map[string]uint64 `json:"ctr"`
}

// profile tells what its sender wants to be called.
type profile struct {
	Name string `json:"name"`
}

// maxName is the longest name in bytes.
const maxName = 64

// acceptName reports whether a name can be shown as it is: 1 to 64 bytes of
// UTF-8 without white space at its ends and without characters that are not
// seen or that turn the text around. The two joiners are needed by some scripts
// and by emoji. Normalization is the sender's duty.
func acceptName(name string) bool {
	if name == "" || len(name) > maxName || !utf8.ValidString(name) || strings.TrimSpace(name) != name {
		return false
	}
	visible := false
	for _, r := range name {
		joiner := r == 0x200c || r == 0x200d
		if !joiner && unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp) {
			return false
		}
		visible = visible || !joiner && !unicode.IsSpace(r)
	}
	return visible
}

func decodeProfile(body []byte) (name string, err error) {
	var p profile
	if err := json.Unmarshal(body, &p); err != nil || !acceptName(p.Name) {
		return "", errMessage
	}
	return p.Name, nil
}

// encode returns u8 type || JSON || spaces.
func encode(kind byte, body any) ([]byte, error) {
	text, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	out := append([]byte{kind}, text...)
	for len(out)%padding != 0 {
		out = append(out, ' ')
	}
	return out, nil
}

func decodeAnnouncement(body []byte) (conn link.ConnID, leaf uint8, random [16]byte, err error) {
	var a announcement
	if err := json.Unmarshal(body, &a); err != nil {
		return conn, 0, random, errMessage
	}
	conn, ok := link.ParseConnID(a.Conn)
	r, okRandom := link.ParseConnID(a.Random)
	if !ok || !okRandom || a.Leaf < 0 || a.Leaf > 255 {
		return conn, 0, random, errMessage
	}
	return conn, uint8(a.Leaf), [16]byte(r), nil
}

// decodeHeartbeat calls each for every context it knows.
func decodeHeartbeat(body []byte, each func(c sframe.Context, next uint64)) error {
	var h heartbeat
	if err := json.Unmarshal(body, &h); err != nil || len(h.CTR) > 16 {
		return errMessage
	}
	for c := sframe.Microphone; c <= sframe.Data; c++ {
		next, ok := h.CTR[strconv.Itoa(int(c))]
		if !ok {
			continue
		}
		if next > sframe.MaxCTR {
			return errMessage
		}
		each(c, next)
	}
	return nil
}

// ParseSource maps the name that signaling uses to the SFrame context.
func ParseSource(name string) (sframe.Context, bool) {
	switch name {
	case "mic":
		return sframe.Microphone, true
	case "camera":
		return sframe.Camera, true
	case "screen":
		return sframe.Screen, true
	case "screen_audio":
		return sframe.ScreenAudio, true
	}
	return 0, false
}

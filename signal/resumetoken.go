package signal

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"time"

	"sotto/signal/protocol"
)

// resumeLifetime is how long a resume token is good. A participation is
// continued within seconds; the token is as old as its WebSocket.
const resumeLifetime = 24 * time.Hour

// resumeKey seals resume tokens: what the service must know again of a
// participation after it forgot everything. A token is
//
//	u8 version || u64 expiry, Unix seconds || u8 leaf || u8 grant ||
//	room[16] || u8 ordinal || HMAC-SHA256
//
// in base64url, where room is the first name of the room and ordinal that of
// the name by which the connection entered. The MAC covers that name and the
// connection besides, so a token is of no use for any other.
type resumeKey []byte

// minResumeKey is the length in bytes of a resume key.
const minResumeKey = 32

const (
	resumeDomain  = "sotto-resume/1"
	resumeVersion = 2
	resumeBody    = 1 + 8 + 1 + 1 + 16 + 1
)

// ticket is what a resume token says.
type ticket struct {
	leaf    int
	grant   grant
	room    protocol.RoomID // its first name
	ordinal int             // of the name by which the connection entered
}

func (k resumeKey) seal(name protocol.RoomID, conn protocol.ConnID, t ticket, now time.Time) string {
	b := make([]byte, 0, resumeBody+sha256.Size)
	b = append(b, resumeVersion)
	b = binary.BigEndian.AppendUint64(b, uint64(now.Add(resumeLifetime).Unix()))
	b = append(b, byte(t.leaf), t.grant.bits())
	b = append(append(b, t.room[:]...), byte(t.ordinal))
	return resumeEncoding.EncodeToString(append(b, k.mac(b, name, conn)...))
}

// open reports false for anything but a token that seal made for this
// connection, which entered by this name, and that has not expired.
func (k resumeKey) open(text string, name protocol.RoomID, conn protocol.ConnID, now time.Time) (ticket, bool) {
	if len(text) != resumeEncoding.EncodedLen(resumeBody+sha256.Size) {
		return ticket{}, false
	}
	b, err := resumeEncoding.DecodeString(text)
	if err != nil || len(b) != resumeBody+sha256.Size {
		return ticket{}, false
	}
	body, mac := b[:resumeBody], b[resumeBody:]
	if !hmac.Equal(mac, k.mac(body, name, conn)) || body[0] != resumeVersion {
		return ticket{}, false
	}
	if now.Unix() >= int64(binary.BigEndian.Uint64(body[1:])) {
		return ticket{}, false
	}
	return ticket{
		leaf: int(body[9]), grant: grantOf(body[10]),
		room: protocol.RoomID(body[11:27]), ordinal: int(body[27]),
	}, true
}

func (k resumeKey) mac(body []byte, name protocol.RoomID, conn protocol.ConnID) []byte {
	h := hmac.New(sha256.New, k)
	h.Write([]byte(resumeDomain))
	h.Write(name[:])
	h.Write(conn[:])
	h.Write(body)
	return h.Sum(nil)
}

var resumeEncoding = base64.RawURLEncoding.Strict()

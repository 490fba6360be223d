package signal

import (
	"crypto/sha256"
	"encoding/hex"

	"go.uber.org/zap"

	"sotto/signal/protocol"
)

// Logs show ids as short hashes: enough to follow one call through the log,
// not enough to open its page. The client computes the same hash to show a
// call id.

func logRoom(id protocol.RoomID) zap.Field { return zap.String("room", RoomHash(id)) }

func logConn(id protocol.ConnID) zap.Field { return zap.String("conn", shortHash("conn", id[:])) }

func logIdentity(identity string) zap.Field {
	return zap.String("identity", shortHash("identity", []byte(identity)))
}

// RoomHash is what logs show of a room.
func RoomHash(id protocol.RoomID) string { return shortHash("room", id[:]) }

// shortHash is 8 hexadecimal digits of SHA-256("sotto-log/1" || what || id).
func shortHash(what string, id []byte) string {
	h := sha256.New()
	h.Write([]byte("sotto-log/1"))
	h.Write([]byte(what))
	h.Write(id)
	return hex.EncodeToString(h.Sum(nil)[:4])
}

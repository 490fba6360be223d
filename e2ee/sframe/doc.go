// Package sframe protects encoded media frames end to end: SFrame (RFC 9605)
// with cipher suite AES_128_GCM_SHA256_128 and Sotto's codec framing.
//
// On the wire a frame is
//
//	clear || SFrame header || ciphertext || tag (16 bytes)
//
// where clear is what the server and the packetizers must still be able to
// read: nothing for Opus and VP9, the first byte for VP8 (its lowest bit tells
// key frames from delta frames). AV1 packetizers insist on valid OBUs, so an
// AV1 frame is encrypted whole and wrapped into one OBU:
//
//	obu_header (0x0A key, 0x32 delta) || leb128 size || SFrame header || ciphertext || tag
//
// The authenticated data is the SFrame header, "sto1", the codec and the clear
// bytes, so neither can be changed or moved to a frame of another codec.
//
// A [Sender] owns the counter of one key and never uses a value twice. A
// [Receiver] opens the frames of one key, each at most once. Which key belongs
// to which person and track is decided above, in package room: this package
// never tries a second key.
//
// Nothing here allocates per frame when the destination has room.
package sframe

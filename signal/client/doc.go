// Package client is the native participant: it joins a room over the signaling protocol, becomes a member of the room's
// group, publishes, receives others, and encrypts and decrypts every frame end to end. It is what `sotto join`, the load
// generator and the tests are made of, and an independent reading of signal/protocol/PROTOCOL.md.
//
// What it publishes are the clips of package clips, as simulcast VP8 and Opus, or a [Synthetic] source: frames of a given
// rate with the layers of VP8, VP9 or AV1 and no picture in them.
//
// [Join] connects and negotiates; then [Participant.Want] asks for video, [Participant.Stats] tells what arrived, and
// [Participant.Close] ends it. A connection to the service or to a media node that breaks in between, or a node that is emptied, is
// replaced meanwhile, with the keys and counters of before. A receiver has no picture to show, so it does what a decoder and a viewer would notice: each
// frame must open, be what the source sends (of a clip byte for byte), and find the frames that it refers to in the
// reference buffers.
//
// All input from the network may be hostile: it is bounded, counted by a named reason and dropped.
//
// Locks: Participant.mu guards the key state and the statistics; nothing is called while it is held that can block.
package client

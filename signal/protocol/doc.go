// Package protocol is version 1 of the signaling protocol: its text messages,
// the clear header of its binary envelopes, its error codes and its limits.
// PROTOCOL.md describes it for those who write a client, schema.json for
// machines.
//
// Everything here is pure. The package holds no key and opens no seal.
package protocol

// Version is the protocol version that hello names.
const Version = 1

// Subprotocol is the WebSocket subprotocol (RFC 6455 section 1.9) of this version.
const Subprotocol = "sotto.v1"

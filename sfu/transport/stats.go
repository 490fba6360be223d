package transport

// DropReason says why a datagram or an outgoing packet was dropped.
type DropReason uint8

// Incoming first, outgoing from DropNoPath on.
const (
	DropMalformed      DropReason = iota // no protocol's first byte, or a truncated header
	DropUnknownAddress                   // DTLS or media from an address without a valid check
	DropSTUNMalformed                    // not decodable, no fingerprint, not a request
	DropSTUNUnknown                      // ufrag of no session
	DropSTUNIntegrity                    // wrong password
	DropSTUNTaken                        // address in use by another session
	DropDTLSRecord                       // alert, content or message that no client sends here
	DropDTLSHello                        // no acceptable version or suite, or already connected
	DropDTLSBytes                        // more handshake bytes than one handshake needs
	DropDTLSQueue                        // the handshake does not keep up
	DropNotConnected                     // media before the keys
	DropSRTPAuth                         // authentication tag
	DropSRTPReplay                       // seen before, or too old to tell
	DropSRTPStreams                      // more streams than a session may have
	DropNoPath                           // out: no checked address, or consent expired
	DropStreamQueue                      // out: ICE-TCP connection too slow
	DropSocket                           // out: the socket did not accept it
	DropStaleSession                     // out: the session is gone
	numDropReasons
)

// NumDropReasons is the number of reasons; they are dense from 0.
const NumDropReasons = int(numDropReasons)

// String returns a fixed word, fit for a metric label.
func (r DropReason) String() string {
	switch r {
	case DropMalformed:
		return "malformed"
	case DropUnknownAddress:
		return "unknown_address"
	case DropSTUNMalformed:
		return "stun_malformed"
	case DropSTUNUnknown:
		return "stun_unknown_ufrag"
	case DropSTUNIntegrity:
		return "stun_integrity"
	case DropSTUNTaken:
		return "stun_address_taken"
	case DropDTLSRecord:
		return "dtls_record"
	case DropDTLSHello:
		return "dtls_hello"
	case DropDTLSBytes:
		return "dtls_bytes"
	case DropDTLSQueue:
		return "dtls_queue"
	case DropNotConnected:
		return "not_connected"
	case DropSRTPAuth:
		return "srtp_auth"
	case DropSRTPReplay:
		return "srtp_replay"
	case DropSRTPStreams:
		return "srtp_streams"
	case DropNoPath:
		return "no_path"
	case DropStreamQueue:
		return "stream_queue"
	case DropSocket:
		return "socket"
	case DropStaleSession:
		return "stale_session"
	}
	return "unknown"
}

// Stats are the counters of one Endpoint since its start.
type Stats struct {
	DatagramsIn, BytesIn   uint64
	DatagramsOut, BytesOut uint64 // media and STUN; DTLS is not counted
	Checks                 uint64 // connectivity checks that were answered
	PathMoves              uint64 // changes of the address that is sent to
	HandshakesStarted      uint64
	HandshakesDone         uint64
	HandshakesFailed       uint64
	Suspensions            uint64 // consent lost
	StreamsAccepted        uint64 // ICE-TCP connections
	StreamsRefused         uint64 // beyond the caps
	StreamsUnchecked       uint64 // closed without a valid first frame or check
	LibraryWarnings        uint64 // what pion would have logged at warning or error
	Drops                  [NumDropReasons]uint64
	Socket                 SocketStats
	Sessions               int // now
	Streams                int // now
}

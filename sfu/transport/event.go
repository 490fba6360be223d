package transport

import "time"

// SessionID names a session of one Endpoint. The lower bits are a dense index
// that is reused, the upper ones a generation, so that a stale id is refused.
// Zero is no session.
type SessionID uint32

const (
	sessionIndexBits = 16
	maxSessionsLimit = 1<<sessionIndexBits - 1
)

// Index returns the dense part, usable as index of a slice: below
// Limits.Sessions.
func (id SessionID) Index() int { return int(id & maxSessionsLimit) }

func sessionID(index int, generation uint16) SessionID {
	return SessionID(uint32(generation)<<sessionIndexBits | uint32(index))
}

// EventKind says what happened to a session.
type EventKind uint8

const (
	// Connected: keys are there, media may be sealed and sent.
	Connected EventKind = iota + 1
	// Suspended: no authenticated traffic for 15 s (RFC 7675 5.1). Nothing is
	// sent until the peer's next check.
	Suspended
	// Resumed: a check came after Suspended, or on a new path.
	Resumed
	// Closed: the session is gone and its id no longer valid; Reason says why.
	Closed
)

// String returns the kind in lower case.
func (k EventKind) String() string {
	switch k {
	case Connected:
		return "connected"
	case Suspended:
		return "suspended"
	case Resumed:
		return "resumed"
	case Closed:
		return "closed"
	}
	return "unknown"
}

// CloseReason says why a session ended without Endpoint.Close.
type CloseReason uint8

const (
	ReasonNone        CloseReason = iota
	ReasonNoCheck                 // no valid connectivity check ever came
	ReasonHandshake               // DTLS failed, or took more than 10 s
	ReasonFingerprint             // the peer's certificate is not the one of its offer
	ReasonConsent                 // silent for 30 s
	ReasonPeerClosed              // the peer sent close_notify
)

// String returns a fixed word, fit for a metric label.
func (r CloseReason) String() string {
	switch r {
	case ReasonNone:
		return "none"
	case ReasonNoCheck:
		return "no_check"
	case ReasonHandshake:
		return "handshake"
	case ReasonFingerprint:
		return "fingerprint"
	case ReasonConsent:
		return "consent"
	case ReasonPeerClosed:
		return "peer_closed"
	}
	return "unknown"
}

// Profile is the SRTP protection profile of a session (RFC 5764 4.1.2).
type Profile uint8

const (
	ProfileNone Profile = iota
	ProfileGCM128
	ProfileGCM256
	ProfileSHA1 // AES128_CM_HMAC_SHA1_80
)

// String returns the name of RFC 5764 and RFC 7714.
func (p Profile) String() string {
	switch p {
	case ProfileGCM128:
		return "AEAD_AES_128_GCM"
	case ProfileGCM256:
		return "AEAD_AES_256_GCM"
	case ProfileSHA1:
		return "AES128_CM_HMAC_SHA1_80"
	}
	return "none"
}

// Event is what Poll reports.
type Event struct {
	Session SessionID
	Kind    EventKind
	Reason  CloseReason // of Closed
	Profile Profile     // of Connected
	// ICE is the time from Open to the first valid check, DTLS from the first
	// hello to the keys. Of Connected.
	ICE, DTLS time.Duration
}

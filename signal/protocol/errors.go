package protocol

import (
	"errors"
	"fmt"
)

// Code is the machine-readable name of an error, sent in [Error].
type Code string

// The codes of version 1.
const (
	CodeBadMessage          Code = "bad_message"          // not JSON, a rule of the decoder broken, a field missing or out of range
	CodeUnknownType         Code = "unknown_type"         // a type that this version does not know
	CodeBadState            Code = "bad_state"            // not now: before connect, after it, or while an offer is open
	CodeTooLarge            Code = "too_large"            // over a size or count limit
	CodeRateLimited         Code = "rate_limited"         // too many messages
	CodeConnectTimeout      Code = "connect_timeout"      // no connect within the time
	CodeNotAdmitted         Code = "not_admitted"         // link key and room do not belong together
	CodeBadSignature        Code = "bad_signature"        // the link key did not sign this connection
	CodeTokenInvalid        Code = "token_invalid"        // no join token where one is needed, or not one of this service
	CodeTokenExpired        Code = "token_expired"        // the join token's time is over
	CodeTokenNotYet         Code = "token_not_yet"        // the join token's time has not begun
	CodeTokenWrongRoom      Code = "token_wrong_room"     // the join token is for another room, or not for joining
	CodeNotPermitted        Code = "not_permitted"        // the join token does not let the client do this
	CodeResumeRefused       Code = "resume_refused"       // nothing to continue, or not with this resume token
	CodeResumeGap           Code = "resume_gap"           // envelopes that the client has missed are no longer there
	CodeReplaced            Code = "replaced"             // another WebSocket continues this participation
	CodeDuplicateConn       Code = "duplicate_conn"       // the conn_id is in the room already
	CodeRoomFull            Code = "room_full"            // no free leaf or no room for the media
	CodeBusy                Code = "busy"                 // the service refuses new work; try again later
	CodeBadOffer            Code = "bad_offer"            // the session description is malformed, or breaks the rules for it
	CodeUnknownPeer         Code = "unknown_peer"         // the media session is not there: make a new peer connection
	CodeLimit               Code = "limit"                // a media limit: tracks, slots, streams
	CodeMediaTimeout        Code = "media_timeout"        // the media node did not answer in time
	CodeMediaClosed         Code = "media_closed"         // the media session ended: make a new peer connection and offer again
	CodeUnsupportedEnvelope Code = "unsupported_envelope" // an envelope type that this version does not relay
	CodeBadEnvelope         Code = "bad_envelope"         // not an envelope, or another connection's name in it
	CodeNotHost             Code = "not_host"             // not the token of the group's creator
	CodeAliasRefused        Code = "alias_refused"        // the name is another room's, or not the sender's to give
	CodeLinkReplaced        Code = "link_replaced"        // the room has a newer link
	CodeKicked              Code = "kicked"               // removed from the room
	CodeShutdown            Code = "shutdown"             // the service stops; connect again
	CodeInternal            Code = "internal"             // a fault of the service
)

// Codes lists every code.
func Codes() []Code {
	return []Code{
		CodeBadMessage, CodeUnknownType, CodeBadState, CodeTooLarge,
		CodeRateLimited, CodeConnectTimeout, CodeNotAdmitted,
		CodeBadSignature,
		CodeTokenInvalid, CodeTokenExpired, CodeTokenNotYet, CodeTokenWrongRoom, CodeNotPermitted,
		CodeResumeRefused, CodeResumeGap, CodeReplaced,
		CodeDuplicateConn, CodeRoomFull, CodeBusy,
		CodeBadOffer, CodeUnknownPeer, CodeLimit, CodeMediaTimeout,
		CodeMediaClosed, CodeUnsupportedEnvelope, CodeBadEnvelope,
		CodeNotHost, CodeAliasRefused, CodeLinkReplaced,
		CodeKicked, CodeShutdown, CodeInternal,
	}
}

// DecodeError says why a message was refused. Its text names the rule and the
// field, never the content.
type DecodeError struct {
	Code Code
	Err  error
	ID   *uint32 // of the request, where it could be read
}

func (e *DecodeError) Error() string { return fmt.Sprintf("%s: %v", e.Code, e.Err) }

func (e *DecodeError) Unwrap() error { return e.Err }

func refuse(code Code, err error) *DecodeError { return &DecodeError{Code: code, Err: err} }

// Causes inside a [DecodeError]. They stay unexported: a caller acts on the
// code, the text is for its developer.
var (
	errLength   = errors.New("wrong length")
	errAlphabet = errors.New("wrong characters")
	errEnum     = errors.New("unknown value")
	errRange    = errors.New("out of range")
	errTwice    = errors.New("listed twice")
	errMissing  = errors.New("missing")
)

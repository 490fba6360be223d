package protocol

import (
	"encoding/json"
	"errors"
	"fmt"
)

// DecodeClient reads a text message of a client. Errors are *[DecodeError].
func DecodeClient(b []byte) (ClientMessage, error) {
	m, err := decode(b, newClientMessage)
	if err != nil {
		return nil, err
	}
	return m.(ClientMessage), nil
}

// DecodeServer reads a text message of the service. Errors are *[DecodeError].
func DecodeServer(b []byte) (ServerMessage, error) {
	m, err := decode(b, newServerMessage)
	if err != nil {
		return nil, err
	}
	return m.(ServerMessage), nil
}

// Encode writes a message with its type as the first member. It refuses a
// message that the other side would refuse.
func Encode(m Message) ([]byte, error) {
	if err := m.validate(); err != nil {
		return nil, fmt.Errorf("encode %s: %w", m.Type(), err)
	}
	body, err := json.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", m.Type(), err)
	}
	out := make([]byte, 0, len(body)+len(m.Type())+12)
	out = append(out, `{"type":"`...)
	out = append(out, m.Type()...)
	out = append(out, '"')
	if string(body) != "{}" {
		out = append(out, ',')
	}
	return append(out, body[1:]...), nil
}

// decode checks the form of the text first, then the shape of the message,
// then its values.
func decode(b []byte, newMessage func(kind string) Message) (Message, error) {
	if len(b) > MaxNegotiation {
		return nil, refuse(CodeTooLarge, fmt.Errorf("message: %w", errLength))
	}
	var s scanner
	if err := s.scan(b); err != nil {
		return nil, refuse(CodeBadMessage, err)
	}
	m := newMessage(s.kind)
	if m == nil {
		return nil, refuse(CodeUnknownType, fmt.Errorf("type: %w", errEnum))
	}
	if _, long := m.(interface{ negotiation() }); !long && len(b) > MaxMessage {
		return nil, refuse(CodeTooLarge, fmt.Errorf("%s: %w", m.Type(), errLength))
	}
	for _, name := range required(m) {
		if !s.has(name) {
			return nil, refuse(CodeBadMessage, fmt.Errorf("%s: %w", name, errMissing))
		}
	}
	if err := json.Unmarshal(b, m); err != nil {
		return nil, refuse(CodeBadMessage, shapeError(err))
	}
	if err := m.validate(); err != nil {
		var typed *DecodeError
		if !errors.As(err, &typed) {
			typed = refuse(CodeBadMessage, err)
		}
		typed.ID = requestID(m)
		return nil, typed
	}
	return m, nil
}

// requestID returns the id of a message from a client that is a request, or nil.
func requestID(m Message) *uint32 {
	switch m := m.(type) {
	case *Connect:
		return &m.ID
	case *Offer:
		return &m.ID
	case *Want:
		return m.ID
	case *Evict:
		return &m.ID
	case *Alias:
		return &m.ID
	case *Upload:
		return &m.ID
	}
	return nil
}

// shapeError names the field that encoding/json refused, without its content.
func shapeError(err error) error {
	var mismatch *json.UnmarshalTypeError
	if errors.As(err, &mismatch) {
		return fmt.Errorf("%s: wrong kind of value", mismatch.Field)
	}
	for _, cause := range []error{errLength, errAlphabet, errRange} {
		if errors.Is(err, cause) {
			return err
		}
	}
	return errors.New("wrong kind of value")
}

func (*Offer) negotiation()  {}
func (*Answer) negotiation() {}

func newClientMessage(kind string) Message {
	switch kind {
	case "connect":
		return new(Connect)
	case "offer":
		return new(Offer)
	case "want":
		return new(Want)
	case "mute":
		return new(Mute)
	case "leave":
		return new(Leave)
	case "evict":
		return new(Evict)
	case "alias":
		return new(Alias)
	case "upload":
		return new(Upload)
	}
	return nil
}

func newServerMessage(kind string) Message {
	switch kind {
	case "hello":
		return new(Hello)
	case "welcome":
		return new(Welcome)
	case "peers":
		return new(Peers)
	case "peer_joined":
		return new(PeerJoined)
	case "peer_left":
		return new(PeerLeft)
	case "peer_tracks":
		return new(PeerTracks)
	case "answer":
		return new(Answer)
	case "slots":
		return new(Slots)
	case "wanted":
		return new(Wanted)
	case "error":
		return new(Error)
	case "group":
		return new(Group)
	case "stale":
		return new(Stale)
	case "ticket":
		return new(Ticket)
	case "done":
		return new(Done)
	case "upload":
		return new(UploadPath)
	}
	return nil
}

// required lists the top-level members that must be there: their zero value
// is legal, so the decoded struct cannot tell.
func required(m Message) []string {
	switch m.(type) {
	case *Connect:
		return []string{"id", "room", "conn_id", "link_pub", "link_sig"}
	case *Offer:
		return []string{"id", "sdp", "tracks"}
	case *Want:
		return []string{"tracks"}
	case *Mute:
		return []string{"source", "muted"}
	case *Leave:
		return nil
	case *Evict:
		return []string{"id", "conn_id", "host"}
	case *Alias:
		return []string{"id", "room", "link_pub", "link_sig"}
	case *Upload:
		return []string{"id", "size"}
	case *Hello:
		return []string{"version", "nonce", "limits"}
	case *Welcome:
		return []string{"id", "leaf", "peers"}
	case *Peers:
		return []string{"peers"}
	case *PeerJoined:
		return []string{"conn_id", "leaf"}
	case *PeerLeft:
		return []string{"conn_id", "reason"}
	case *PeerTracks:
		return []string{"conn_id", "tracks"}
	case *Answer:
		return []string{"id", "sdp"}
	case *Slots:
		return []string{"slots"}
	case *Wanted:
		return []string{"tracks"}
	case *Error:
		return []string{"code", "message", "fatal"}
	case *Ticket:
		return []string{"gi", "slot", "host_tag", "ticket"}
	case *Done:
		return []string{"id"}
	case *UploadPath:
		return []string{"id", "path", "token"}
	}
	return nil
}

// BeginsOffer reports whether the beginning of a message says that it is an
// offer: the one message of a client that may exceed MaxMessage. The type must
// be the first member, so that a reader can tell before it has it all.
func BeginsOffer(prefix []byte) bool {
	s := scanner{b: prefix}
	for _, token := range []string{"{", `"type"`, ":", `"offer"`} {
		s.space()
		if s.word(token) != nil {
			return false
		}
	}
	return true
}

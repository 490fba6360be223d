package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"sotto/sfu"
)

// Subjects; the package doc lists them.
const (
	subjectPrefix = "sotto.v1."
	subjectSignal = subjectPrefix + "signal"
)

func subjectNode(node, operation string) string {
	return subjectPrefix + "node." + node + "." + operation
}
func subjectEvents(node string) string { return subjectPrefix + "events." + node }
func subjectSnapshot(node, signal string) string {
	return subjectPrefix + "events." + node + "." + signal
}

const (
	opJoin     = "join"
	opUpdate   = "update"
	opKick     = "kick"
	opLeave    = "leave"
	opSnapshot = "snapshot"
	opDrain    = "drain"
)

// request is every request to a node; which of the fields are set follows from the subject.
type request struct {
	Signal  string           `json:"signal"`            // who asks
	Timeout int64            `json:"timeout,omitempty"` // ms that the asker waits
	Room    string           `json:"room,omitempty"`
	Peer    string           `json:"peer,omitempty"`
	Join    *sfu.JoinRequest `json:"join,omitempty"`
	Update  *sfu.Update      `json:"update,omitempty"`
}

type reply struct {
	Answer string     `json:"answer,omitempty"`
	Error  *wireError `json:"error,omitempty"`
}

// signalHello says that a Remote starts.
type signalHello struct {
	Signal string `json:"signal"`
}

// notice is a message of a node's stream. The number rises by one with each that has an event; beats and parts of a snapshot
// carry the last one.
type notice struct {
	Generation string `json:"gen"` // of the running Serve: numbers of another one mean nothing
	Number     uint64 `json:"n"`
	Event      *event `json:"event,omitempty"`
	Part       *part  `json:"part,omitempty"`
	Bye        bool   `json:"bye,omitempty"`      // the node stops
	Draining   bool   `json:"draining,omitempty"` // the node takes no new rooms and wants to be rid of those it has
}

// part is a piece of a snapshot.
type part struct {
	Index    int            `json:"index"`
	Last     bool           `json:"last,omitempty"`
	Sessions []sessionState `json:"sessions,omitempty"`
}

// sessionState is a session as a snapshot tells it.
type sessionState struct {
	Room      string       `json:"room"`
	Peer      string       `json:"peer"`
	Connected bool         `json:"connected,omitempty"`
	Running   []string     `json:"running,omitempty"` // sources that send
	Slots     []sfu.Slot   `json:"slots,omitempty"`
	Wanted    []sfu.Wanted `json:"wanted,omitempty"`
}

// event is a change of a session. Kinds are words, so that a node of another version is understood.
type event struct {
	Kind   string       `json:"kind"`
	Room   string       `json:"room"`
	Peer   string       `json:"peer"`
	Slots  []sfu.Slot   `json:"slots,omitempty"`
	Wanted []sfu.Wanted `json:"wanted,omitempty"`
	Source string       `json:"source,omitempty"`
	Reason string       `json:"reason,omitempty"`
}

// kindOpened is the one event that package sfu does not have: there, Join returns.
const kindOpened = "opened"

func wireEvent(e sfu.Event) *event {
	return &event{Kind: e.Kind.String(), Room: e.Room, Peer: e.Peer, Slots: e.Slots, Wanted: e.Wanted, Source: e.Source, Reason: e.Reason}
}

// eventKind is the kind of a word, 0 for one that this version does not know.
func eventKind(word string) sfu.EventKind {
	for k := sfu.EventConnected; k <= sfu.EventWanted; k++ {
		if k.String() == word {
			return k
		}
	}
	return 0
}

var errMessage = errors.New("cluster: malformed message")

// decode reads a message. Unknown fields are left alone: a newer version may send them.
func decode[T any](data []byte) (T, error) {
	var v T
	if len(data) > maxMessage {
		return v, errMessage
	}
	if err := json.Unmarshal(data, &v); err != nil {
		return v, errMessage // without the text, which may hold content
	}
	return v, nil
}

// encode writes a message; all types of this file can be written.
func encode(v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("cluster: %T: %v", v, err))
	}
	return data
}

// wireError is an error of a node.
type wireError struct {
	Kinds []string `json:"kinds"` // words of errorKinds
	Text  string   `json:"text"`  // for developers; what the media node says holds no content
}

// errorKinds are the errors that survive the wire: errors.Is finds them on both sides.
func errorKinds() []struct {
	word string
	err  error
} {
	return []struct {
		word string
		err  error
	}{
		{"closed", sfu.ErrClosed},
		{"config", sfu.ErrConfig},
		{"unknown_room", sfu.ErrUnknownRoom},
		{"unknown_peer", sfu.ErrUnknownPeer},
		{"peer_exists", sfu.ErrPeerExists},
		{"room_full", sfu.ErrRoomFull},
		{"limit", sfu.ErrLimit},
		{"bad_offer", sfu.ErrBadOffer},
		{"bad_request", sfu.ErrBadRequest},
		{"overloaded", sfu.ErrOverloaded},
		{"canceled", context.Canceled},
		{"timeout", context.DeadlineExceeded},
	}
}

// maxErrorText caps the text of an error on the wire, in bytes.
const maxErrorText = 512

func encodeError(err error) *wireError {
	if err == nil {
		return nil
	}
	w := &wireError{Text: err.Error()}
	if len(w.Text) > maxErrorText {
		w.Text = w.Text[:maxErrorText]
	}
	for _, k := range errorKinds() {
		if errors.Is(err, k.err) {
			w.Kinds = append(w.Kinds, k.word)
		}
	}
	return w
}

// decode returns an error that is what the node's was, as far as errors.Is can tell.
func (w *wireError) decode() error {
	if w == nil {
		return nil
	}
	e := &nodeError{text: w.Text}
	for _, k := range errorKinds() {
		for _, word := range w.Kinds {
			if word == k.word {
				e.kinds = append(e.kinds, k.err)
			}
		}
	}
	return e
}

// nodeError is an error that a node returned.
type nodeError struct {
	text  string
	kinds []error
}

func (e *nodeError) Error() string   { return e.text }
func (e *nodeError) Unwrap() []error { return e.kinds }

// remaining is how long a request may take: what ctx leaves, at most limit.
func remaining(ctx context.Context, limit time.Duration) time.Duration {
	if deadline, ok := ctx.Deadline(); ok {
		return min(limit, time.Until(deadline))
	}
	return limit
}

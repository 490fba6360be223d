package delivery

import (
	"errors"

	"sotto/signal/protocol"
)

// Position is where a room's group stands: which group, and how many commits
// were accepted. Nil stands for no group.
type Position struct {
	Group protocol.GroupInstance
	Slot  uint64
}

func samePosition(a, b *Position) bool {
	return a == b || a != nil && b != nil && *a == *b
}

// ErrMoved says that the group does not stand where the appender thought.
var ErrMoved = errors.New("delivery: the group has moved")

// Log is a room's one order of envelopes, and what decides between commits that
// are made at once, also if several services append to it. Numbers rise.
type Log interface {
	// Append gives an envelope the next number.
	Append(envelope []byte) (seq uint64, err error)
	// Move gives envelopes the next numbers, one after the other, if the group
	// stands at from, which it leaves for to: all of that or nothing. It fails
	// with ErrMoved if the group stands elsewhere. It returns the first number.
	Move(from, to *Position, envelopes ...[]byte) (first uint64, err error)
	// Position is where the group stands after all of that. The caller does not
	// change it.
	Position() *Position
	// Advance moves the order past a number that somebody says to have seen, if
	// the log has forgotten it and is at most so many numbers behind.
	Advance(seen, most uint64)
}

// Memory is a Log of one service, which forgets it when it stops. It keeps no
// envelopes: those who may have missed some have them waiting in their outboxes.
// It is not safe for concurrent use.
type Memory struct {
	seq uint64
	at  *Position
}

// NewMemory returns an empty log whose numbers follow seq.
func NewMemory(seq uint64) *Memory { return &Memory{seq: seq} }

// Append implements [Log]. It never fails.
func (m *Memory) Append([]byte) (uint64, error) {
	m.seq++
	return m.seq, nil
}

// Move implements [Log].
func (m *Memory) Move(from, to *Position, envelopes ...[]byte) (uint64, error) {
	if !samePosition(m.at, from) {
		return 0, ErrMoved
	}
	m.at = to
	first := m.seq + 1
	m.seq += uint64(len(envelopes))
	return first, nil
}

// Position implements [Log].
func (m *Memory) Position() *Position { return m.at }

// Advance implements [Log].
func (m *Memory) Advance(seen, most uint64) {
	if seen > m.seq && seen-m.seq <= most {
		m.seq = seen
	}
}

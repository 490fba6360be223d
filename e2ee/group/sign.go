package group

import (
	"slices"
	"time"

	"sotto/e2ee/mls"
)

// taskKind is what signatures are made for.
type taskKind uint8

const (
	taskFound taskKind = iota
	taskInvite
	taskCommit
	taskMessage
)

// task is the one operation that waits for the identity key.
type task struct {
	kind   taskKind
	id     uint32
	input  func() []byte
	supply func(signature []byte) error
	done   func(now time.Time, out *Actions)
}

// sign starts an operation. done is called with its result, unless it is
// dropped or fails.
func sign[T any](g *Group, kind taskKind, s *mls.Signing[T], out *Actions, done func(time.Time, *T, *Actions)) {
	g.task = &task{
		kind: kind, input: s.Input, supply: s.Supply,
		done: func(now time.Time, out *Actions) {
			if result, err := s.Result(); err == nil {
				done(now, result, out)
			}
		},
	}
	g.ask(out)
}

// ask asks for the next signature of the task.
func (g *Group) ask(out *Actions) {
	g.lastSign++
	g.task.id = g.lastSign
	out.Sign = append(out.Sign, Sign{ID: g.task.id, Message: g.task.input()})
}

// dropTask gives up an operation of the given kinds. A signature that still
// comes for it is ignored.
func (g *Group) dropTask(kinds ...taskKind) {
	if g.task != nil && slices.Contains(kinds, g.task.kind) {
		g.task = nil
	}
}

// Signed is the answer to Actions.Sign. The error is [ErrSignature]: the
// signature was not asked for, or is false; then the operation is given up and
// tried again later.
func (g *Group) Signed(now time.Time, id uint32, signature []byte, out *Actions) error {
	t := g.task
	if t == nil || t.id != id {
		if id == 0 || id > g.lastSign {
			return ErrSignature
		}
		return nil // the operation has been given up
	}
	if err := t.supply(signature); err != nil {
		g.task = nil
		g.sealing = nil
		g.commits.refuse(now)
		g.run(now, out)
		return ErrSignature
	}
	if t.input() != nil {
		g.ask(out)
		return nil
	}
	g.task = nil
	t.done(now, out)
	g.run(now, out)
	return nil
}

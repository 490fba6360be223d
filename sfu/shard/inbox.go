package shard

import (
	"context"
	"sync"
	"time"
)

// Command is a change that the node asks for: Open, Change, End or Sync.
type Command interface{ command() }

// request is a command with the channel for its answer, which holds one, so that the shard never waits.
type request struct {
	Command
	reply chan error
}

// inbox is a bounded list of requests. Its lock is held for an append or a swap.
type inbox struct {
	mu     sync.Mutex
	limit  int
	list   []request
	spare  []request // the other buffer, swapped at each take
	closed bool
}

func (b *inbox) put(r request) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return ErrClosed
	}
	if len(b.list) >= b.limit {
		return ErrInboxFull
	}
	b.list = append(b.list, r)
	return nil
}

// take returns the waiting requests, valid until the next take, and whether the inbox was closed.
func (b *inbox) take() (taken []request, closed bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	taken = b.list
	clear(b.spare)
	b.list, b.spare = b.spare[:0], taken
	return taken, b.closed
}

// close refuses further requests; it reports whether this call was the first.
func (b *inbox) close() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	first := !b.closed
	b.closed = true
	return first
}

// Do hands a command to the shard and waits for the answer. When ctx ends first the command may still be carried out.
func (s *Shard) Do(ctx context.Context, c Command) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	r := request{Command: c, reply: make(chan error, 1)}
	if err := s.inbox.put(r); err != nil {
		return err
	}
	s.bind.Wake()
	select {
	case err := <-r.reply:
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-s.stopped:
		select { // both may have happened
		case err := <-r.reply:
			return err
		default:
			return ErrClosed
		}
	}
}

// Post hands a command to the shard without waiting for the answer.
func (s *Shard) Post(c Command) error {
	if err := s.inbox.put(request{Command: c, reply: make(chan error, 1)}); err != nil {
		return err
	}
	s.bind.Wake()
	return nil
}

// execute carries out one request behind the barrier: a fault of a command is the fault of its peer.
func (s *Shard) execute(now time.Time, r request) {
	err := errFault
	defer func() {
		if v := recover(); v != nil {
			s.counters.faults++
		}
		r.reply <- err
	}()
	switch c := r.Command.(type) {
	case Open:
		err = s.open(now, c)
	case Change:
		err = s.change(now, c)
	case End:
		err = s.end(now, c)
	case Sync:
		s.publish()
		err = nil
	}
}

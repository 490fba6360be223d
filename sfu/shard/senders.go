package shard

import (
	"sync"
	"sync/atomic"
)

const (
	// worthASender is how many packets there must be for each goroutine that is woken to help: 500 µs of work, five times as
	// long as one takes to come. For 300 packets it saves a fifth of the time and costs a sixth more CPU.
	worthASender = 384
	// pieceSends is how many packets a piece of a shared fan-out should have: some 30 µs of work, which is what one waits
	// for another at the end, and a system call of four frames.
	pieceSends = 24
)

// Senders are goroutines that help the shards of a process with large fan-outs: a room of hundreds is on one shard, but its
// packets need not be sealed and written by one core. They are for cores that no shard has, and one that is at work for a
// shard is not there for another, so that helping never takes a busy shard's time. Between two fan-outs they keep nothing.
//
// A nil *Senders has none.
type Senders struct {
	work    chan *lane // unbuffered: only who waits gets something
	count   int
	running sync.WaitGroup
}

// NewSenders starts n goroutines.
func NewSenders(n int) *Senders {
	p := &Senders{work: make(chan *lane), count: n}
	for range n {
		p.running.Go(func() {
			for l := range p.work {
				l.help()
			}
		})
	}
	return p
}

// Close ends the goroutines. The shards must be closed before.
func (p *Senders) Close() {
	close(p.work)
	p.running.Wait()
}

// fork is a fan-out in pieces, of which each goroutine takes the next as long as there are any. Nothing in room, ring or
// session changes meanwhile, so that none of it is copied or locked; what one wrote the other sees through these counters.
type fork struct {
	size int           // peers of a piece
	left atomic.Int32  // pieces that nobody has taken; below zero there is nothing to do
	open atomic.Int32  // pieces that are not done, and one for the shard
	done chan struct{} // capacity 1: a sender was the last
}

// take returns the next piece. The pieces are taken from the end.
func (f *fork) take() (piece int, ok bool) {
	n := int(f.left.Add(-1))
	return n, n >= 0
}

// summon returns how many senders would be of use.
func (s *Shard) summon() int {
	if s.senders == nil {
		return 0
	}
	return min(len(s.batch.Sends)/s.worthASender, s.senders.count, len(s.addressed)-1)
}

// share serves the addressed peers together with senders that are idle. The shard takes pieces like they do, so that one that
// is slow to wake up costs nothing: it waits only for what others have begun.
func (s *Shard) share(helpers int) {
	f := &s.fork
	n := len(s.addressed)
	f.size = max(1, min(n*pieceSends/len(s.batch.Sends), n/(helpers+1)))
	pieces := (n + f.size - 1) / f.size
	f.open.Store(int32(pieces + 1))
	f.left.Store(int32(pieces))
	s.wake(helpers)
	mine := 1
	defer func() { // also when this breaks off: nobody else may be at the batch then
		for _, ok := f.take(); ok; _, ok = f.take() {
			mine++
		}
		if f.open.Add(int32(-mine)) > 0 {
			<-f.done
		}
	}()
	for piece, ok := f.take(); ok; piece, ok = f.take() {
		mine++
		s.own.servePiece(piece)
	}
}

// wake hands lanes to senders that wait for one. A lane that is still on its way to one comes to this fan-out too.
func (s *Shard) wake(helpers int) {
	for i := range helpers {
		if i == len(s.lanes) {
			s.lanes = append(s.lanes, &lane{shard: s, out: s.endpoint.NewOutbox()})
		}
		l := s.lanes[i]
		if l.lent.Load() {
			continue
		}
		l.lent.Store(true)
		select {
		case s.senders.work <- l:
		default:
			l.lent.Store(false)
			return // all are at work
		}
	}
}

// servePiece serves the peers of a piece and writes what is for them.
func (l *lane) servePiece(piece int) {
	size := l.shard.fork.size
	l.serveAll(piece*size, min((piece+1)*size, len(l.shard.addressed)))
	l.flush()
}

// help is a sender's part of a fan-out. It may come when that is over, and then finds nothing or the next one.
func (l *lane) help() {
	f := &l.shard.fork
	taken := 0
	defer func() {
		if v := recover(); v != nil { // nobody to blame; the rest of the piece is lost
			l.faults++
		}
		if taken > 0 && f.open.Add(int32(-taken)) == 0 {
			f.done <- struct{}{}
		}
		l.lent.Store(false)
	}()
	for piece, ok := f.take(); ok; piece, ok = f.take() {
		taken++
		l.servePiece(piece)
	}
}

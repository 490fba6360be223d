package signal

import (
	"sync"

	"github.com/coder/websocket"
)

// frame is one message to a client. Data is shared between the queues of all
// its receivers and never written to.
type frame struct {
	kind websocket.MessageType
	data []byte
}

// ending is how a connection ends: the last message, if any, and the close frame.
type ending struct {
	last   []byte // a text message, nil for none
	status websocket.StatusCode
	reason string
}

// queue holds the messages that wait for one client. It is bounded: a client
// that reads too slowly loses its connection, never messages, and nobody waits
// for it.
type queue struct {
	maxFrames, maxBytes int
	wake                chan struct{} // holds one token while there is something to take
	overflowed          func()        // called once, when the client was too slow

	mu     sync.Mutex
	frames []frame
	bytes  int
	end    *ending // set once; nothing is queued after it
}

func newQueue(maxFrames, maxBytes int, overflowed func()) *queue {
	return &queue{
		maxFrames: maxFrames, maxBytes: maxBytes,
		wake: make(chan struct{}, 1), overflowed: overflowed,
	}
}

// push queues a message and reports whether it will be sent.
func (q *queue) push(f frame) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.end != nil {
		return false
	}
	if len(q.frames) >= q.maxFrames || q.bytes+len(f.data) > q.maxBytes {
		q.frames, q.bytes = nil, 0
		q.end = &ending{status: websocket.StatusTryAgainLater, reason: "slow reader"}
		q.signal()
		q.overflowed()
		return false
	}
	q.frames = append(q.frames, f)
	q.bytes += len(f.data)
	q.signal()
	return true
}

// replay queues what a new connection begins with, whatever its size; it does
// not count against the bounds. The queue is new.
func (q *queue) replay(frames []frame) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.frames = append(q.frames, frames...)
	q.maxFrames += len(frames)
	for _, f := range frames {
		q.bytes += len(f.data)
		q.maxBytes += len(f.data)
	}
	q.signal()
}

// finish ends the queue: what is queued is still sent, then the last message,
// then the close frame. Only the first call counts.
func (q *queue) finish(e ending) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.end != nil {
		return
	}
	q.end = &e
	q.signal()
}

// stopped reports whether the queue ended because the service stops.
func (q *queue) stopped() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.end != nil && q.end.status == websocket.StatusGoingAway
}

// take returns what is queued and, when nothing can follow, the end. spare is
// reused as the next buffer.
func (q *queue) take(spare []frame) ([]frame, *ending) {
	q.mu.Lock()
	defer q.mu.Unlock()
	frames := q.frames
	q.frames, q.bytes = spare[:0], 0
	return frames, q.end
}

func (q *queue) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

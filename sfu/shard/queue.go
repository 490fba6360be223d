package shard

import "sync"

// Queue hands values from one side that must not wait to another that may be slow. A value that is pushed while an older one
// of the same key still waits takes its place: the reader sees the latest state of each key, and the queue is bounded by the
// number of keys.
type Queue[K comparable, V any] struct {
	mu     sync.Mutex
	at     map[K]int
	list   []V
	merged uint64
	closed bool
	ready  chan struct{}
}

// NewQueue returns an empty queue.
func NewQueue[K comparable, V any]() *Queue[K, V] {
	return &Queue[K, V]{at: map[K]int{}, ready: make(chan struct{}, 1)}
}

// Push adds v, or puts it in the place of the waiting value of k. It returns how many wait.
func (q *Queue[K, V]) Push(k K, v V) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return 0
	}
	if i, ok := q.at[k]; ok {
		q.list[i] = v
		q.merged++
		return len(q.list)
	}
	q.at[k] = len(q.list)
	q.list = append(q.list, v)
	q.signal()
	return len(q.list)
}

// Take returns what waits; more is false once the queue is closed and empty.
func (q *Queue[K, V]) Take() (list []V, more bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	list, q.list = q.list, nil
	clear(q.at)
	return list, !q.closed || len(list) > 0
}

// Ready receives after a Push or Close; then Take until nothing waits.
func (q *Queue[K, V]) Ready() <-chan struct{} { return q.ready }

// Merged returns how many values took the place of an older one.
func (q *Queue[K, V]) Merged() uint64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.merged
}

// Close ends the queue: what waits can still be taken.
func (q *Queue[K, V]) Close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.signal()
}

func (q *Queue[K, V]) signal() {
	select {
	case q.ready <- struct{}{}:
	default:
	}
}

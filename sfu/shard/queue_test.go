package shard

import (
	"slices"
	"testing"
)

func TestQueue_keepsTheLatestOfEachKeyInOrder(t *testing.T) {
	q := NewQueue[string, int]()
	q.Push("a", 1)
	q.Push("b", 2)
	if n := q.Push("a", 3); n != 2 {
		t.Errorf("%d wait", n)
	}
	<-q.Ready()
	list, more := q.Take()
	if !slices.Equal(list, []int{3, 2}) || !more || q.Merged() != 1 {
		t.Errorf("%v, more %v, merged %d", list, more, q.Merged())
	}
	q.Push("a", 4)
	q.Close()
	q.Push("a", 5)
	if list, more = q.Take(); !slices.Equal(list, []int{4}) || !more {
		t.Errorf("%v, more %v", list, more)
	}
	if _, more = q.Take(); more {
		t.Error("a closed and empty queue has no more")
	}
	<-q.Ready()
}

package group

import (
	"fmt"
	"testing"
	"time"
)

func TestGroup_oneByOne(t *testing.T) {
	w := newWorld(t, 1)
	var all []*client
	for i := range 8 {
		all = append(all, w.join(fmt.Sprint("P", i)))
		took := w.settle(2*time.Second, all...)
		t.Logf("%d members after %v", len(all), took)
	}
	for i := 7; i > 0; i-- {
		all[i].leave()
		all = all[:i]
		took := w.settle(2*time.Second, all...)
		t.Logf("%d members after %v", len(all), took)
	}
}

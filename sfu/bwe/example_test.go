package bwe_test

import (
	"fmt"
	"time"

	"sotto/sfu/bwe"
)

// A Recorder at the far end and an Estimator here.
func Example() {
	now := time.Unix(1_700_000_000, 0)
	e := bwe.New(bwe.Config{})
	var far bwe.Recorder
	for n := range uint16(50) {
		e.OnSent(now, n, 1000, 0)
		far.Received(now.Add(20*time.Millisecond), n)
	}
	now = far.Next()
	for _, fb := range far.Feedback(now, 1, 2, nil) {
		e.OnFeedback(now, fb)
	}
	est := e.Estimate()
	fmt.Println(est.RTT, est.Keep >= bwe.DefaultStart)
	// Output: 70ms true
}

package report_test

import (
	"fmt"
	"time"

	"sotto/sfu/report"
)

func ExampleReceiver() {
	now := time.Unix(1_700_000_000, 0)
	var r report.Receiver
	for _, ext := range []uint64{1<<32 + 1, 1<<32 + 2, 1<<32 + 4} {
		r.Received(now, ext, uint32(ext)*3000, 90000)
	}
	b := r.Report(now, 1234)
	fmt.Println(b.TotalLost, b.FractionLost, b.LastSequenceNumber)
	// Output: 1 64 4
}

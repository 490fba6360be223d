package loss_test

import (
	"fmt"
	"time"

	"sotto/sfu/loss"
)

func ExampleDetector() {
	now := time.Unix(1_700_000_000, 0)
	var d loss.Detector
	for _, ext := range []uint64{100, 101, 104} { // 102 and 103 are missing
		d.Received(now, ext)
	}
	now = d.Next() // they may still be on their way until then
	fmt.Println(d.Missing(now, 50*time.Millisecond, nil))
	// Output: [102 103]
}

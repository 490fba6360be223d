package impair_test

import (
	"fmt"
	"time"

	"sotto/sfu/sim"
	"sotto/sfu/sim/impair"
	"sotto/sfu/unit"
)

// A packet of 1,250 bytes takes 10 ms through a bottleneck of 1 Mbit/s, and 20 ms for the way.
func ExampleLink() {
	link := impair.NewLink(sim.LinkConfig{Rate: unit.Mbps, Delay: 20 * time.Millisecond}, 1)
	link.Send(0, make([]byte, 1250))
	for at, ok := link.Next(); ok; at, ok = link.Next() {
		packet := link.Receive(at)
		fmt.Println(at, len(packet))
	}
	// Output:
	// 10ms 0
	// 30ms 1250
}

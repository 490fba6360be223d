package pace_test

import (
	"fmt"
	"time"

	"sotto/sfu/pace"
	"sotto/sfu/packet"
	"sotto/sfu/unit"
)

func ExamplePacer() {
	now := time.Unix(1_700_000_000, 0)
	p := pace.New(now, unit.Mbps)
	sent := 0
	for n := range uint64(30) { // 30 kB at once
		o := packet.Outgoing{Packet: &packet.Packet{ExtSeq: n + 1, Start: true}, Ext: n + 1}
		p.Push(pace.NewItem(o, 0, 1000))
	}
	for p.Len() > 0 {
		it, ok := p.Pop(now)
		if !ok {
			now = p.Next()
			continue
		}
		if !it.Stale() {
			sent++
		}
	}
	fmt.Println(sent, now.Sub(time.Unix(1_700_000_000, 0)).Round(10*time.Millisecond))
	// Output: 30 160ms
}

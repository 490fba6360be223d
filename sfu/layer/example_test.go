package layer_test

import (
	"fmt"

	"sotto/sfu/layer"
	"sotto/sfu/packet"
	"sotto/sfu/unit"
)

// Two cameras on 2 Mbit/s: the one in the large tile gets its top layer, the other keeps the lowest.
func ExampleAllocate() {
	steps := [layer.MaxSteps]layer.Step{
		{Rate: 150 * unit.Kbps, Height: 180},
		{Rate: 500 * unit.Kbps, Height: 360},
		{Rate: 1700 * unit.Kbps, Height: 720},
	}
	sources := []layer.Source{
		{Priority: 1, Want: 360, Current: layer.Paused, Steps: steps},
		{Priority: 2, Want: 720, Current: 0, Steps: steps},
	}
	targets := make([]int8, len(sources))
	spent := layer.Allocate(layer.Budget{Keep: 2 * unit.Mbps, Change: 2 * unit.Mbps}, sources, targets)
	fmt.Println(targets, spent)
	// Output: [0 2] 1850000
}

// A layer change waits for a key frame of the new layer; the numbers go on.
func ExampleSwitch() {
	s := layer.NewSwitch(1000, 0)
	s.SetTarget(0)
	show := func(rung int8, ext uint64, key bool) {
		p := packet.Packet{ExtSeq: ext, TS: uint32(ext) * 3000, Layer: rung, Codec: packet.VP8, PayloadEnd: 1, Start: true, End: true, Key: key}
		if o, ok := s.Next(&p); ok {
			fmt.Printf("layer %d packet %d goes out as %d\n", rung, ext, o.Seq)
		}
	}
	show(0, 70_001, true)
	s.SetTarget(2)
	show(2, 80_002, false)
	show(0, 70_002, false)
	show(2, 80_003, true)
	show(0, 70_003, false)
	show(2, 80_004, false)
	// Output:
	// layer 0 packet 70001 goes out as 1000
	// layer 0 packet 70002 goes out as 1001
	// layer 2 packet 80003 goes out as 1002
	// layer 2 packet 80004 goes out as 1003
}

package sim_test

import (
	"fmt"
	"time"

	"sotto/sfu/sim"
	"sotto/sfu/unit"
)

// One viewer whose path becomes slow after ten seconds.
func Example() {
	plan := sim.Plan{
		Name: "narrow", Length: 20 * time.Second,
		Viewers: []sim.ViewerPlan{{Down: sim.LinkConfig{Rate: 3 * unit.Mbps}}},
	}
	plan.At(10*time.Second, sim.SetRate(0, 500*unit.Kbps))
	viewer := sim.Run(plan, 1).Viewers[0]
	fmt.Println("before:", viewer.Lines[95].Layer, "after:", viewer.Lines[195].Layer)
	// Output: before: 2 after: 0
}

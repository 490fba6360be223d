//go:build !linux

package bench

import (
	"fmt"
	"time"
)

const serverPriority, watchPriority = 1, 2

func sleep(d time.Duration) { time.Sleep(d) }

func pin(int, int) error { return fmt.Errorf("%w: -cpu works on Linux only", errUsage) }

func keepOff(cpu int) (back func(), err error) {
	if cpu >= 0 {
		return nil, pin(cpu, serverPriority)
	}
	return func() {}, nil
}

//go:build !linux

package bench

import "fmt"

func pin(int) error { return fmt.Errorf("%w: -cpu works on Linux only", errUsage) }

func keepOff(cpu int) (back func(), err error) {
	if cpu >= 0 {
		return nil, pin(cpu)
	}
	return func() {}, nil
}

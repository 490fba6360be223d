//go:build !linux

package bench

import "fmt"

func pin(int) error { return fmt.Errorf("%w: -cpu is for Linux", errUsage) }

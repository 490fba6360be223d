package bench

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// Priorities of real-time threads on the server's core.
const (
	serverPriority = 1
	watchPriority  = 2
)

// pin moves all threads of this process to one core and lets one of them run Go at a time. Where that is allowed they go before
// what else the machine runs there, which is nobody's measurement; it must come before any of that: threads inherit it. A nice
// value would not do: it counts among the processes of the same session or service only (sched(7), autogroup).
func pin(cpu, priority int) error {
	var set unix.CPUSet
	set.Set(cpu)
	if err := confine(&set); err != nil {
		return err
	}
	return eachThread(func(tid int) error {
		_ = unix.SchedSetAttr(tid, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_RR, Priority: uint32(priority)}, 0)
		return nil
	})
}

// keepOff moves all threads of this process to the cores that are left beside cpu, so that participants do not take turns
// with the server that they measure, until back is called. With one core there is nothing to choose.
func keepOff(cpu int) (back func(), err error) {
	var all unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		return nil, fmt.Errorf("bench: cores of this process: %w", err)
	}
	rest := all
	if cpu >= 0 {
		rest.Clear(cpu)
	}
	if rest.Count() == 0 || rest == all {
		return func() {}, nil
	}
	return func() { _ = confine(&all) }, confine(&rest)
}

// confine moves all threads; those to come inherit it.
func confine(set *unix.CPUSet) error {
	runtime.GOMAXPROCS(set.Count())
	return eachThread(func(tid int) error { return unix.SchedSetaffinity(tid, set) })
}

// sleep is exact to the kernel's wake-up; the runtime's timers are to a millisecond.
func sleep(d time.Duration) {
	if d > 0 {
		left := unix.NsecToTimespec(d.Nanoseconds())
		_ = unix.Nanosleep(&left, nil) // a signal only makes it shorter
	}
}

func eachThread(do func(tid int) error) error {
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return fmt.Errorf("bench: threads of this process: %w", err)
	}
	for _, t := range threads {
		tid, err := strconv.Atoi(t.Name())
		if err != nil {
			continue
		}
		if err := do(tid); err != nil {
			return fmt.Errorf("bench: cores of this process: %w", err)
		}
	}
	return nil
}
